"""Which version is served, and when it changes."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
import pytest

from serving.loader import Loader, Slot

from .conftest import FanModel, Shelf, Slope, fan_model


def slot(loader: Loader) -> Slot:
    return loader.slots()["fan"]


def test_nothing_is_served_before_the_first_look(loader: Loader) -> None:
    assert slot(loader).served is None
    assert not loader.ready


def test_the_champion_is_preferred_and_the_challenger_is_named(loader: Loader, shelf: Shelf) -> None:
    shelf.put(fan_model(), 2, "challenger")
    loader.refresh()
    served = slot(loader).served
    assert served is not None
    assert (served.version.number, served.alias) == (2, "challenger")
    shelf.put(fan_model(), 1, "champion")
    loader.refresh()
    served = slot(loader).served
    assert served is not None
    assert (served.version.number, served.alias) == (1, "champion")
    assert slot(loader).trained_at == shelf.models["challenger"][1].created


def test_the_same_version_is_loaded_once_and_its_tags_follow(loader: Loader, shelf: Shelf) -> None:
    model = fan_model()
    shelf.put(model, 1, "challenger", synthetic="no")
    loader.refresh()
    shelf.put(model, 1, "champion", synthetic="yes")
    loader.refresh()
    served = slot(loader).served
    assert served is not None
    assert (served.alias, served.synthetic) == ("champion", True)
    assert (shelf.loads, slot(loader).swaps) == (1, 1)


class Other:
    """No FanModel."""


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (FanModel(), "not fitted"),
        (fan_model(fault=ValueError("no")), "ValueError: no"),
        (Other(), "holds a Other, not a FanModel"),
    ],
)
def test_a_broken_version_is_refused_and_the_old_one_stays(
    loader: Loader, shelf: Shelf, broken: Any, text: str
) -> None:
    shelf.put(fan_model(), 1)
    loader.refresh()
    shelf.put(broken, 2)
    loader.refresh()
    now = slot(loader)
    assert now.served is not None
    assert now.served.version.number == 1
    assert "version 2 (champion) is refused" in str(now.problem)
    assert text in str(now.problem)
    assert (now.swaps, now.refusals) == (1, 1)
    shelf.put(fan_model(), 3)
    loader.refresh()
    assert (slot(loader).problem, slot(loader).swaps) == (None, 2)


def test_a_broken_version_is_left_alone_longer_each_time(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    loader = Loader({"fan": FanModel}, lambda: shelf, interval=10)
    shelf.put(FanModel(), 1)
    looks = []
    for now in range(0, 2000, 5):
        before = shelf.loads
        loader.refresh()
        if shelf.loads > before:
            looks.append(now)
    assert looks[:5] == [0, 10, 30, 70, 150]
    assert looks[-1] - looks[-2] == 300


def test_a_registry_that_is_down_changes_nothing_but_the_reason(loader: Loader, shelf: Shelf) -> None:
    shelf.put(fan_model(), 1)
    loader.refresh()
    shelf.down = True
    loader.refresh()
    assert loader.ready
    assert "registry is down" in str(slot(loader).problem)
    shelf.down = False
    loader.refresh()
    assert slot(loader).problem is None


def test_a_registry_that_does_not_import_is_a_reason(shelf: Shelf) -> None:
    def connect() -> Shelf:
        raise ImportError("no mlflow")

    loader = Loader({"fan": FanModel}, connect)
    loader.refresh()
    assert "no mlflow" in str(slot(loader).problem)


def test_a_version_whose_alias_is_gone_keeps_serving(loader: Loader, shelf: Shelf) -> None:
    shelf.put(fan_model(), 1)
    loader.refresh()
    shelf.models.clear()
    loader.refresh()
    assert loader.ready
    assert "no version" in str(slot(loader).problem)


def test_the_thread_follows_until_stopped(shelf: Shelf) -> None:
    loader = Loader({"fan": FanModel}, lambda: shelf, interval=0.01)
    loader.start()
    shelf.put(fan_model(), 1)
    deadline = time.monotonic() + 20
    while not loader.ready and time.monotonic() < deadline:
        time.sleep(0.01)
    loader.stop()
    assert loader.ready
    loader._thread.join(20)
    assert not loader._thread.is_alive()


class Mute(Slope):
    """Fails when asked for explanations."""

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        raise KeyError("speed")


def test_explanations_are_part_of_the_warm_up(loader: Loader, shelf: Shelf) -> None:
    shelf.put(model := FanModel(), 1)
    model.learner = Mute()
    loader.refresh()
    assert "KeyError" in str(slot(loader).problem)
    shelf.put(fan_model(explains=False), 2)  # the contract allows that
    loader.refresh()
    assert loader.ready
