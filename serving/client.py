"""The caller's side of the API, typed by the models' own answers; used by the remediation and the command line.

AiopsError
├── UserError
│   ├── BadRequest    4xx: the text names row and field
│   └── Unreachable   nobody listens, or the model is not loaded, for longer than `patience`
└── ServiceError      too busy, too slow, 5xx, or an answer that is none of ours
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from infra.errors import AiopsError, UserError
from infra.settings import settings
from serving import BASE
from serving.messages import MAX_ROWS, Health, Predictions, Problem, Status
from training import catalog
from training.model import Row

M = TypeVar("M", bound=BaseModel)
AnyRow = Row | Mapping[str, Any]
_JSON = {"content-type": "application/json"}


class BadRequest(UserError):
    """The service refused what was asked."""


class Unreachable(UserError):
    """No service, or no model loaded in it, within the caller's patience."""


class ServiceError(AiopsError):
    """The service failed, and not by the caller's fault."""


class Client:
    """A connection to the service; use it as a context manager.

    `timeout`: seconds for one attempt. `patience`: seconds to go on trying while the service or the model is still
    starting; nothing else is retried.
    """

    def __init__(
        self,
        base_url: str | None = None,
        timeout: float = 30.0,
        patience: float = 10.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.address = base_url or settings().url("api")
        self._patience = patience
        self._http = httpx.Client(base_url=self.address + BASE, timeout=timeout, transport=transport, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(self, name: str, rows: Sequence[AnyRow], explain: bool = False) -> Predictions[Any]:
        """One answer per row, each of them the model's own `Answer`; at most MAX_ROWS rows.

        Raises NotFound for an unknown model and BadRequest naming the row and field of bad input.
        """
        spec = catalog.load(name).spec
        body = to_json({"rows": list(rows), "explain": explain}, fallback=_plain)
        return self._ask(Predictions[spec.answer], "POST", spec.route, body)  # type: ignore[name-defined]

    def health(self) -> Health:
        """Which models can answer."""
        return self._ask(Health, "GET", "health")

    def status(self) -> Status:
        """What is served, how good it is, and why not more."""
        return self._ask(Status, "GET", "models/status")

    def _ask(self, kind: type[M], method: str, path: str, body: bytes | None = None) -> M:
        response = self._send(method, path, body)
        try:
            if response.is_success:
                return kind.model_validate_json(response.content)
            problem = Problem.model_validate_json(response.content)
        except ValidationError as error:
            text = f"{self.address} gave an answer that is not ours (status {response.status_code}): {error}"
            raise ServiceError(text) from None
        raise _error(problem)

    def _send(self, method: str, path: str, body: bytes | None) -> httpx.Response:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                response = self._http.request(method, f"/{path}", content=body, headers=_JSON if body else None)
                if response.status_code != 503 or "retry-after" not in response.headers:
                    return response
                wait = float(response.headers["retry-after"])
            except httpx.ConnectError as error:
                response, wait, cause = None, 0.5, error
            except httpx.TimeoutException:
                raise ServiceError(f"{self.address} gave no answer in time") from None
            except httpx.TransportError as error:
                raise ServiceError(f"{self.address} broke off: {type(error).__name__}: {error}") from error
            if time.monotonic() + wait > deadline:
                if response is not None:
                    return response
                raise Unreachable(f"no prediction service at {self.address} ({cause}); start it with `aiops up`")
            time.sleep(wait)


def predict(name: str, rows: Sequence[AnyRow], explain: bool = False, base_url: str | None = None) -> Predictions[Any]:
    """As `Client.predict`, for any number of rows: they are sent in parts. Raises ServiceError when a new version came
    in between, so that all answers are of one version.
    """
    with Client(base_url) as client:
        parts = [_part(client, name, rows, start, explain) for start in range(0, max(len(rows), 1), MAX_ROWS)]
    versions = sorted({part.version for part in parts})
    if len(versions) > 1:
        raise ServiceError(f"{name} changed from version {versions[0]} to {versions[-1]} meanwhile; ask again")
    return parts[0].model_copy(update={"answers": [answer for part in parts for answer in part.answers]})


def _part(client: Client, name: str, rows: Sequence[AnyRow], start: int, explain: bool) -> Predictions[Any]:
    try:
        return client.predict(name, rows[start : start + MAX_ROWS], explain)
    except BadRequest as error:
        raise BadRequest(f"{error} (rows counted from {start})" if start else str(error)) from None


def _error(problem: Problem) -> AiopsError:
    """The exception for a problem; every fault is named."""
    faults = [f"row {f.row}, {f.field}: {f.detail}" if f.row is not None else f.detail for f in problem.errors]
    text = "; ".join(faults) or problem.detail
    if problem.status == 503:
        return Unreachable(text)
    if 400 <= problem.status < 500 and problem.status != 429:
        return BadRequest(text)
    return ServiceError(f"{problem.title}: {text} (trace {problem.trace_id})")


def _plain(value: Any) -> Any:
    """Make plain Python of numpy's arrays and scalars."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be sent as JSON: {value!r}")
