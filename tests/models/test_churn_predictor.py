"""Behaviour of ChurnPredictor: what must not matter, what must point one way, and the least it must be able to do."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import build
from features.transforms.customers import CUSTOMERS, OUTCOMES, Customer
from infra.errors import DataError, SettingsError
from infra.settings import ROOT
from training import checks
from training.model import to_frame
from training.models.churn_predictor import FEATURES, ChurnPredictor

DATA = Path(os.environ.get("AIOPS_DATA") or ROOT.parent / "shared" / "data")
TIME = datetime(2026, 1, 1, tzinfo=UTC)


def _customers(operator: str, count: int, seed: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Customers who leave after complaints, for lack of use, or by chance (3 %)."""
    random = np.random.default_rng(seed)
    calls, complaints = random.gamma(2.0, 40.0, count).round(), random.poisson(0.3, count)
    active = random.random(count) < np.where(calls < 30, 0.4, 0.95)
    leaves = (complaints >= 2) | (~active & (calls < 40)) | (random.random(count) < 0.03)
    measured = pd.DataFrame(
        {
            "tenure_days": random.integers(30, 2000, count),
            "voice_calls": calls,
            "voice_seconds": calls * random.uniform(30, 120, count),
            "distinct_contacts": random.integers(1, 60, count),
            "complaints": complaints,
            "account_active": active,
        }
    )
    rows = measured.assign(time=TIME, customer_id=[f"{operator}-{n}" for n in range(count)], operator=operator)
    return rows.to_dict("records"), leaves


def _labelled(operator: str, count: int, seed: int) -> pd.DataFrame:
    rows, leaves = _customers(operator, count, seed)
    return to_frame([Customer(**row) for row in rows]).assign(dataset=operator, churned=leaves, lineage=None)


def _changed(rows: list[dict[str, Any]], **values: Any) -> list[dict[str, Any]]:
    return [{**row, **values} for row in rows]


def _risk(model: ChurnPredictor, rows: list[dict[str, Any]]) -> np.ndarray:
    return np.array([answer.churn_probability for answer in model.predict(rows)])  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.concat([_labelled("north", 400, 1), _labelled("south", 400, 2)], ignore_index=True)


@pytest.fixture(scope="module")
def model(frame: pd.DataFrame) -> ChurnPredictor:
    return ChurnPredictor().fit(frame)


@pytest.fixture(scope="module")
def unseen() -> list[dict[str, Any]]:
    return _customers("north", 100, 3)[0]


# -- what must not matter ---------------------------------------------------------------------------------------------


def test_who_the_customer_is_and_when_it_is_asked_do_not_matter(model: ChurnPredictor, unseen: list[dict]) -> None:
    renamed = [{**row, "customer_id": "someone", "time": datetime(2031, 5, 5, tzinfo=UTC)} for row in unseen]
    assert np.array_equal(_risk(model, unseen), _risk(model, renamed))


def test_the_company_a_row_is_asked_in_does_not_matter(model: ChurnPredictor, unseen: list[dict]) -> None:
    assert np.array_equal(_risk(model, unseen)[::-1], _risk(model, unseen[::-1]))
    assert np.array_equal(_risk(model, unseen)[:3], np.concatenate([_risk(model, [row]) for row in unseen[:3]]))


def test_ratios_may_be_given_or_left_out(model: ChurnPredictor, unseen: list[dict]) -> None:
    given = [dict(Customer(**row)) for row in unseen]
    assert all(row["seconds_per_call"] for row in given if row["voice_calls"])
    assert np.array_equal(_risk(model, unseen), _risk(model, given))


def test_it_comes_back_from_disk_the_same(model: ChurnPredictor, unseen: list[dict], tmp_path: Path) -> None:
    model.save(tmp_path)
    again = ChurnPredictor.load(tmp_path)
    assert again.predict(unseen[:20], explain=True) == model.predict(unseen[:20], explain=True)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".json", ".ubj"}


# -- what must point one way ------------------------------------------------------------------------------------------


def test_a_complaint_never_lowers_the_risk_and_mostly_raises_it(model: ChurnPredictor, unseen: list[dict]) -> None:
    none, two = (_risk(model, _changed(unseen, complaints=count)) for count in (0, 2))
    assert (two >= none).all()
    assert (two > none + 0.3).mean() > 0.5


def test_a_dormant_account_never_lowers_the_risk(model: ChurnPredictor, unseen: list[dict]) -> None:
    dormant, active = (_risk(model, _changed(unseen, account_active=state)) for state in (False, True))
    assert (dormant >= active).all()
    assert dormant.mean() > active.mean()


# -- what it says -----------------------------------------------------------------------------------------------------


def test_risk_factors_are_the_customers_own_figures(model: ChurnPredictor, unseen: list[dict]) -> None:
    row = _changed(unseen[:1], complaints=3.0)[0]
    (answer,) = model.predict([row])
    first = answer.risk_factors[0]  # type: ignore[attr-defined]
    assert (first.input, first.value, first.unit) == ("complaints", 3.0, "{complaint}")
    assert [f.effect for f in answer.risk_factors] == sorted((f.effect for f in answer.risk_factors), reverse=True)  # type: ignore[attr-defined]
    assert all(factor.effect > 0 for factor in answer.risk_factors)  # type: ignore[attr-defined]


