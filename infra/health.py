"""The health of one part of the stack: what supervisord says of it, what it answers, what it weighs."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from infra.parts import Part

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is never behind a proxy


@dataclass(frozen=True)
class PartStatus:
    """What one part does now. Uptime in seconds, memory (resident, with all children) in MiB."""

    name: str
    title: str
    state: str  # running, starting, restarting, failed, stopping, stopped, unsupervised
    health: str  # ok, or what is wrong; empty when the part is not running
    pid: int | None = None
    uptime: float | None = None
    memory: float | None = None
    restarts: int = 0
    last_restart: float | None = None  # seconds since the epoch
    address: str = ""


_STATES = {
    "RUNNING": "running",
    "STARTING": "starting",
    "BACKOFF": "restarting",
    "EXITED": "restarting",
    "FATAL": "failed",
    "UNKNOWN": "failed",
    "STOPPING": "stopping",
    "STOPPED": "stopped",
}


def examine(
    part: Part, info: Mapping[str, Any] | None, tree: Sequence[psutil.Process], restarts: Mapping[str, float]
) -> PartStatus:
    """What `part` does, from supervisord's `info` (None: no supervisor), its processes `tree` and its restarts."""
    pid, uptime = None, None
    if info and info["pid"]:
        state, pid, uptime = _STATES[info["statename"]], info["pid"], float(info["now"] - info["start"])
    elif tree and not info:
        oldest = min(tree, key=lambda process: process.create_time())
        state, pid, uptime = "unsupervised", oldest.pid, time.time() - oldest.create_time()
    else:
        state = _STATES[info["statename"]] if info else "stopped"
    healthy = (trouble(part) or "ok") if pid else ""
    return PartStatus(
        part.name,
        part.title,
        "running" if (state, healthy) == ("starting", "ok") else state,
        health=healthy,
        pid=pid,
        uptime=uptime,
        memory=_memory(tree) if tree else None,
        restarts=int(restarts.get("count", 0)),
        last_restart=restarts.get("last"),
        address=part.address,
    )


def _memory(tree: Sequence[psutil.Process]) -> float:
    total = 0
    for process in tree:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def trouble(part: Part) -> str:
    """What is wrong with the part's answer, or an empty string when it is healthy."""
    if not part.probe:
        return ""
    try:
        _OPENER.open(part.probe, timeout=2).close()
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"no answer ({getattr(reason, 'strerror', None) or reason})"
    return ""
