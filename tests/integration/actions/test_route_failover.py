"""A real HAProxy before two real servers: the failing one is taken out, the backup answers, all is put back."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import httpx
import pytest

from infra.errors import UserError
from infra.settings import Settings
from remediation.actions.route_failover import RouteFailover
from remediation.records import Effect, Verdict
from remediation.services import ServiceInventory

from .conftest import target

pytestmark = pytest.mark.integration


class Web:
    """A server that answers with its name, or with an error while it fails."""

    def __init__(self, name: str) -> None:
        self.failing = False
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(503 if web.failing else 200)
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Checks come ten times a second."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Route(NamedTuple):
    url: str
    settings: Settings
    first: Web
    second: Web

    def answer(self) -> str:
        return httpx.get(self.url, trust_env=False).text


@pytest.fixture
def route(tmp_path: Path) -> Iterator[Route]:
    program = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if not program:
        pytest.skip("no HAProxy: install the Debian package haproxy")
    first, second = Web("first"), Web("second")
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as door:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="aiops-")))  # a socket's path is short
        port = door.getsockname()[1]
        door.close()
        text = f"""
global
    stats socket {folder}/socket level admin
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend in
    bind 127.0.0.1:{port}
    default_backend web
backend web
    option httpchk GET /
    default-server check inter 100ms fall 2 rise 2
    server first 127.0.0.1:{first.port}
    server second 127.0.0.1:{second.port} backup
"""
        (folder / "haproxy.cfg").write_text(text)
        process = subprocess.Popen([program, "-db", "-q", "-f", str(folder / "haproxy.cfg")], stderr=subprocess.DEVNULL)
        instance = {"socket": f"{folder}/socket", "backend": "web"}
        services = {"edge": {"kind": "haproxy", "instances": {"edge-0": instance}}}
        told = Settings(home=tmp_path, remediation={"services": services})  # type: ignore[arg-type]
        try:
            wait((folder / "socket").exists)
            wait(lambda: ServiceInventory(told).observe()["edge-0"].ready)
            yield Route(f"http://127.0.0.1:{port}/", told, first, second)
        finally:
            process.terminate()
            process.wait(5)
            for web in (first, second):
                web.server.shutdown()
                web.server.server_close()


def wait(true: Callable[[], object], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_led_over_verified_and_put_back(route: Route) -> None:
    action, inventory = RouteFailover(route.settings), ServiceInventory(route.settings)
    assert route.answer() == "first" and inventory.observe()["edge-0"].finding is None
    route.first.failing = True
    wait(lambda: inventory.observe()["edge-0"].finding)
    plan = action.plan(target(route.settings, "edge-0"))
    assert plan.parameters == {"servers": ["first"], "backups": ["second"]}
    assert action.probe(plan, "k") is Effect.NONE
    for _ in range(2):
        action.apply(plan, "k")
        assert action.probe(plan, "k") is Effect.DONE
    assert action.verify(plan).verdict is Verdict.SUCCEEDED
    route.first.failing = False
    time.sleep(0.5)  # its checks would have brought it back five times
    assert route.answer() == "second" and inventory.observe()["edge-0"].finding is None
    with pytest.raises(UserError, match="led over already"):
        action.plan(target(route.settings, "edge-0"))
    assert "first" in action.undo(plan, "k")
    wait(lambda: route.answer() == "first")
    assert action.verify(plan).verdict is Verdict.INCONCLUSIVE


def test_without_a_backup_that_is_up_nothing_is_taken_out(route: Route) -> None:
    action = RouteFailover(route.settings)
    plan = action.plan(target(route.settings, "edge-0"))
    route.second.failing = True
    wait(lambda: not action.at(plan.target).servers()["second"].up)
    with pytest.raises(UserError, match="no planned backup server is up any more"):
        action.apply(plan, "k")
    with pytest.raises(UserError, match="no backup server is up"):
        action.plan(plan.target)
    assert action.probe(plan, "k") is Effect.NONE and route.answer() == "first"
