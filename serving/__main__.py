"""`python -m serving`: the prediction API in this very process.

No child processes, as `bentoml serve` has: killed with -9, it leaves nothing behind that holds the port.
SIGTERM and SIGINT let running requests finish.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from infra.errors import UserError
from infra.settings import settings
from serving import BASE

if TYPE_CHECKING:
    from fastapi import APIRouter

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # threads of one prediction would fight with those of the next
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
GRACE = 10  # seconds that running requests get after SIGTERM
_log = logging.getLogger("serving")


def serve(routers: Iterable[APIRouter] = ()) -> None:
    """Serve until told to stop. `routers` are served below the same base. Raises UserError when the port is taken."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    listener = listen(settings().stack.host, settings().stack.ports.api)
    import uvicorn

    from serving import logs
    from serving.service import Aiops, app

    logs.configure("info")
    for router in routers:
        app.include_router(router, prefix=BASE)
    host, port = listener.getsockname()[:2]
    _log.info("listening", extra={"fields": {"host": host, "port": port, "base": BASE}})
    asgi = Aiops.to_asgi()  # type: ignore[attr-defined]  # mypy does not follow class decorators
    config = uvicorn.Config(
        asgi, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=GRACE
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """The port, taken before anything heavy is imported, so that a taken one is said at once."""
    try:
        return socket.create_server((host, port), backlog=2048)
    except OSError as error:
        where = f"aiops.stack.ports.api ({port}) on aiops.stack.host ({host})"
        raise UserError(f"cannot listen: {where}: {error.strerror}; stop what holds it or set another") from None


if __name__ == "__main__":
    try:
        serve()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
