"""Several trainings at a time."""

from __future__ import annotations

from typing import Any

import pytest

from infra.errors import DataError, UserError
from infra.settings import settings
from training import jobs, trainer


@pytest.fixture(autouse=True)
def home(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AIOPS__HOME", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def test_one_that_fails_does_not_keep_the_others_from_being_trained(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def train(name: str, *_: Any) -> Any:
        asked.append(name)
        if name == "a":
            raise DataError("no rows")
        if name == "b":
            raise ZeroDivisionError("by nought")
        return name

    monkeypatch.setattr(trainer, "train", train)
    with pytest.raises(UserError, match=r"a: no rows; b: unexpected ZeroDivisionError: by nought; the traceback is in"):
        jobs.train_all(["a", "b", "c"], jobs=1)
    assert asked == ["a", "b", "c"]
    assert "by nought" in (home / "logs" / "aiops.log").read_text()


def test_processes_of_their_own_fail_in_a_sentence_each() -> None:
    names = ["churn_predictor", "drift_predictor"]  # nothing was materialised in this home
    with pytest.raises(UserError) as failed:
        jobs.train_all(names, jobs=2)
    assert str(failed.value).endswith("Trained: none")
    assert all(f"{name}: " in str(failed.value) for name in names)
    assert "unexpected" not in str(failed.value)
