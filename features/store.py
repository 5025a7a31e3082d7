"""The feature store: Feast over the feature tables, with an SQLite online store. The only importer of feast.

Views become Feast views, a model's views its feature service. What Feast does not do is done here: a row older than its
view's time to live is refused online (feast-dev/feast #6821), and an unknown entity is an error, not a row of nulls.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features import jobs, lake
from features.fingerprint import digest, of_names
from features.view import View
from infra.errors import DataError, NotFound, StaleFeature, UserError
from infra.settings import settings

if TYPE_CHECKING:
    from feast import Entity, FeatureStore, FeatureView

_LABEL_TIME = "event_timestamp"  # the name that Feast looks for in a label frame


class UnknownEntity(UserError):
    """An entity that has no row in the online store."""


def apply(services: Mapping[str, tuple[View, ...]]) -> None:
    """Register entities, views and one feature service a model, beside those that are registered already.

    Raises DataError when two different views have one name.
    """
    from feast import FeatureService

    store = _store()
    entities: dict[str, Entity] = {}
    views: dict[str, tuple[View, FeatureView]] = {}
    for view in (view for group in services.values() for view in group):
        if views.get(view.name, (view,))[0] != view:
            raise DataError(f"two different views are named {view.name!r}; a name is one feature table")
        entity = entities.setdefault(view.entity, _entity(view.entity))
        views.setdefault(view.name, (view, _feature_view(view, entity)))
    wanted = [
        FeatureService(name=name, features=[views[view.name][1] for view in group]) for name, group in services.items()
    ]
    store.apply([*entities.values(), *(made for _, made in views.values()), *wanted])


def training_frame(service: str, labels: View, datasets: Sequence[str] | None = None) -> pd.DataFrame:
    """The label rows in (time, entity) order, each joined with the newest row of every view at its time, within ttl.

    Columns: those of `labels` (with `dataset`), then those of the service's views. What `features.build.frame` makes.
    """
    rows = jobs.read(labels, datasets=datasets).to_pandas().rename(columns={"time": _LABEL_TIME})
    _quiet_exit()
    found = _service(service)
    keys = [key for view in _views(found) for key in view.join_keys if key != labels.entity]
    rows = rows.assign(**{key: rows[labels.entity] for key in keys})
    joined = _store().get_historical_features(entity_df=rows, features=found).to_df()
    joined = joined.rename(columns={_LABEL_TIME: "time"}).sort_values(["time", labels.entity], kind="stable")
    features = [field.name for view in _views(found) for field in view.features]
    order = ["dataset", "time", *labels.columns.kinds(), *features]
    return joined[order].reset_index(drop=True)


def materialize(views: Iterable[View], end: datetime | None = None) -> dict[str, int]:
    """Copy the newest row of each entity, not later than `end`, to the online store; returns rows written by view.

    A view whose feature table did not change since is skipped. Live entities are the stream's: it pushes newer rows.
    """
    end = end or datetime.now(UTC)
    written = {}
    for view in views:
        stamp = settings().home / "feast" / f"materialized-{view.name}.json"
        rows = jobs.read(view)
        rows = rows.filter(pc.not_equal(rows["dataset"], lake.LIVE))
        newest = pc.max(rows["time"]).as_py()
        mark = digest(of_names(jobs.published(view).glob("*/*.parquet")), str(newest and min(newest, end)))
        if stamp.exists() and json.loads(stamp.read_text()) == mark:
            written[view.name] = 0
            continue
        frame = rows.filter(pc.less_equal(rows["time"], pa.scalar(end, rows["time"].type))).to_pandas()
        frame = frame.sort_values("time", kind="stable").drop_duplicates(view.entity, keep="last")
        written[view.name] = push(view, frame)
        stamp.write_text(json.dumps(mark))
    return written


def push(view: View, rows: pd.DataFrame) -> int:
    """Write rows (columns of `view`; `dataset` is ignored) to the online store, the newest of each entity last."""
    if len(rows):
        frame = rows.drop(columns="dataset", errors="ignore")
        _store().write_to_online_store(view.name, df=frame, allow_registry_cache=True)
    return len(rows)


def online(service: str, entities: Sequence[str], now: datetime | None = None) -> list[dict[str, Any]]:
    """The newest row of each entity: its key, the columns of the service's views, and `time` (the oldest view's).

    Feast keeps whole seconds of a row's time online, so a row counts as up to a second older than it is.

    Raises StaleFeature for a row older than its view's time to live at `now`, UnknownEntity for one that is not there.
    """
    found, moment = _service(service), now or datetime.now(UTC)
    views = _views(found)
    keys = [key for view in views for key in view.join_keys]
    answer = _store().get_online_features(features=found, entity_rows=[dict.fromkeys(keys, e) for e in entities])
    values = answer.to_dict()
    vectors = dict(zip(answer.proto.metadata.feature_names.val, answer.proto.results, strict=True))
    rows = []
    for number, entity in enumerate(entities):
        times = [_fresh(view, entity, vectors[view.features[0].name], number, moment) for view in views]
        rows.append({"time": min(times), **{name: column[number] for name, column in values.items()}})
    return rows


def _fresh(view: FeatureView, entity: str, vector: Any, number: int, now: datetime) -> datetime:
    """The time of the entity's row of `view`. Raises StaleFeature, UnknownEntity."""
    from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

    if vector.statuses[number] == FieldStatus.NOT_FOUND:
        raise UnknownEntity(f"the online store has no row of view {view.name} for {view.join_keys[0]} {entity!r}")
    time: datetime = vector.event_timestamps[number].ToDatetime(tzinfo=UTC)
    if view.ttl and now - time > view.ttl:
        raise StaleFeature(
            f"view {view.name}: the row of {view.join_keys[0]} {entity!r} is {now - time} old ({time.isoformat()}), "
            f"older than its time to live of {view.ttl}; renew it before it is used"
        )
    return time


