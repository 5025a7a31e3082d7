"""Errors of the API as RFC 9457 problem details: what is wrong, where, and what would be right."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from infra.errors import NotFound, UserError
from serving.access import TRACE
from serving.messages import Fault, Problem

Place = tuple[int | str, ...]  # from the body inwards, as pydantic gives it: ("rows", 3, "age")
MEDIA = "application/problem+json"
SHOWN = 50  # faults named in one answer
_log = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(UserError, _refused)
    app.add_exception_handler(Malformed, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)
    generate = app.openapi
    app.openapi = lambda: _typed(generate())  # type: ignore[method-assign]  # FastAPI's documented way


def respond(
    status: int, detail: str, errors: Sequence[Fault] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """A problem as a response."""
    problem = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=detail, errors=list(errors), trace_id=TRACE.get()
    )
    return Response(problem.model_dump_json(), status, headers, MEDIA)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for OpenAPI."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


class Malformed(HTTPException):
    """A body that cannot be read: `faults` are (place, what is wrong)."""

    def __init__(self, status: int, faults: Sequence[tuple[Place, str]]) -> None:
        super().__init__(status, faults[0][1])
        self.faults = faults


async def _invalid(_: Request, error: Exception) -> Response:
    found = cast(RequestValidationError, error).errors()
    return _faulty(422, [(tuple(item["loc"]), item["msg"]) for item in found])


async def _malformed(_: Request, error: Exception) -> Response:
    error = cast(Malformed, error)
    return _faulty(error.status_code, error.faults)


def _faulty(status: int, found: Sequence[tuple[Place, str]]) -> Response:
    faults = [_fault(place, text) for place, text in found[:SHOWN]]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return respond(status, f"{_where(faults[0])}: {faults[0].detail}{more}", faults)


async def _refused(_: Request, error: Exception) -> Response:
    return respond(404 if isinstance(error, NotFound) else 422, str(error))


async def _http(request: Request, error: Exception) -> Response:
    error = cast(HTTPException, error)
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"nothing is served at {request.url.path}; choose from: {', '.join(_paths(request.app))}"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        detail = f"{request.method} is not possible at {request.url.path}; use {allowed}"
    return respond(error.status_code, detail, headers=error.headers)


async def _bug(_: Request, error: Exception) -> Response:
    _log.error("a request failed", exc_info=error)
    return respond(500, f"a bug, not your input's fault; the log names it under trace_id {TRACE.get()}")


def _fault(place: Place, message: str) -> Fault:
    inner = place[1:] if place[:1] == ("body",) else place
    row = inner[1] if inner[:1] == ("rows",) and len(inner) > 1 and isinstance(inner[1], int) else None
    field = ".".join(map(str, inner if row is None else inner[2:])) or None
    pointer = "#" + "".join(f"/{_escaped(part)}" for part in inner)
    return Fault(detail=message, pointer=pointer, row=row, field=field)


def _escaped(part: int | str) -> str:
    """One step of a JSON pointer (RFC 6901)."""
    return str(part).replace("~", "~0").replace("/", "~1")


def _where(fault: Fault) -> str:
    row = None if fault.row is None else f"row {fault.row}"
    return ", ".join(part for part in (row, fault.field) if part) or "body"


def _typed(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with errors under their own media type; FastAPI writes them under that of the answers."""
    for operation in (item for methods in document["paths"].values() for item in methods.values()):
        for status, response in operation["responses"].items():
            if int(status) >= HTTPStatus.BAD_REQUEST and "application/json" in response.get("content", {}):
                response["content"] = {MEDIA: response["content"].pop("application/json")}
    return document


def _paths(app: FastAPI) -> list[str]:
    """`METHOD path` of every documented route."""
    return sorted(f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods)
