"""Loopback receivers that answer as Slack's webhook, PagerDuty's Events API v2 and an SMTP server do."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

TOKENS = "T0AAAAAAA/B0BBBBBBB/SecretSecretSecretSecret"
KEY = "0123456789abcdef0123456789abcdef"


class Receiver(ThreadingHTTPServer):
    """Keeps what it took in `taken` (path, body); answers with the statuses of `refuse` first; waits for `gate`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.taken: list[tuple[str, dict[str, Any]]] = []
        self.refuse: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def to(self, start: str) -> list[dict[str, Any]]:
        return [body for path, body in self.taken if path.startswith(start)]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.gate.wait(20)
        assert self.headers["Content-Type"].startswith("application/json")
        slack = self.path.startswith("/services/")
        code, said = slack_says(self.path, body) if slack else pagerduty_says(self.path, body)
        if self.server.refuse:
            code, said = self.server.refuse.pop(0), "rate_limited" if slack else json.dumps({"status": "throttled"})
        if code < 300:
            self.server.taken.append((self.path, body))
        self.send_response(code)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def slack_says(path: str, body: dict[str, Any]) -> tuple[int, str]:
    if path != f"/services/{TOKENS}":
        return 404, "no_service"
    texts = [body.get("text", ""), *(one.get("text", "") for one in body.get("attachments", []))]
    return (200, "ok") if any(texts) else (400, "no_text")


def pagerduty_says(path: str, body: dict[str, Any]) -> tuple[int, str]:
    errors = [] if body.get("routing_key") == KEY else ["'routing_key' is invalid"]
    action, payload = body.get("event_action"), body.get("payload", {})
    if action == "trigger":
        errors += [f"'{name}' is missing" for name in ("summary", "source", "severity") if not payload.get(name)]
        if payload.get("severity") not in ("critical", "error", "warning", "info"):
            errors += ["'severity' is invalid"]
        if len(payload.get("summary", "")) > 1024:
            errors += ["'summary' is too long"]
    elif action not in ("acknowledge", "resolve"):
        errors += ["'event_action' is invalid"]
    elif not body.get("dedup_key"):
        errors += ["'dedup_key' is missing"]
    if set(body) - {"routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links", "images"}:
        errors += ["unknown fields"]
    if path != "/v2/enqueue":
        return 404, "{}"
    if errors:
        wrong = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
        return 400, json.dumps(wrong)
    return 202, json.dumps({"status": "success", "message": "Event processed", "dedup_key": body.get("dedup_key")})


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A running receiver of Slack's and PagerDuty's protocols."""
    with Receiver() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.gate.set()
        server.shutdown()


class Mailbox:
    """What an SMTP server took; refuses at the DATA command while `full`."""

    def __init__(self) -> None:
        self.full = False
        self.mails: list[tuple[list[str], Message]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's name
        if self.full:
            return "452 4.2.2 Mailbox full"
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=default)))
        return "250 OK"


@contextmanager
def mailbox() -> Iterator[tuple[Mailbox, str]]:
    """A running SMTP server and its address."""
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as probe:  # it cannot choose a port itself
        port = probe.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield box, f"smtp://127.0.0.1:{port}"
    finally:
        controller.stop()
