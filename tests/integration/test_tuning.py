"""Tuning of a real SQLite and a real PostgreSQL: applied, measured, kept or rolled back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.errors import DataError
from remediation.tuning.postgresql import BINARIES, Postgresql, server
from remediation.tuning.sqlite import Sqlite
from remediation.tuning.tune import System, Values, compare, tune
from training.learners.search import BayesianSearch
from training.models.performance_optimizer import PerformanceOptimizer

pytestmark = pytest.mark.integration


class Fake(System):
    """Sleeps nowhere: its run time is a formula."""

    name = "fake"
    levels = {"a": (1.0, 2.0, 3.0), "b": (0.0, 1.0)}

    def __init__(self, gain: float, fails: bool = False) -> None:
        self.gain, self.fails, self.values, self.runs = gain, fails, self.present(), 0

    def apply(self, values: Values) -> None:
        self.values = dict(values)

    def run(self) -> float:
        self.runs += 1
        if self.fails and self.values != self.present():
            raise RuntimeError("the workload broke")
        return (1 - self.gain * (self.values["a"] - 1) / 2) * (1 + 0.01 * (self.runs * 7 % 5))


@pytest.fixture
def suggest() -> object:
    model = PerformanceOptimizer()
    model.learner = BayesianSearch()
    return lambda row: model.predict([row])[0]


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Sqlite]:
    system = Sqlite(tmp_path, rows=6_000)
    yield system
    system.close()


def test_a_real_gain_is_kept(suggest: object) -> None:
    system = Fake(gain=0.5)
    tuned = tune(system, suggest, trials=5)  # type: ignore[arg-type]
    assert tuned.kept
    assert tuned.gain
    assert tuned.gain.low > 0.1
    assert system.values == tuned.values != system.present()


def test_no_gain_and_a_loss_are_rolled_back(suggest: object) -> None:
    for gain in (0.0, -0.5):
        system = Fake(gain)
        assert not tune(system, suggest, trials=5).kept  # type: ignore[arg-type]
        assert system.values == system.present()


def test_a_failure_rolls_back(suggest: object) -> None:
    system = Fake(0.5, fails=True)
    with pytest.raises(RuntimeError, match="broke"):
        tune(system, suggest, trials=5)  # type: ignore[arg-type]
    assert system.values == system.present()


def test_durability_is_never_tuned(suggest: object) -> None:
    system = Fake(0.5)
    system.levels = {"fsync": (1.0, 0.0)}  # type: ignore[misc]
    with pytest.raises(DataError, match="fsync"):
        tune(system, suggest, trials=1)  # type: ignore[arg-type]


def test_sqlite_is_measured_and_its_durability_untouched(sqlite: Sqlite, suggest: object) -> None:
    durable = [sqlite.connection.execute(f"PRAGMA {name}").fetchone() for name in ("synchronous", "journal_mode")]
    tuned = tune(sqlite, suggest, trials=3)  # type: ignore[arg-type]
    for knob, value in tuned.values.items():
        assert sqlite.connection.execute(f"PRAGMA {knob}").fetchone()[0] == value
    assert durable == [
        sqlite.connection.execute(f"PRAGMA {name}").fetchone() for name in ("synchronous", "journal_mode")
    ]
    with pytest.raises(DataError, match="synchronous"):
        sqlite.apply({"synchronous": 0})


@pytest.mark.skipif(not (BINARIES / "initdb").exists(), reason=f"no PostgreSQL 15 in {BINARIES}")
def test_postgresql_is_tuned_and_rolled_back(suggest: object) -> None:
    with server() as dsn:
        system = Postgresql(dsn, rows=6_000)
        present = system.present()
        found = compare(system, present, {**present, "work_mem": 65536.0}, pairs=3)
        assert found.low <= found.gain <= found.high
        tuned = tune(system, suggest, trials=2)  # type: ignore[arg-type]
        assert system._before() == tuned.values
        with pytest.raises(DataError, match="fsync"):
            system.apply({"fsync": 0})
        system.close()
