"""What we add to supervisord: its configuration file, a client, and a small extension that runs inside it.

supervisord restarts a part that ends; a part that keeps ending waits one second longer each time. The extension counts
those restarts and, before a part starts, ends what an earlier life of it left behind where the part asks for that. The
worker does not: a flow run goes on when its worker is killed. Nor does the workload: it adopts its processes.
"""

from __future__ import annotations

import http.client
import os
import socket
import time
import xmlrpc.client
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra import processes
from infra.errors import SettingsError
from infra.parts import Part

TIMEOUT = 15.0  # seconds for one answer of the supervisor
_SOCKET_LIMIT = 107  # bytes of a unix socket's path on Linux
_FACTORY = "supervisor.rpcinterface_factory"
_SETTLED = 30  # seconds; a part that ends earlier, slow imports included, is restarted after a growing wait
_RETRIES = 10  # waits of 1 + 2 + ... + 10 seconds, then the part counts as failed


def socket_path(home: Path) -> Path:
    """The supervisor's socket. Raises SettingsError when the home's path is too long for one."""
    path = home / "run" / "supervisor.sock"
    if len(os.fsencode(path)) > _SOCKET_LIMIT:
        raise SettingsError(
            f"the home directory {home} is too long: the path of the socket run/{path.name} in it must stay "
            f"within {_SOCKET_LIMIT} bytes; set `home` in the settings (or AIOPS__HOME) to a shorter one"
        )
    return path


def configuration(home: Path, parts: Sequence[Part], fingerprint: str) -> str:
    """The text of supervisord.conf. `fingerprint` changes when the parts must be restarted to see new settings."""
    swept = " ".join(part.name for part in parts if part.sweep)
    run, logs = home / "run", home / "logs"
    sections = [
        f"; settings {fingerprint}",
        _section("unix_http_server", file=socket_path(home), chmod="0700"),
        _section("rpcinterface:supervisor", **{_FACTORY: "supervisor.rpcinterface:make_main_rpcinterface"}),
        _section("rpcinterface:aiops", **{_FACTORY: "infra.supervision:Extension"}, sweep=swept),
        _section(
            "supervisord",
            logfile=logs / "supervisord.log",
            logfile_maxbytes="5MB",
            logfile_backups=1,
            pidfile=run / "supervisord.pid",
            childlogdir=logs,
            **({"user": "root"} if os.geteuid() == 0 else {}),  # root has to say that it means it
        ),
        *(_program(part, number, logs) for number, part in enumerate(parts, start=1)),
    ]
    return "\n\n".join(sections) + "\n"


def _program(part: Part, priority: int, logs: Path) -> str:
    marks = {processes.PART: part.name, **part.environment}
    return _section(
        f"program:{part.name}",
        command=" ".join(_quoted(word) for word in part.argv),
        environment=",".join(f"{key}={_quoted(value)}" for key, value in marks.items()),
        priority=priority,  # stopped in reverse order
        autostart="false",
        autorestart="true",
        startsecs=_SETTLED,
        startretries=_RETRIES,
        stopwaitsecs=10,
        stopasgroup="true",
        killasgroup="true",
        redirect_stderr="true",
        stdout_logfile=logs / f"{part.name}.log",
        stdout_logfile_maxbytes="10MB",
        stdout_logfile_backups=3,
    )


def _section(title: str, **values: object) -> str:
    # supervisord expands %(name)s in every value
    return "\n".join([f"[{title}]", *(f"{key}={str(value).replace('%', '%%')}" for key, value in values.items())])


def _quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def client(home: Path) -> xmlrpc.client.ServerProxy:
    """An XML-RPC proxy for the supervisor of `home`; its calls raise OSError when none answers in time."""
    return xmlrpc.client.ServerProxy("http://supervisor", transport=_UnixTransport(socket_path(home)))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("supervisor", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Extension:
    """The calls `aiops.*` of the supervisor; made by supervisord itself from its configuration file."""

    def __init__(self, supervisord: Any, sweep: str = "") -> None:
        from supervisor import events

        self._log = supervisord.options.logger
        self._sweep = frozenset(sweep.split())
        self._restarts: dict[str, dict[str, float]] = {}
        events.subscribe(events.ProcessStateStartingEvent, self._on_start)

    def restarts(self) -> dict[str, dict[str, float]]:
        """For each part that was restarted: {name: {"count": n, "last": seconds since the epoch}}."""
        return self._restarts

    def _on_start(self, event: Any) -> None:
        from supervisor.states import ProcessStates

        name = event.process.config.name
        if event.from_state in (ProcessStates.EXITED, ProcessStates.BACKOFF):
            count = self._restarts.get(name, {"count": 0})["count"] + 1
            self._restarts[name] = {"count": count, "last": time.time()}
        if name in self._sweep:
            self._end_leftovers(name)

    def _end_leftovers(self, name: str) -> None:
        home = Path(os.environ[processes.STACK])
        left = [process for part, process in processes.marked(home) if part == name]
        if left:
            self._log.warn(f"ending {len(left)} process(es) that an earlier life of {name} left behind")
            processes.end(left, grace=0)
