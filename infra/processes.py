"""Operating-system side of the stack: whose process is this, who holds that port, end these processes.

Every process that the stack starts carries two marks in its environment, which its children inherit: `AIOPS_STACK`
(the home directory of the stack) and `AIOPS_PART` (the part it belongs to). They outlive a killed supervisor.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import psutil

STACK, PART = "AIOPS_STACK", "AIOPS_PART"


def marked(home: Path) -> list[tuple[str, psutil.Process]]:
    """(part, process) of every live process of the stack at `home`, except the caller; supervisord's part is ''."""
    return list(_marked(str(home)))


def _marked(home: str) -> Iterator[tuple[str, psutil.Process]]:
    for process in psutil.process_iter():
        try:
            environ = process.environ()
            if environ.get(STACK) == home and process.pid != os.getpid() and is_alive(process):
                yield environ.get(PART, ""), process
        except psutil.Error:  # ended meanwhile, or another user's: not ours
            continue


def is_alive(process: psutil.Process) -> bool:
    """False for a process that has ended, reaped or not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end(processes: Iterable[psutil.Process], grace: float = 5.0) -> int:
    """Ask the processes to end, kill those still alive after `grace` seconds; return how many there were."""
    alive = [process for process in processes if is_alive(process)]
    for signal_name in ("terminate", "kill") if grace > 0 else ("kill",):
        for process in alive:
            try:
                getattr(process, signal_name)()
            except psutil.NoSuchProcess:
                continue
        _, alive = psutil.wait_procs(alive, timeout=grace if signal_name == "terminate" else 5.0)
        if not alive:
            break
    return len(alive)


def port_holder(host: str, port: int, ours: Collection[int] = ()) -> str | None:
    """None when `port` is free or held by a process of `ours`, else who holds it, such as `nginx (process 4711)`."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            return None
        except PermissionError:
            return "the system, which keeps ports below 1024 for root"
        except OSError:
            return _listener(port, ours)


def _listener(port: int, ours: Collection[int]) -> str | None:
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status != psutil.CONN_LISTEN or not connection.laddr or connection.laddr.port != port:
            continue
        if connection.pid in ours:
            return None
        if connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
            except psutil.NoSuchProcess:
                break
    return "a process of another user"
