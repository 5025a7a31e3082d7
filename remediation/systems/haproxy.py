"""HAProxy, asked over its runtime socket (`stats socket ... level admin`); one backend of it is an instance."""

from __future__ import annotations

import csv
import socket
from typing import NamedTuple

from infra.errors import DataError, NotFound
from remediation.records import Finding
from remediation.system import Options, System

FORCED_MAINT = 0x01  # of srv_admin_state: set by the socket


class HaproxyOptions(Options):
    """`socket`: path of the runtime socket; `backend`: the one that is looked at and acted on."""

    socket: str
    backend: str


class Server(NamedTuple):
    """One server of the backend: `up` by its health checks, `forced` out by the runtime socket."""

    name: str
    backup: bool
    up: bool
    forced: bool


class Haproxy(System[HaproxyOptions]):
    options = HaproxyOptions

    @property
    def address(self) -> str:
        return self.told.socket

    def ask(self, command: str) -> str:
        """One command. Raises TimeoutError or OSError when the socket does not answer."""
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(self.timeout)
            door.connect(self.told.socket)
            door.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: door.recv(65536), b"")).decode().strip()

    def servers(self) -> dict[str, Server]:
        """The backend's servers by name. Raises NotFound, or DataError when the socket cannot be asked."""
        try:
            stats, states = self.ask("show stat"), self.ask(f"show servers state {self.told.backend}")
        except OSError as error:
            raise DataError(f"{self.target.instance}: {self.told.socket} does not answer: {error}") from None
        rows = list(csv.DictReader(stats.removeprefix("# ").splitlines()))
        forced = _forced([line.split() for line in states.splitlines()])
        found = {
            row["svname"]: Server(
                row["svname"], row["bck"] == "1", row["status"].startswith("UP"), forced.get(row["svname"], False)
            )
            for row in rows
            if row["pxname"] == self.told.backend and row["svname"] not in ("FRONTEND", "BACKEND")
        }
        if not found:
            raise NotFound("backend of HAProxy", self.told.backend, {row["pxname"] for row in rows})
        return found

    def finding(self) -> Finding | None:
        primaries = [one for one in self.servers().values() if not one.backup]
        down = [one.name for one in primaries if not one.up and not one.forced]
        if not down:
            return None
        fact = f"{len(down)} of {len(primaries)} servers of {self.told.backend} fail their checks: {', '.join(down)}"
        return Finding(cause="route_failing", confidence=0.9, fact=fact)

    def force(self, server: str, out: bool) -> None:
        """Take a server out of the rotation, or let its health checks decide again. Raises DataError when refused."""
        answer = self.ask(f"set server {self.told.backend}/{server} state {'maint' if out else 'ready'}")
        if answer:
            raise DataError(f"{self.target.instance}: {answer}")


def _forced(lines: list[list[str]]) -> dict[str, bool]:
    """By server, whether the socket took it out; the columns are named in a comment line."""
    names = next((line[1:] for line in lines if line[:1] == ["#"]), [])
    rows = [dict(zip(names, line, strict=True)) for line in lines if len(line) == len(names)]
    return {row["srv_name"]: bool(int(row["srv_admin_state"]) & FORCED_MAINT) for row in rows}
