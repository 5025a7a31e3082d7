"""The bodies of the API. A model's own `Row` and `Answer` are filled in, so OpenAPI and client are typed by them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from training.model import Answer, Row

MAX_ROWS = 1_000  # rows of one request
MAX_FAULTS = 5_000  # faults of one request that are told apart
MAX_BODY = 8 * 2**20  # bytes of one request

R = TypeVar("R", bound=Row)
A = TypeVar("A", bound=Answer)
Alias = Literal["champion", "challenger"]


class Message(BaseModel):
    """Base of all bodies: read-only, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Rows(Message, Generic[R]):
    """What is asked: one answer per row. One bad row refuses the whole request."""

    rows: Annotated[list[R], Field(min_length=1, max_length=MAX_ROWS, description="the rows to answer, in order")]
    explain: bool = Field(False, description="also say which inputs moved each answer")

    @model_validator(mode="wrap")
    @classmethod
    def _describable(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Describe no million faults, which would hold up everybody else for seconds."""
        try:
            return handler(value)
        except ValidationError as error:
            if (count := error.error_count()) <= MAX_FAULTS:
                raise
            text = "{count} things are wrong; send one row alone to see which"
            raise PydanticCustomError("too_many_faults", text, {"count": count}) from None


class Predictions(Message, Generic[A]):
    """One answer per row, in the order of the rows, and which version gave them."""

    model: str
    version: int
    alias: Alias = Field(description="`challenger`: no version has passed every gate yet")
    synthetic: bool = Field(description="trained on generated data, not on records of real systems")
    answers: list[A]


class Fault(Message):
    """One thing that is wrong in a request."""

    detail: str
    pointer: str = Field(description="JSON pointer into the body, as a fragment")
    row: int | None = Field(None, description="index into `rows`, from 0")
    field: str | None = None


class Problem(Message):
    """An error, as in RFC 9457; the media type is application/problem+json."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Fault] = []
    trace_id: str = Field(description="names this request in the server's log")


class ModelHealth(Message):
    ready: bool
    version: int | None = None
    reason: str | None = Field(None, description="why it is not ready, or why a newer version is not served")


class Health(Message):
    """Answered at all: alive. `ready`: every enabled model has a version loaded."""

    live: Literal[True] = True
    ready: bool
    models: dict[str, ModelHealth]


class TargetStatus(Message):
    """One target of a model beside the figure that the served version reached on held-out data."""

    metric: str
    value: float | None = Field(description="null: not measured")
    direction: Literal["at_least", "at_most"]
    threshold: float = Field(description="what must be reached, or the factor on the baseline's figure")
    baseline: str | None = Field(None, description="the contender to compare with; null: the threshold itself")
    met: bool | None = Field(description="null: not known")
    source: Literal["specification", "aim"]


class ModelStatus(Message):
    """What is served for one model, how good it is, and what keeps a newer version out."""

    route: str
    purpose: str
    algorithm: str
    limits: str = Field("", description="what the model must not be used for")
    ready: bool
    problem: str | None = Field(None, description="why nothing, or not the newest version, is served")
    version: int | None = None
    alias: Alias | None = None
    trained_at: datetime | None = None
    synthetic: bool | None = None
    headline: str = Field(description="the metric to look at first")
    targets: list[TargetStatus] = []
    gate_reason: str | None = Field(None, description="which gates of promotion failed, or that all held")
    next_retrain: datetime | None = None
    loaded_at: datetime | None = None
    load_seconds: float | None = None
    swaps: int = Field(0, description="versions loaded since the start of the process")


class Status(Message):
    models: dict[str, ModelStatus]
