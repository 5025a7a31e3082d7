"""Tuning of a real SQLite and a real PostgreSQL: applied, measured, kept or rolled back."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.errors import DataError
from remediation.tuning.journal import Journal
from remediation.tuning.postgresql import BINARIES, Postgresql, server
from remediation.tuning.sqlite import Sqlite
from remediation.tuning.tune import System, Values, compare, recover, tune
from training.learners.search import BayesianSearch
from training.models.performance_optimizer import PerformanceAnswer, PerformanceOptimizer

pytestmark = pytest.mark.integration
POSTGRESQL = pytest.mark.skipif(not (BINARIES / "initdb").exists(), reason=f"no PostgreSQL 15 in {BINARIES}")


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


@POSTGRESQL
def test_postgresql_is_tuned_and_rolled_back(suggest: object) -> None:
    with server() as dsn:
        system = Postgresql(dsn, rows=6_000)
        present = system.present()
        found = compare(system, present, {**present, "work_mem": 65536.0}, pairs=3)
        assert found.low <= found.gain <= found.high
        tuned = tune(system, suggest, trials=2)  # type: ignore[arg-type]
        assert system.present() == tuned.values
        with pytest.raises(DataError, match="fsync"):
            system.apply({"fsync": 0})
        system.close()


ODD = {"work_mem": "7001kB", "random_page_cost": "1.2345", "jit": None, "max_parallel_workers_per_gather": None}


def _odd(system: Postgresql) -> None:
    """Settings that are no levels, as an administrator left them."""
    system.restore(ODD)
    assert system.present()["work_mem"] == 7001


@POSTGRESQL
def test_postgresql_is_restored_exactly_value_and_source(suggest: object, tmp_path: Path) -> None:
    with server() as dsn:
        system = Postgresql(dsn, rows=2_000)
        _odd(system)
        present, journal = system.present(), Journal(tmp_path, system.identity())
        with pytest.raises(RuntimeError, match="no answer"):
            tune(system, _unanswered, trials=2, journal=journal)
        assert system.state() == ODD
        tuned = tune(system, suggest, trials=2, journal=journal)  # type: ignore[arg-type]
        changed = {knob for knob, value in tuned.values.items() if value != present[knob]}
        assert {knob for knob in ODD if system.state()[knob] != ODD[knob]} == changed
        assert journal.read() is None
        system.close()


@POSTGRESQL
def test_a_killed_run_is_undone_by_restore_and_by_the_next_run(suggest: object, tmp_path: Path) -> None:
    with server() as dsn:
        system = Postgresql(dsn, rows=2_000)
        _odd(system)
        journal = Journal(tmp_path / "tuning", system.identity())
        for undo in ("recover", "tune"):
            _kill_in_the_middle(dsn, journal)
            assert journal.read() == ODD
            assert system.state()["work_mem"] == "65536kB"
            if undo == "recover":
                assert recover(system, journal)
                assert not recover(system, journal)
            else:
                tune(system, lambda row: PerformanceAnswer(abstained="enough"), trials=1, journal=journal)
            assert system.state() == ODD
        _kill_in_the_middle(dsn, journal)
        environment = {**os.environ, "AIOPS__HOME": str(tmp_path)}
        command = [sys.executable, "-m", "flows.cli", "tune", "postgresql", "--dsn", dsn, "--restore"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert "set again" in done.stdout, done.stderr
        assert system.state() == ODD
        system.close()


def test_one_run_at_a_time(suggest: object, tmp_path: Path) -> None:
    journal = Journal(tmp_path, "fake")
    with journal.held(), pytest.raises(DataError, match="another process"):
        tune(Fake(0.5), suggest, trials=1, journal=Journal(tmp_path, "fake"))  # type: ignore[arg-type]


def _unanswered(row: object) -> object:
    raise RuntimeError("no answer")


KILLED = """
import os, signal, sys
from pathlib import Path
from remediation.tuning.journal import Journal
from remediation.tuning.journal import Journal
from remediation.tuning.postgresql import Postgresql
from remediation.tuning.tune import tune

class Killed(Postgresql):
    def run(self):
        if self.present()["work_mem"] == 65536:
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

class Answer:
    abstained, decision = None, "try"
    next = {"work_mem": 65536.0, "random_page_cost": 1.1, "jit": 0.0, "max_parallel_workers_per_gather": 0.0}

path = Path(sys.argv[2])
tune(Killed(sys.argv[1]), lambda row: Answer, trials=1, journal=Journal(path.parent, path.stem))
"""


def _kill_in_the_middle(dsn: str, journal: Journal) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, dsn, str(journal.path)], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
