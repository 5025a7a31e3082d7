"""Events that come again: whether, and of which kind; and populations beside each other."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from infra.errors import DataError
from training.learners.backoff import MAJORITY, BackOff, Events
from training.learners.populations import Populations
from training.learners.recurrence import Recurrence

NAMES: dict[str, Any] = {"entity": "who", "group": "group", "age": "age", "ages": "ages", "kinds": "kinds"}
START = pd.Timestamp("2020-01-01", tz="UTC")


def _events(seed: int = 0, entities: int = 60, own: float = 0.8) -> pd.DataFrame:
    """Entities with a kind of their own; what was frequent lately comes soon again."""
    random, rows = np.random.default_rng(seed), []
    for who in range(entities):
        kind, restless, day, days, kinds = "pqr"[who % 3], who % 2, 0.0, [], []
        while day < 400:
            days, kinds = [*days, day], [*kinds, kind if random.random() < own else "p"]
            step = random.exponential(2 if restless else 30)
            ages = day - np.array(days[-9:])
            told = {"who": f"e{who}", "group": "g", "age": day, "ages": ages, "kinds": kinds[-9:]}
            rows.append({"time": START + pd.Timedelta(days=day), **told, "soon": step <= 2, "population": "x"})
            day += step
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def learner() -> Recurrence:
    return Recurrence(**NAMES).fit(_events(), "soon")


def _next(rows: pd.DataFrame) -> pd.Series:
    return rows.groupby("who")["kinds"].shift(-1).map(lambda kinds: kinds[-1], na_action="ignore")


def test_it_finds_whether_and_of_which_kind(learner: Recurrence) -> None:
    rows = _events(seed=1)
    scores, following = learner.predict(rows), _next(rows)
    assert scores.loc[rows["soon"], "probability"].mean() > 1.1 * scores.loc[~rows["soon"], "probability"].mean()
    right = (scores["component"] == following)[following.notna()].mean()
    common = (following.dropna() == "p").mean()
    assert right > common + 0.2
    assert (scores["days_low"] <= scores["days"]).all()
    assert (scores["days"] <= scores["days_high"]).all()
    assert scores["false_alarm_rate"].between(0, 1).all()


def test_without_anything_to_learn_it_stays_with_the_majority() -> None:
    random = np.random.default_rng(0)
    target = random.choice([1, 2], 400, p=[0.7, 0.3])
    kinds = [random.choice([1, 2], 3) for _ in target]
    events = Events(np.zeros(400, dtype=np.int64), kinds, [np.array([3.0, 2.0, 0.0])] * 400)
    model = BackOff(3, 1).fit(events, target, np.arange(400.0))
    assert (model.predict(events).argmax(axis=1) == 1).mean() > 0.9
    still = BackOff(3, 1, MAJORITY).fit(events, target, np.arange(400.0))
    assert still.chosen == MAJORITY
    np.testing.assert_allclose(still.predict(events).sum(axis=1), 1)
    assert (still.predict(events)[:, 0] == 0).all()


def test_a_group_never_seen_is_not_known(learner: Recurrence) -> None:
    [score] = learner.predict(_events().tail(1).assign(group="new")).to_dict("records")
    assert not score["known"]
    assert np.isfinite(score["probability"])


def test_contributions_are_named_as_the_inputs(learner: Recurrence) -> None:
    effects = learner.contributions(_events().tail(5))
    assert set(effects) == {"ages", "kinds", "group", "age", "weekday"}
    assert np.isfinite(effects.to_numpy()).all()


@pytest.mark.parametrize("kind", ["boosted", "logistic", "rate"])
def test_saved_and_loaded_it_scores_the_same(kind: str, tmp_path: Path) -> None:
    rows, members = _events(), {"x": ("recurrence", {**NAMES, "kind": kind})}
    fitted = Populations("population", members).fit(rows, "soon")
    fitted.save(tmp_path)
    pd.testing.assert_frame_equal(Populations.load(tmp_path).predict(rows), fitted.predict(rows))


def test_a_population_not_learnt_from_has_no_score(learner: Recurrence) -> None:
    rows = _events()
    fitted = Populations("population", {"x": ("recurrence", NAMES), "y": ("recurrence", NAMES)}).fit(rows, "soon")
    mixed = rows.head(6).assign(population=["x", "y", "x", "z", "x", "y"])
    scores = fitted.predict(mixed)
    assert scores["probability"].notna().tolist() == [True, False, True, False, True, False]
    assert fitted.predict(mixed.iloc[[3]])["probability"].isna().all()
    with pytest.raises(DataError, match="no labelled row of x, y"):
        Populations("population", {"x": ("recurrence", NAMES), "y": ("recurrence", NAMES)}).fit(
            rows.assign(population="z"), "soon"
        )


def test_unknown_kinds_are_named() -> None:
    with pytest.raises(DataError, match=r"bosted.*boosted"):
        Recurrence(**NAMES, kind="bosted")
    with pytest.raises(DataError, match=r"hazards.*hazard"):
        Populations("population", {"x": ("hazards", {})})