def _entity(name: str) -> Entity:
    from feast import Entity, ValueType

    return Entity(name=name, join_keys=[name], value_type=ValueType.STRING)


def _feature_view(view: View, entity: Entity) -> FeatureView:
    from feast import FeatureView, Field, FileSource
    from feast.data_format import ParquetFormat
    from feast.types import Array, Bool, Float64, Int64, String

    types: dict[type, Any] = {
        str: String,
        bool: Bool,
        int: Int64,
        float: Float64,
        list[float]: Array(Float64),
        list[str]: Array(String),
    }
    fields = [
        Field(name=name, dtype=types[kind], description=view.columns.model_fields[name].description or "")
        for name, (kind, _) in view.columns.kinds().items()
    ]
    source = FileSource(
        name=view.name,
        path=str(jobs.published(view) / "dataset=*" / "*.parquet"),
        timestamp_field="time",
        file_format=ParquetFormat(),
    )
    return FeatureView(
        name=view.name,
        entities=[entity],
        schema=fields,
        source=source,
        ttl=view.ttl,
        online=view.online,
        description=view.description,
        tags=dict(view.tags),
    )


def _service(name: str) -> Any:
    from feast.errors import FeastObjectNotFoundException

    try:
        return _store().get_feature_service(name, allow_cache=True)
    except FeastObjectNotFoundException:
        raise NotFound("feature service", name, [one.name for one in _store().list_feature_services()]) from None


def _views(service: Any) -> list[FeatureView]:
    projections = service.feature_view_projections
    return [_store().get_feature_view(projection.name, allow_registry_cache=True) for projection in projections]


@lru_cache
def _quiet_exit() -> None:
    """At exit Torch, which Feast imports, keeps DuckDB's module alive, and DuckDB's binding prints a hundred lines.

    So the last thing a process does is to point its stderr elsewhere; what other exit handlers say comes before.
    """
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))


def _store() -> FeatureStore:
    return _opened(settings().home / "feast")


@lru_cache
def _opened(folder: Path) -> FeatureStore:
    from feast import FeatureStore, RepoConfig

    folder.mkdir(parents=True, exist_ok=True)
    return FeatureStore(
        config=RepoConfig(
            project="aiops",
            provider="local",
            registry={"registry_type": "file", "path": str(folder / "registry.db"), "cache_ttl_seconds": 60},
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            offline_store={"type": "duckdb"},
            entity_key_serialization_version=3,
        )
    )
