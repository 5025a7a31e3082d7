"""A tiny model and a registry in memory, so that the API is tested without MLflow and without a framework."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pytest
from fastapi.testclient import TestClient
from pydantic import Field

from features.view import Columns, View, column
from serving import api
from serving.access import Access
from serving.loader import Loader
from serving.messages import Alias
from serving.metrics import Metrics
from serving.pool import Pool
from training.learner import Learner
from training.model import Answer, Fold, Model, Row, Spec, Target
from training.registry import Version


class Reading(Columns):
    """A fan's reading."""

    fan: str = column("the fan", min_length=1)
    speed: float = column("its speed", "rpm", ge=0, le=20_000)
    starts: int = column("starts so far", "1", ge=0)
    noise: list[float] = column("the last sound levels, oldest first", "dB", min_length=2, max_length=4)
    warm: bool | None = column("whether it is warm", default=None)


class Verdict(Answer):
    """How worn it is."""

    wear: float | None = Field(None, ge=0, le=1)


class Label(Columns):
    """The truth."""

    fan: str
    worn: float


@dataclass
class Slope(Learner):
    """wear = speed × slope; `hold` makes a prediction wait, `fault` makes it fail."""

    slope: float = 1 / 20_000
    hold: threading.Event | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    fault: Exception | None = None
    explains: bool = True

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        if self.fault:
            raise self.fault
        if self.hold:
            self.entered.set()
            self.hold.wait(20)
        return pd.DataFrame({"wear": frame["speed"] * self.slope}, index=frame.index)

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        if not self.explains:
            return super().contributions(frame)
        return pd.DataFrame({"speed": frame["speed"] * self.slope, "starts": 0.0}, index=frame.index)

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Self:
        raise NotImplementedError


_VIEW = View("fans", "fan", Reading, {}, {}, lambda frames: pd.DataFrame(), ttl=pd.Timedelta(days=1).to_pytimedelta())


class FanModel(Model):
    """Wear of fans; abstains on fans that stand still."""

    spec = Spec(
        purpose="how worn a fan is",
        algorithm="a straight line",
        route="predict/fan",
        task="classification",
        views=(_VIEW,),
        labels=View("worn", "fan", Label, {}, {}, lambda frames: pd.DataFrame(), ttl=_VIEW.ttl, online=False),
        label="worn",
        row=Reading,
        answer=Verdict,
        datasets=("fans",),
        targets=(
            Target("fans/accuracy", 0.9, source="specification"),
            Target("fans/error", 0.5, "at_most", baseline="naive"),
            Target("fans/recall", 0.5),
        ),
        headline="fans/accuracy",
        protocol="by time",
        limits="not for windmills",
    )

    def build(self, seed: int = 0) -> Learner:
        return Slope()

    def baselines(self, seed: int = 0) -> dict[str, Learner]:
        return {}

    def folds(self, frame: pd.DataFrame, seed: int = 0) -> Iterator[Fold]:
        return iter(())

    def measure(self, fold: Fold, scores: pd.DataFrame) -> dict[str, float]:
        return {}

    def decode(self, scores: pd.DataFrame, rows: Sequence[Row]) -> list[Answer]:
        return [Verdict(wear=wear) if wear > 0 else Verdict(abstained="it stands still") for wear in scores["wear"]]


def fan_model(**options: Any) -> FanModel:
    """A fitted FanModel."""
    model = FanModel()
    model.learner = Slope(**options)
    return model


@dataclass
class Shelf:
    """A registry in memory: what each alias names. `down` makes it fail as a stopped server does."""

    models: dict[Alias, tuple[Model, Version]] = field(default_factory=dict)
    down: bool = False
    loads: int = 0

    def put(self, model: Model, number: int, alias: Alias = "champion", **tags: str) -> None:
        created = datetime(2026, 1, number, tzinfo=UTC)
        self.models[alias] = (model, Version("fan", number, "run", created, (alias,), tags))

    def current(self, name: str, alias: Alias = "champion") -> Version | None:
        if self.down:
            raise ConnectionError("registry is down")
        return self.models[alias][1] if alias in self.models else None

    def load(self, name: str, alias: Alias = "champion") -> tuple[Model, Version]:
        self.loads += 1
        return self.models[alias]

    def metrics(self, version: Version) -> dict[str, float]:
        return {"fans/accuracy": 0.95, "fans/error": 0.2, "naive/fans/error": 0.3}


@pytest.fixture
def shelf() -> Shelf:
    """An empty registry."""
    return Shelf()


@pytest.fixture
def loader(shelf: Shelf) -> Loader:
    """A loader that looks when told to."""
    return Loader({"fan": FanModel}, lambda: shelf, interval=0)


@pytest.fixture
def metrics(loader: Loader) -> Metrics:
    return Metrics(loader.slots)


@pytest.fixture
def client(loader: Loader, metrics: Metrics) -> Iterator[TestClient]:
    """The API as the process serves it, with one thread and no queue; server errors are answers, not exceptions."""
    pool = Pool(threads=1, queue=0)
    app = api.create({"fan": FanModel}, loader.slots, pool, metrics)
    with TestClient(Access(app, metrics, limit=100_000), raise_server_exceptions=False) as client:
        yield client
    pool.close()


@pytest.fixture
def row() -> dict[str, Any]:
    """A good row as JSON."""
    return {"time": "2026-01-01T00:00:00Z", "fan": "a", "speed": 10_000, "starts": 3, "noise": [1, 2]}
