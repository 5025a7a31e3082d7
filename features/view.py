"""The contract of a view: typed feature columns made from canonical tables by one pure function.

`Columns` is the single place where a feature's name, type, unit and limits are written. From it come the Great
Expectations gate, the Feast view, the check before training, the MLflow signature and the HTTP body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import NoneType, UnionType
from typing import Any, Protocol, Self, Union, get_args, get_origin

import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

Frames = Mapping[str, pd.DataFrame]
KINDS = (str, bool, int, float, list[float], list[str])


def column(description: str, unit: str = "1", **limits: Any) -> Any:
    """A feature column: `unit` in UCUM; `limits` as pydantic takes them (ge, le, gt, lt, min_length, default...)."""
    return Field(limits.pop("default", ...), description=description, json_schema_extra={"unit": unit}, **limits)


class Columns(BaseModel):
    """Base of a view's columns. `time` is when the row was known (UTC): nothing later than it may be in the row."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    time: datetime = Field(description="when this row was known, UTC")

    @classmethod
    def kinds(cls) -> dict[str, tuple[type, bool]]:
        """Column name → (one of KINDS, nullable), without `time`."""
        return {name: _kind(name, info.annotation) for name, info in cls.model_fields.items() if name != "time"}


class Incremental(Protocol):
    """A view's transform for one live entity, a few rows at a time: it keeps of the past what the next row needs.

    Whatever the parts in which it is given a history, its newest row is the one that the transform makes from the
    whole history at once. `features.ordered` puts late rows in their place.
    """

    def add(self, rows: Mapping[str, pa.Table]) -> dict[str, Any] | None:
        """Take rows of the view's tables, in any order, all later than those that were taken before.

        Returns the newest row (the columns of the view and `dataset`), None where these rows make none.
        """

    def copy(self) -> Self:
        """An independent copy, cheap enough to be made once a minute."""


@dataclass(frozen=True)
class View:
    """One feature table.

    `transform` is pure: it takes the canonical tables named in `reads` (pandas, only the selected rows) holding *all*
    rows of one or more entities, and returns one row per (entity, time) with the columns of `columns` plus `dataset`.
    It must not care about row order, and gives each entity the same rows whatever other entities are present, so that
    Spark may run it on any partition of entities, the stream on the newest rows, and the benchmark on a folder.

    `incremental` makes an empty state of one entity. A view without it is served from its newest raw rows only.
    """

    name: str
    entity: str  # the column that names the entity; must be one of `columns`
    columns: type[Columns]
    reads: Mapping[str, Mapping[str, tuple[str, ...]]]  # table → {column: accepted values}, pushed down to the lake
    keys: Mapping[str, str]  # table → its column that holds the entity
    transform: Callable[[Frames], pd.DataFrame]
    ttl: timedelta
    online: bool = True  # False: labels, never served
    once: bool = False  # each entity is seen once: its past is learnt from and never asked for, so it is not put online
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    incremental: Callable[[], Incremental] | None = None


def _kind(name: str, annotation: Any) -> tuple[type, bool]:
    nullable = get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation)
    inner = next(a for a in get_args(annotation) if a is not NoneType) if nullable else annotation
    if inner not in KINDS:
        raise TypeError(
            f"column {name}: {annotation} is not one of {[getattr(k, '__name__', k) for k in KINDS]}, or `| None`"
        )
    return inner, nullable
