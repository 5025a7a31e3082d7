"""Which process is meant: a pid alone is reused, a start time by the wall clock moves; ticks since boot do neither."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil

from remediation.clock import boot_id


def place() -> str:
    """Where a pid means something: host name, boot and pid namespace of this process."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{boot_id()}/{namespace.readlink() if namespace.exists() else ''}"


def identity(pid: int) -> str | None:
    """The start of process `pid`, which with the pid names it for ever; None when it is gone or a zombie."""
    try:
        # the second field, the program's name, may hold anything: split behind its closing bracket
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _portable(pid)


def alive(pid: int, started: str) -> bool:
    """Whether the process that had this pid and identity still lives."""
    return identity(pid) == started


def _portable(pid: int) -> str | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.NoSuchProcess:
        return None