def test_actions_are_for_customers_at_risk_and_say_that_they_are_policy(
    model: ChurnPredictor, unseen: list[dict]
) -> None:
    answers = model.predict(_changed(unseen, complaints=2.0))
    for answer in answers:
        names = [action.action for action in answer.retention_actions]  # type: ignore[attr-defined]
        assert ("resolve_complaint" in names) == answer.at_risk  # type: ignore[attr-defined]
        assert answer.retention_basis.startswith("policy")  # type: ignore[attr-defined]
    calm = [answer for answer in model.predict(unseen) if not answer.at_risk]  # type: ignore[attr-defined]
    assert calm
    assert not any(answer.retention_actions for answer in calm)  # type: ignore[attr-defined]


def test_the_operator_sets_policy_and_threshold(model: ChurnPredictor, unseen: list[dict]) -> None:
    rule = {"action": "call", "inputs": ["complaints"], "what": "ring them up"}
    own = ChurnPredictor({"contact_above": 0.0, "retention_policy": [rule]})
    own.learner = model.learner
    answers = own.predict(_changed(unseen, complaints=3))
    assert all(answer.at_risk for answer in answers)  # type: ignore[attr-defined]
    assert {action.action for answer in answers for action in answer.retention_actions} == {"call"}  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="did you mean 'contact_above'"):
        ChurnPredictor({"contact_abov": 0.5})


def test_every_policy_rule_names_inputs_that_exist() -> None:
    rules = ChurnPredictor().options.retention_policy
    assert {name for rule in rules for name in rule.inputs} <= set(FEATURES)


def test_it_abstains_where_it_knows_nothing(model: ChurnPredictor, unseen: list[dict]) -> None:
    stranger, blank, plain = {**unseen[0], "operator": "west"}, _changed(unseen[:1], voice_calls=None)[0], unseen[0]
    west, missing, answered = model.predict([stranger, blank, plain], explain=True)
    assert "no customers of operator 'west'" in str(west.abstained)
    assert "voice_calls" in str(missing.abstained)
    for silent in (west, missing):
        assert silent.churn_probability is None  # type: ignore[attr-defined]
        assert not silent.retention_actions  # type: ignore[attr-defined]
    assert answered.abstained is None
    assert answered.explanation


def test_bad_input_is_named(model: ChurnPredictor, unseen: list[dict]) -> None:
    with pytest.raises(DataError, match="voice_calls"):
        model.predict([{**unseen[0], "voice_calls": -1}])
    with pytest.raises(DataError, match="churned"):
        model.predict([{**unseen[0], "churned": True}])


# -- the least it must be able to do ----------------------------------------------------------------------------------


def test_it_beats_both_baselines_on_customers_it_has_not_seen(frame: pd.DataFrame) -> None:
    model = ChurnPredictor()
    fold = next(iter(model.folds(frame)))
    figures = {
        name: model.measure(fold, learner.fit(fold.train, "churned").predict(fold.test))
        for name, learner in {"model": model.build(), **model.baselines()}.items()
    }
    assert figures["model"]["pr_auc"] > max(figures["naive"]["pr_auc"], figures["strong"]["pr_auc"])
    assert figures["model"]["accuracy"] > figures["model"]["accuracy_majority"] + 0.05
    assert figures["model"]["ece"] < 0.1


def test_no_fold_leaks_and_every_customer_is_judged_once(frame: pd.DataFrame) -> None:
    model = ChurnPredictor()
    checks.frame(model.spec, frame)
    north = frame[frame["operator"] == "north"]
    folds = list(model.folds(north.assign(lineage=[f"original-{n % 20}" for n in range(len(north))])))
    for fold in folds:
        checks.fold(model.spec, fold)
        if fold.dataset.endswith("_unseen"):
            assert not set(fold.train["lineage"]) & set(fold.test["lineage"])
        if fold.dataset.endswith("_without_status"):
            assert fold.train["account_active"].isna().all()
            assert fold.test["account_active"].isna().all()
    for name in {fold.dataset for fold in folds}:
        judged = pd.concat([fold.test for fold in folds if fold.dataset == name])
        assert len(judged) == judged["customer_id"].nunique() == 400


def test_of_two_given_parts_only_what_was_not_learnt_from_is_judged(frame: pd.DataFrame) -> None:
    model, learnt = ChurnPredictor(), frame.iloc[:200]
    contradiction = frame.iloc[[0]].assign(customer_id="other", churned=~frame.loc[0, "churned"])
    everything = pd.concat([frame.iloc[:400], contradiction], ignore_index=True)
    (fold,) = model.given(learnt, everything)
    assert set(fold.test["customer_id"]) == set(frame["customer_id"].iloc[200:400])
    checks.fold(model.spec, fold)
    south = frame[frame["operator"] == "south"]
    with pytest.raises(DataError, match="must hold the same operator"):
        model.measure(fold, model.baselines()["naive"].fit(south, "churned").predict(fold.test))


@pytest.mark.parametrize(("name", "floor"), [("iranian_churn", 0.92), ("mlc_churn", 0.85)])
def test_minimum_on_the_reference_set(name: str, floor: float) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"reference set {name} is not at {DATA}; set AIOPS_DATA to its parent folder")
    labelled = build.frame(build.read([(name, DATA / name)]), [CUSTOMERS], OUTCOMES)
    model = ChurnPredictor()
    checks.frame(model.spec, labelled)
    fold = next(fold for fold in model.folds(labelled) if fold.dataset == name)
    figures = model.measure(fold, model.build().fit(fold.train, "churned").predict(fold.test))
    assert figures["pr_auc"] >= floor
    assert figures["accuracy"] >= 0.94
    assert figures["ece"] <= 0.05
