"""What is learned from outcomes, and how incidents are found again."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from features.schema import TABLES
from remediation.engine import Engine
from remediation.learn import wilson
from remediation.records import State, Verdict
from remediation.testing import Flip, JumpingClock, World, fake_engine, limits


def repaired(tmp_path: Path, world: World, **changed: object) -> Engine:
    engine = fake_engine(tmp_path, world, limits(**changed))
    for instance, verdict in (("web-0", Verdict.SUCCEEDED), ("db-0", Verdict.INCONCLUSIVE)):
        flip = engine.actions["flip"]
        assert isinstance(flip, Flip)
        flip.outcome = verdict
        world.write(instance, healthy=False)
        engine.handle(world.detection(instance))
    return engine


def test_success_rates_count_inconclusive_as_not_helped(tmp_path: Path, world: World) -> None:
    (rate,) = repaired(tmp_path, world).success_rates()
    assert (rate.cause, rate.action, rate.succeeded, rate.total) == ("process_down", "flip", 1, 2)
    assert rate.low < 0.5 < rate.high


@pytest.mark.parametrize(
    # reference: statsmodels.stats.proportion.proportion_confint(k, n, method="wilson")
    ("succeeded", "total", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (0, 0, 0.0, 1.0)],
)
def test_wilson_interval(succeeded: int, total: int, low: float, high: float) -> None:
    assert wilson(succeeded, total) == pytest.approx({"low": low, "high": high}, abs=1e-4)


def test_outcomes_are_a_canonical_table(tmp_path: Path, world: World) -> None:
    table = pq.read_table(repaired(tmp_path, world).export_outcomes(tmp_path / "out" / "outcomes.parquet"))
    assert table.schema.equals(TABLES["events"])
    assert table["subject"].to_pylist() == ["web/web-0", "db/db-0"]
    assert json.loads(table["data"][1].as_py())["verdict"] == "inconclusive"


def test_history_filters_and_pages(tmp_path: Path, world: World, clock: JumpingClock) -> None:
    engine = fake_engine(tmp_path, world)
    for instance in ("web-0", "web-1", "db-0"):
        clock.advance(1)
        world.write(instance, healthy=False)
        engine.handle(world.detection(instance))
    assert [one.detection.instance for one in engine.history()] == ["db-0", "web-1", "web-0"]
    assert [one.detection.instance for one in engine.history(service="web", limit=1)] == ["web-1"]
    first = engine.history(limit=1)[0]
    assert [one.detection.instance for one in engine.history(before=first.opened_at)] == ["web-1", "web-0"]
    assert engine.history(state=State.PAUSED) == []


def test_several_symptoms_of_one_cause_are_one_repair(tmp_path: Path, world: World) -> None:
    """Two incidents whose diagnosis ends at the same target: the second joins the first and ends with it."""
    engine = fake_engine(tmp_path, world, limits(actions={"flip": False}))
    world.dependencies = lambda: {"web": ("db",)}  # type: ignore[method-assign]
    world.write("db-0", healthy=False)
    world.write("web-0", healthy=False)
    root = engine.handle(world.detection("db-0"))
    joined = engine.handle(world.detection("web-0"))
    assert root.state is State.AWAITING_APPROVAL and joined.state is State.MERGED
    assert root.approval is not None
    engine.approve(root.approval.id, by="alice")
    assert engine.get(joined.id).closed_at is not None
    assert len(world.effects()) == 1
