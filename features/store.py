"""The feature store: Feast over the feature tables, with an SQLite online store. The only importer of feast.

Views become Feast views, a model's views its feature service. What Feast does not do is done here: a row older than its
view's time to live is refused online (feast-dev/feast #6821), and an unknown entity is an error, not a row of nulls.
"""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from features import jobs, lake
from features.fingerprint import of_names
from features.view import View
from infra.errors import DataError, NotFound, StaleFeature, UserError
from infra.settings import settings

if TYPE_CHECKING:
    from feast import Entity, FeatureStore, FeatureView


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
    _quiet_exit()
    rows = jobs.read(labels, datasets=datasets).sort_by([("time", "ascending"), (labels.entity, "ascending")])
    views = _views(_service(service))
    joined = _joined(rows, labels.entity, views)
    for view in views:
        names = [field.name for field in view.features if field.name != jobs.ROW_TIME]
        found = _rows_at(view, names, rows[labels.entity], joined[f"{view.name}__{jobs.ROW_TIME}"])
        for name in names:
            rows = rows.append_column(name, found[name])
    return rows.to_pandas()


def _joined(rows: pa.Table, entity: str, views: list[FeatureView]) -> pd.DataFrame:
    """For every label row the time of the row of each view that Feast's point-in-time join picks.

    Only times go through the join: it makes a copy of a row for every label that might want it, and a row can be large.
    """
    wanted = pd.DataFrame({"row": range(len(rows)), "event_timestamp": rows["time"].to_pandas()})
    for key in {key for view in views for key in view.join_keys}:
        wanted[key] = rows[entity].to_pandas()
    features = [f"{view.name}:{jobs.ROW_TIME}" for view in views]
    found = _store().get_historical_features(entity_df=wanted, features=features, full_feature_names=True).to_df()
    return found.sort_values("row").reset_index(drop=True)


def _rows_at(view: FeatureView, names: list[str], entities: pa.ChunkedArray, times: pd.Series) -> pa.Table:
    """The view's rows of each (entity, time in microseconds); a row of nulls where the time is null."""
    columns = {key: pc.field(key) for key in (*view.join_keys, jobs.ROW_TIME, *names)}
    rows = ds.dataset(jobs.folder(view.name), format="parquet").to_table(columns=columns)
    held = pd.MultiIndex.from_arrays([rows[view.join_keys[0]].to_pandas(), rows[jobs.ROW_TIME].to_pandas()])
    place = held.get_indexer(pd.MultiIndex.from_arrays([entities.to_pandas(), times.astype("Int64")]))
    return rows.select(names).take(pa.array(place, pa.int64(), mask=place < 0))


def materialize(views: Iterable[View], end: datetime | None = None) -> dict[str, int]:
    """Copy the newest row of each entity, not later than `end`, to the online store; returns rows written by view.

    A view whose feature table did not change since, or whose entities are seen once, is skipped. Live entities are the
    stream's: it pushes newer rows.
    """
    end = end or datetime.now(UTC)
    written = {}
    for view in views:
        if view.once:
            written[view.name] = 0
            continue
        stamp = settings().home / "feast" / f"online-{view.name}.json"
        mark = of_names(jobs.published(view).glob("*/*.parquet"))
        known = json.loads(stamp.read_text()) if stamp.exists() else {}
        if known.get("mark") == mark and datetime.fromisoformat(known["newest"]) <= end:
            written[view.name] = 0
            continue
        rows = jobs.read(view)
        keys = rows.select(["dataset", "time", view.entity]).to_pandas()  # rows can be large, and few are written
        keys = keys[keys["dataset"] != lake.LIVE]
        newest = keys["time"].max()
        last = keys[keys["time"] <= end].sort_values("time", kind="stable").drop_duplicates(view.entity, keep="last")
        written[view.name] = push(view, rows.take(pa.array(last.index)).to_pandas())
        stamp.unlink(missing_ok=True)
        if newest <= end:  # else a later end has more to write; without rows it is NaT
            stamp.write_text(json.dumps({"mark": mark, "newest": newest.isoformat()}))
    return written


def push(view: View, rows: pd.DataFrame) -> int:
    """Write rows (columns of `view`; `dataset` is ignored) to the online store, the newest of each entity last."""
    if len(rows):
        times = pd.to_datetime(rows["time"], utc=True).astype("datetime64[us, UTC]")
        frame = rows.drop(columns="dataset", errors="ignore").assign(**{jobs.ROW_TIME: times.astype("int64")})
        _store().write_to_online_store(view.name, df=frame, allow_registry_cache=True)
    return len(rows)


def online(service: str, entities: Sequence[str], now: datetime | None = None) -> list[dict[str, Any]]:
    """The newest row of each entity: its key, the columns of the service's views, and `time` (the oldest view's).

    Raises StaleFeature for a row older than its view's time to live at `now`, UnknownEntity for one that is not there.
    """
    views, moment = _views(_service(service)), now or datetime.now(UTC)
    keys = [key for view in views for key in view.join_keys]
    wanted = [f"{view.name}:{field.name}" for view in views for field in view.features]
    answer = _store().get_online_features(
        features=wanted, entity_rows=[dict.fromkeys(keys, entity) for entity in entities], full_feature_names=True
    )
    values = answer.to_dict()
    rows = []
    for number, entity in enumerate(entities):
        row: dict[str, Any] = {key: values[key][number] for key in keys}
        times = []
        for view in views:
            found = {field.name: values[f"{view.name}__{field.name}"][number] for field in view.features}
            times.append(_fresh(view, entity, found.pop(jobs.ROW_TIME), moment))
            row |= found
        rows.append({"time": min(times), **row})
    return rows


def _fresh(view: FeatureView, entity: str, microseconds: int | None, now: datetime) -> datetime:
    """The time of the entity's row of `view`. Raises StaleFeature, UnknownEntity."""
    if microseconds is None:
        raise UnknownEntity(f"the online store has no row of view {view.name} for {view.join_keys[0]} {entity!r}")
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
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
        if name != view.entity
    ]
    fields.append(Field(name=jobs.ROW_TIME, dtype=Int64, description="the row's time, in microseconds since 1970"))
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
