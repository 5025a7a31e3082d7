"""The models under the contract: every file of `training/models`, and the tiny one that tests the tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import build, datasets
from features.view import Frames, View
from infra import plugins
from infra.errors import DataError
from tests.models import tiny
from training import catalog, signature
from training.evaluate import inputs
from training.model import Model

ROWS, STRETCH = 8_000, 500  # of the reference set, and of one entity: enough to fit, few enough to be quick
SOME = 40  # rows asked


@pytest.fixture(params=(*plugins.names(catalog.PACKAGE), tiny.NAME))
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each model's name, with the tiny one plugged in."""
    with tiny.plugged_in():
        yield request.param


@pytest.fixture
def model(name: str) -> Model:
    """An unfitted model with its options of `aiops.yaml`."""
    return catalog.make(name)


@dataclass(frozen=True)
class Reference:
    """A part of a model's reference data: the labelled frame, and what its views are made from."""

    frame: pd.DataFrame
    frames: dict[str, Frames]


@pytest.fixture
def reference(model: Model) -> Reference:
    """Read once a session; skips where the data is absent."""
    if model.name() not in _READ:
        _READ[model.name()] = _read(model)
    return _READ[model.name()]


@pytest.fixture
def fitted(model: Model, reference: Reference) -> Model:
    """The model fitted on its part of the reference data, once a session."""
    if model.name() not in _FITTED:
        _FITTED[model.name()] = catalog.make(model.name()).fit(inputs(model.spec, reference.frame, label=True))
    return _FITTED[model.name()]


@pytest.fixture
def rows(model: Model, reference: Reference) -> list[dict[str, Any]]:
    """Some real rows, the last ones of entities all over the data, as plain values."""
    known = reference.frame[reference.frame[model.spec.label].notna()]
    entities = known.groupby(model.spec.labels.entity, sort=False)
    ends = entities.tail(-(-SOME // entities.ngroups))
    some = np.unique(np.linspace(0, len(ends) - 1, SOME).astype(int))
    return signature.records(inputs(model.spec, ends.iloc[some]))


_READ: dict[str, Reference] = {}
_FITTED: dict[str, Model] = {}


def _read(model: Model) -> Reference:
    if model.name() == tiny.NAME:
        return Reference(tiny.frame(), {view.name: tiny.records() for view in model.spec.views})
    try:
        places = [(each, datasets.fetch(each)) for each in model.spec.datasets[:1]]
    except DataError as error:
        pytest.skip(f"reference data of {model.name()}: {error}")
    tables = build.read(places)
    frame = _some(model, build.frame(tables, model.spec.views, model.spec.labels))
    return Reference(frame, {view.name: _cut(view, build.select(tables, view)) for view in model.spec.views})


def _some(model: Model, frame: pd.DataFrame) -> pd.DataFrame:
    """Entities with and without a positive label in turn, about `ROWS` rows together."""
    entity, label = model.spec.labels.entity, model.spec.label
    frame = frame[frame[label].notna().groupby(frame[entity]).transform("any")]
    positive = _positive(frame[label]).groupby(frame[entity]).any()
    turn = positive.groupby(positive).cumcount().sort_values(kind="stable").index
    count = 4 + ROWS * len(turn) // max(ROWS, len(frame))
    chosen = frame[frame[entity].isin(turn[:count])]
    return pd.concat([_stretch(part, label) for _, part in chosen.groupby(entity)], ignore_index=True)


def _stretch(part: pd.DataFrame, label: str) -> pd.DataFrame:
    """The last unlabelled rows before the first labelled one, and those around the first positive one."""
    part = part.sort_values("time", kind="stable")
    known = part[label].notna()
    history, judged = part[~known & ~known.cummax()], part[known.cummax()]
    first = int(_positive(judged[label]).to_numpy().argmax())
    begin = max(0, min(first - STRETCH // 2, len(judged) - STRETCH))
    return pd.concat([history.tail(STRETCH), judged.iloc[begin : begin + STRETCH]])


def _positive(label: pd.Series) -> pd.Series:
    """Where a yes-or-no label says yes; nowhere where labels are lists."""
    return label.map(lambda value: np.isscalar(value) and value == 1).astype(bool)


def _cut(view: View, frames: Frames) -> Frames:
    """The records of a few entities."""
    keys = {table: view.keys[table] for table in frames}
    names = pd.unique(pd.concat([frames[table][key] for table, key in keys.items()]))[:5]
    return {table: frames[table][frames[table][key].isin(names)] for table, key in keys.items()}
