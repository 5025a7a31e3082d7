"""What every binary learner promises: BoostedTrees, Logistic, Rule, and Segmented over them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from infra.errors import DataError
from training import metrics
from training.learner import Learner
from training.learners.linear import Logistic
from training.learners.rule import Rule
from training.learners.segmented import Segmented
from training.learners.trees import BoostedTrees

INPUTS = ["calls", "age", "flag", "never"]
LEARNERS = {
    "trees": lambda **more: BoostedTrees(INPUTS, rounds=30, bags=2, folds=3, **more),
    "logistic": lambda **more: Logistic(INPUTS, folds=3, **more),
    "rule": lambda **more: Rule({"calls": 0.5}, folds=3, **more),
    "segmented": lambda **more: Segmented("place", "trees", {"features": INPUTS, "rounds": 20, "folds": 3, **more}),
}


def _frame(rows: int = 600, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    calls, age = random.normal(size=rows), random.normal(size=rows)
    age[random.random(rows) < 0.2] = np.nan
    rate = 1 / (1 + np.exp(1.5 - 2 * calls))
    frame = pd.DataFrame({"calls": calls, "age": age, "never": np.nan, "place": np.where(calls + age > 0, "a", "b")})
    frame["flag"] = [None if x < 0.1 else bool(x < 0.5) for x in random.random(rows)]
    return frame.assign(left=random.random(rows) < rate)


@pytest.fixture(params=LEARNERS)
def learner(request: pytest.FixtureRequest) -> Learner:
    return LEARNERS[request.param]().fit(_frame(), "left")


def test_scores_are_probabilities_that_rank_unseen_rows(learner: Learner) -> None:
    unseen = _frame(seed=1)
    scores = learner.predict(unseen)
    assert scores.index.equals(unseen.index)
    assert scores["probability"].between(0, 1).all()
    assert metrics.roc_auc(unseen["left"], scores["probability"]) > 0.7
    assert metrics.ece(unseen["left"], scores["probability"]) < 0.1


def test_saved_and_loaded_it_scores_the_same_and_nothing_is_executable(learner: Learner, tmp_path: Path) -> None:
    learner.save(tmp_path)
    again = type(learner).load(tmp_path)
    pd.testing.assert_frame_equal(again.predict(_frame(seed=1)), learner.predict(_frame(seed=1)))
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} <= {".json", ".ubj"}
    for path in tmp_path.rglob("*.json"):
        json.loads(path.read_text())


@pytest.mark.parametrize("name", LEARNERS)
def test_the_same_seed_gives_the_same_scores(name: str) -> None:
    one, two = (LEARNERS[name](seed=3).fit(_frame(), "left").predict(_frame(seed=1)) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)


def test_rows_are_scored_one_by_one(learner: Learner) -> None:
    unseen = _frame(seed=1)
    shuffled = unseen.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(learner.predict(shuffled), learner.predict(unseen).loc[shuffled.index])


@pytest.mark.parametrize("name", LEARNERS)
def test_unlabelled_rows_are_no_examples(name: str) -> None:
    unknown = _frame(seed=9).assign(left=None)
    both = pd.concat([_frame().astype({"left": object}), unknown], ignore_index=True)
    plain, more = (LEARNERS[name]().fit(data, "left").predict(_frame(seed=1)) for data in (_frame(), both))
    pd.testing.assert_frame_equal(plain, more)


@pytest.mark.parametrize("name", ["trees", "logistic"])
def test_contributions_add_up_to_the_log_odds(name: str) -> None:
    learner, unseen = LEARNERS[name]().fit(_frame(), "left"), _frame(seed=1)
    probability = learner.predict(unseen)["probability"]
    rest = np.log(probability / (1 - probability)) - learner.contributions(unseen).sum(axis=1)
    assert rest.std() < 1e-3
    assert learner.contributions(unseen).abs().mean().idxmax() == "calls"


def test_calibration_undoes_a_weighted_objective() -> None:
    options = {"rounds": 60, "params": {"scale_pos_weight": 8.0, "max_depth": 2}}
    unseen = _frame(2000, seed=1)
    raw, mended = (
        BoostedTrees(INPUTS, folds=folds, **options).fit(_frame(2000), "left").predict(unseen)["probability"]
        for folds in (0, 5)
    )
    assert metrics.ece(unseen["left"], raw) > 0.15
    assert metrics.ece(unseen["left"], mended) < 0.05


def test_a_monotone_input_never_turns_the_wrong_way() -> None:
    frame = _frame()
    learner = BoostedTrees(INPUTS, rounds=50, monotone={"age": -1}).fit(frame, "left")
    older = frame.assign(age=frame["age"] + 1.0)[frame["age"].notna()]
    assert (learner.predict(older)["probability"] <= learner.predict(frame.loc[older.index])["probability"]).all()


def test_inputs_always_known_in_training_are_reported_when_null() -> None:
    learner = Logistic(INPUTS).fit(_frame(), "left")
    row = _frame(seed=1).head(1).assign(calls=np.nan, age=np.nan)
    assert learner.predict(row)["lacking"].tolist() == ["calls"]  # age was null now and then, never was never there


def test_useless_inputs_leave_the_rate_instead_of_a_reversed_order() -> None:
    random = np.random.default_rng(0)
    noise = pd.DataFrame({"x": random.normal(size=300), "left": random.random(300) < 0.2})
    scores = Logistic(["x"]).fit(noise, "left").predict(noise)
    assert scores["probability"].mean() == pytest.approx(noise["left"].mean(), abs=0.03)


def test_groups_stay_together_on_inner_folds() -> None:
    random = np.random.default_rng(0)
    originals = pd.DataFrame({"x": random.normal(size=40), "left": random.random(40) < 0.4, "who": range(40)})
    copies = pd.concat([originals] * 8, ignore_index=True)
    options = {"rounds": 40, "bags": 1}
    fooled = BoostedTrees(["x"], **options).fit(copies, "left")
    careful = BoostedTrees(["x"], group="who", **options).fit(copies, "left")
    assert careful.state["slope"] < 0.5 * fooled.state["slope"]  # noise, learnt by heart, is worth nothing


def test_one_class_and_absent_columns_are_named() -> None:
    with pytest.raises(DataError, match="both classes"):
        Logistic(INPUTS).fit(_frame().assign(left=True), "left")
    with pytest.raises(DataError, match="'age'"):
        Logistic(INPUTS).fit(_frame().drop(columns="age"), "left")
    with pytest.raises(DataError, match="did you mean 'trees'"):
        Segmented("place", "tree", {})


def test_a_segment_never_seen_gets_no_score() -> None:
    learner = LEARNERS["segmented"]().fit(_frame(), "left")
    rows = _frame(seed=1).head(4).assign(place=["a", "c", "b", None])
    assert learner.predict(rows)["probability"].isna().tolist() == [False, True, False, True]
    assert learner.contributions(rows).isna().all(axis=1).tolist() == [False, True, False, True]
