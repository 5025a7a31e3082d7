"""The routes. One per model, made from its spec, so that a new model needs nothing here."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from email.message import EmailMessage
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.params import Depends
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException

from infra.errors import UserError
from serving import BASE, docs, problems, status
from serving.examples import example
from serving.loader import Kinds, Served, Slot
from serving.messages import Health, Predictions, Rows, Status
from serving.metrics import Metrics
from serving.pool import Busy, Pool
from training import catalog
from training.model import Answer, Spec

Slots = Callable[[], Mapping[str, Slot]]
_LONG = re.compile(rb"\d{19}")
ABOUT = """Predicts, analyses and explains; every model answers at one route.

A request is refused whole, naming row and field, when one row is wrong (422). Errors are RFC 9457 problem details.
A `traceparent` header (W3C) names the request in the log; its trace id comes back as `x-request-id`.
"""


def create(kinds: Kinds, slots: Slots, pool: Pool, metrics: Metrics, guards: Sequence[Depends] = ()) -> FastAPI:
    """The API of the models `kinds`, answered by what is in `slots`.

    Each of `guards` holds for every route: the place for API keys and roles.
    """
    app = FastAPI(
        title="IAC Dharma AIOps",
        version="3.0",
        description=ABOUT,
        openapi_url=f"{BASE}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    router = APIRouter(prefix=BASE, dependencies=list(guards), route_class=JsonRoute)
    for name, kind in kinds.items():
        _add_model(router, name, kind.spec, slots, pool, metrics)
    _add_state(router, kinds, slots, metrics)
    app.include_router(router)
    problems.install(app)
    docs.install(app)
    return app


class JsonRoute(APIRoute):
    """Reads bodies strictly: only as JSON, because a page of another site may send anything else to a loopback port."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            kind = request.headers.get("content-type", "")
            if self.body_field and not _is_json(kind):
                raise HTTPException(415, f"the body must be application/json, not {kind or 'without a type'}")
            return await handle(JsonRequest(request.scope, request.receive))

        return strict


class JsonRequest(Request):
    """Parsed by pydantic's parser: faster than the standard one, and no lone surrogates, no recursion to the limit.

    NaN and infinities pass here and are refused by the row, which can name the field.
    """

    async def json(self) -> Any:
        try:
            content = from_json(body := await self.body())
        except ValueError as error:
            raise problems.Malformed(400, [((), f"not JSON: {error}")]) from None
        if _LONG.search(body) and (places := list(_too_long(content, ()))):
            raise problems.Malformed(422, [(place, "an integer beyond 64 bits") for place in places])
        return content


def _too_long(value: Any, place: problems.Place) -> Iterator[problems.Place]:
    """Where integers are that no column can hold, and that overflow when they are computed with."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _too_long(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _too_long(item, (*place, index))
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield place


def _is_json(content_type: str) -> bool:
    message = EmailMessage()
    message["content-type"] = content_type
    return message.get_content_type() == "application/json" or message.get_content_subtype().endswith("+json")


def _add_model(router: APIRouter, name: str, spec: Spec, slots: Slots, pool: Pool, metrics: Metrics) -> None:
    async def predict(request: Request, body: Any) -> Response:
        served = _served(name, slots()[name])
        try:
            answers = await pool.run(_answers, served, body)
        except Busy:
            metrics.overloaded(name)
            raise HTTPException(429, "all threads compute and the queue is full", {"Retry-After": "1"}) from None
        version = served.version
        metrics.predicted(name, version.number, len(answers), sum(answer.abstained is not None for answer in answers))
        request.state.log = {"model": name, "version": version.number, "rows": len(answers)}
        content = Predictions[spec.answer](  # type: ignore[name-defined]  # a type made at run time
            model=name, version=version.number, alias=served.alias, synthetic=served.synthetic, answers=answers
        )
        return Response(content.model_dump_json(), media_type="application/json")

    predict.__annotations__.update(body=Rows[spec.row])  # type: ignore[name-defined]
    router.add_api_route(
        f"/{spec.route}",
        predict,
        methods=["POST"],
        name=name,
        summary=spec.purpose,
        description=_description(spec),
        tags=[spec.route.partition("/")[0]],
        response_model=Predictions[spec.answer],  # type: ignore[name-defined]
        responses=problems.documented(400, 413, 415, 422, 429, 503),
        openapi_extra=_examples(spec),
    )


def _answers(served: Served, body: Rows[Any]) -> list[Answer]:
    """Runs in a thread of the pool."""
    try:
        return served.model.predict(body.rows, body.explain)
    except NotImplementedError as error:
        if not body.explain:
            raise
        raise UserError(f"explain: this model gives no explanations ({error}); ask without it") from None


def _served(name: str, slot: Slot) -> Served:
    if slot.served is None:
        raise HTTPException(503, f"{name} is not loaded: {slot.problem}", {"Retry-After": "5"})
    return slot.served


def _description(spec: Spec) -> str:
    limits = f"\n\n**Not for:** {spec.limits}" if spec.limits else ""
    return f"{spec.algorithm}.\n\n**Judged by:** {spec.protocol}{limits}"


def _examples(spec: Spec) -> dict[str, Any] | None:
    row = example(spec.row)
    if row is None:
        return None
    return {"requestBody": {"content": {"application/json": {"example": {"rows": [row], "explain": True}}}}}


def _add_state(router: APIRouter, kinds: Kinds, slots: Slots, metrics: Metrics) -> None:
    @router.get("/health", summary="Alive, and which models can answer", tags=["state"])
    async def health() -> Health:
        """Always 200 while the process lives; `/readyz` is 200 only when every model is loaded, else 503."""
        return status.health(slots())

    @router.get("/models/status", summary="What is served, how good it is, and why not more", tags=["state"])
    async def models_status() -> Status:
        models = {name: status.model(kinds[name].spec, catalog.entry(name), slot) for name, slot in slots().items()}
        return Status(models=models)

    @router.get("/metrics", summary="Figures for Prometheus", tags=["state"])
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
