"""What the status says, from slots alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from infra.settings import ModelSettings
from serving import status
from serving.loader import Loader, Slot
from training.model import Target

from .conftest import FanModel, Shelf, fan_model


def test_nothing_served() -> None:
    found = status.model(FanModel.spec, ModelSettings(), Slot())
    assert (found.ready, found.version, found.next_retrain) == (False, None, None)
    assert found.problem == "the registry has not been asked yet"
    assert [target.met for target in found.targets] == [None, None, None]
    assert not status.health({"fan": Slot()}).ready


def test_a_served_version(loader: Loader, shelf: Shelf) -> None:
    shelf.put(fan_model(), 1, synthetic="yes", gate_reason="every gate holds")
    loader.refresh()
    found = status.model(FanModel.spec, ModelSettings(retrain_interval=timedelta(days=7)), loader.slots()["fan"])
    assert found.trained_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.next_retrain == datetime(2026, 1, 8, tzinfo=UTC)
    assert (found.synthetic, found.gate_reason, found.swaps) == (True, "every gate holds", 1)
    assert [(target.value, target.met) for target in found.targets] == [(0.95, True), (0.2, False), (None, None)]


@pytest.mark.parametrize(
    ("target", "figures", "met"),
    [
        (Target("a", 0.5), {"a": 0.5}, True),
        (Target("a", 0.5), {"a": 0.49}, False),
        (Target("a", 0.5, "at_most"), {"a": 0.51}, False),
        (Target("a", 1.1, baseline="naive"), {"a": 0.5, "naive/a": 0.5}, False),
        (Target("d/a", 1.1, baseline="naive"), {"d/a": 0.6, "naive/d/a": 0.5}, True),
        (Target("a", 1.1, baseline="naive"), {"a": 0.5}, None),
    ],
)
def test_a_target_held_against_figures(target: Target, figures: dict[str, float], met: bool | None) -> None:
    assert status.held(target, figures).met is met
