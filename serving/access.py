"""Around every request: its trace id, the limit of its body, its figures, and one JSON line in the log.

Plain ASGI, outermost, so that also errors, unknown paths and gone clients are seen.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.messages import MAX_BODY
from serving.metrics import Metrics

TRACE: ContextVar[str] = ContextVar("trace", default="")
UNMATCHED = "unmatched"  # one label for all unknown paths, or a scanner could fill the memory with labels
CLIENT_GONE = 499  # in log and metrics only, as nginx counts it
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_log = logging.getLogger(__name__)


def trace_id(traceparent: str | None) -> str:
    """The trace id of a W3C `traceparent` header, or a new one (32 hex digits)."""
    match = _PARENT.fullmatch(traceparent or "")
    return match[1] if match else secrets.token_hex(16)


@dataclass
class _Exchange:
    """What is known about one request so far."""

    limit: int
    declared: str | None
    received: int = 0
    sent: int = 0
    status: int = CLIENT_GONE

    def count(self, message: Message) -> None:
        """Raises HTTPException 413 when the body is, or says it is, over the limit."""
        self.received += len(message.get("body", b""))
        declared = int(self.declared) if self.declared and self.declared.isdecimal() else 0
        if max(self.received, declared) > self.limit:
            raise HTTPException(413, f"the body is over {self.limit} bytes; send fewer rows at once")


class Access:
    """ASGI middleware, see the module."""

    def __init__(self, app: ASGIApp, metrics: Metrics, limit: int = MAX_BODY) -> None:
        self._app, self._metrics, self._limit = app, metrics, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = Headers(scope=scope)
        exchange = _Exchange(self._limit, headers.get("content-length"))
        trace = TRACE.set(trace_id(headers.get("traceparent")))
        start = time.perf_counter()

        async def limited() -> Message:
            message = await receive()
            exchange.count(message)
            return message

        async def seen(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = TRACE.get()
            exchange.sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, limited, seen)
        except Exception:
            if exchange.status == CLIENT_GONE:  # nothing was answered: let the server answer
                raise
            # answered and logged by problems._bug; Starlette raises it once more for the server's own log
        finally:
            self._report(scope, exchange, time.perf_counter() - start)
            TRACE.reset(trace)

    def _report(self, scope: Scope, exchange: _Exchange, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNMATCHED)
        self._metrics.request(route, scope["method"], exchange.status, seconds)
        fields = {
            "method": scope["method"],
            "path": scope["path"],  # without the query, which may hold secrets
            "status": exchange.status,
            "milliseconds": round(seconds * 1e3, 3),
            "bytes_in": exchange.received,
            "bytes_out": exchange.sent,
            "client": (scope.get("client") or [None])[0],
        }
        _log.info("request", extra={"fields": fields | scope.get("state", {}).get("log", {})})
