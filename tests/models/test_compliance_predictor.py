"""Behaviour of CompliancePredictor: what must not matter, what must point one way, the least it must be able to do."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import build, demo
from features.sources.compliance_iac_history import rules
from features.transforms.iac_changes import IAC_CHANGES, IAC_OUTCOMES
from infra.settings import ROOT, settings
from training import checks, signature
from training.evaluate import inputs
from training.learners.rule_ranker import RuleRanker
from training.models import compliance_predictor
from training.models.compliance_predictor import CompliancePredictor

DATA = Path(os.environ.get("AIOPS_DATA") or ROOT.parent / "shared" / "data")
NAME = "compliance_iac_history"


@pytest.fixture(scope="module", autouse=True)
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The rules and changes of the demo world, whatever data this machine has."""
    patch = pytest.MonkeyPatch()
    patch.setenv("AIOPS__HOME", str(tmp_path_factory.mktemp("home")))
    settings.cache_clear()
    folder = demo.make(NAME)
    patch.setattr(compliance_predictor.datasets, "fetch", lambda name: folder)
    yield folder
    patch.undo()
    settings.cache_clear()


@pytest.fixture(scope="module")
def frame(stand_in: Path) -> pd.DataFrame:
    return build.frame(build.read([(NAME, stand_in)]), [IAC_CHANGES], IAC_OUTCOMES)


@pytest.fixture(scope="module")
def model(frame: pd.DataFrame) -> CompliancePredictor:
    spec = CompliancePredictor.spec
    return CompliancePredictor().fit(inputs(spec, frame.head(1000), label=True))


@pytest.fixture(scope="module")
def unseen(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return signature.records(inputs(CompliancePredictor.spec, frame.iloc[1000:1200]))


def _bucket(row: dict[str, Any], *facts: str) -> dict[str, Any]:
    kind = "resource.aws_s3_bucket"
    added = [kind, *(f"{kind}.{fact}" for fact in facts)]
    types = {"types_before": [f"{kind}:1"], "types_after": [f"{kind}:2"]}
    return {**row, **types, "framework": "terraform", "facts_added": added, "facts_removed": []}


def _risk(model: CompliancePredictor, rows: list[dict[str, Any]]) -> np.ndarray:
    return np.array([answer.violation_risk for answer in model.predict(rows)])  # type: ignore[attr-defined]


# -- what must not matter ---------------------------------------------------------------------------------------------


def test_names_time_and_company_do_not_matter(model: CompliancePredictor, unseen: list[dict]) -> None:
    other = {"change_id": "x@y:z", "repository": "elsewhere", "time": datetime(2031, 5, 5, tzinfo=UTC)}
    assert np.array_equal(_risk(model, unseen), _risk(model, [{**row, **other} for row in unseen]))
    assert np.array_equal(_risk(model, unseen)[::-1], _risk(model, unseen[::-1]))
    assert np.array_equal(_risk(model, unseen)[:3], np.concatenate([_risk(model, [row]) for row in unseen[:3]]))


def test_the_order_of_facts_does_not_matter(model: CompliancePredictor, unseen: list[dict]) -> None:
    turned = [{**row, "facts_added": row["facts_added"][::-1]} for row in unseen]
    assert np.allclose(_risk(model, unseen), _risk(model, turned))


# -- what must point one way ------------------------------------------------------------------------------------------


def test_a_resource_without_what_the_policy_asks_for_is_riskier(model: CompliancePredictor, unseen: list[dict]) -> None:
    bare = _risk(model, [_bucket(row, "name=STR") for row in unseen])
    kept = _risk(model, [_bucket(row, "name=STR", "logging=true", "versioning=true") for row in unseen])
    assert (bare > kept).mean() > 0.95
    assert bare.mean() > kept.mean() + 0.5


def test_the_policy_whose_attribute_is_there_is_named_after_the_other(
    model: CompliancePredictor, unseen: list[dict]
) -> None:
    [answer] = model.predict([_bucket(unseen[0], "logging=true")], explain=True)
    assert answer.affected_policies[0].policy == "CKV_D_1"  # type: ignore[attr-defined]
    assert answer.affected_policies[0].resources == ["resource.aws_s3_bucket"]  # type: ignore[attr-defined]
    assert answer.recommended_fixes[0].fix.startswith("Ensure the bucket is versioned")  # type: ignore[attr-defined]
    assert answer.explanation[0].input in {"facts_added", "types_after", "past_violations"}


# -- what it says -----------------------------------------------------------------------------------------------------


def test_the_operator_sets_the_threshold(model: CompliancePredictor, unseen: list[dict]) -> None:
    strict = CompliancePredictor({"risk_above": 0.0, "policies": 1, "policy_above": 0.0})
    strict.learner = model.learner
    answers = strict.predict(unseen)
    assert all(answer.violation for answer in answers)  # type: ignore[attr-defined]
    assert all(len(answer.affected_policies) <= 1 for answer in answers)  # type: ignore[attr-defined]
    calm = [answer for answer in model.predict(unseen) if not answer.violation]  # type: ignore[attr-defined]
    assert calm
    assert not any(answer.recommended_fixes for answer in calm)  # type: ignore[attr-defined]


def test_it_abstains_for_a_framework_that_it_never_learnt(model: CompliancePredictor, unseen: list[dict]) -> None:
    [answer] = model.predict([{**unseen[0], "framework": "bicep"}], explain=True)
    assert "no changes of framework 'bicep'" in str(answer.abstained)
    assert answer.violation_risk is None  # type: ignore[attr-defined]


# -- the least it must be able to do ----------------------------------------------------------------------------------


def test_it_beats_both_baselines_on_later_changes(frame: pd.DataFrame) -> None:
    model = CompliancePredictor()
    folds = list(model.folds(frame))
    assert {fold.dataset for fold in folds} == {NAME, f"{NAME}_repository"}
    for fold in folds:
        checks.fold(model.spec, fold)
    figures = {
        name: model.measure(folds[0], learner.fit(folds[0].train, "introduced").predict(folds[0].test))
        for name, learner in {"model": model.build(), **model.baselines()}.items()
    }
    assert figures["model"]["pr_auc"] > max(figures["naive"]["pr_auc"], figures["strong"]["pr_auc"], 0.9)
    assert figures["model"]["policy_recall_at_5"] > 0.95
    assert figures["model"]["ece"] < 0.1


def test_of_two_given_parts_copies_are_not_judged(frame: pd.DataFrame) -> None:
    copy = frame.iloc[[0]].assign(change_id="a@b:c", time=frame["time"].max() + pd.Timedelta(hours=1))
    everything = pd.concat([frame, copy], ignore_index=True)
    [fold] = CompliancePredictor().given(frame.head(1000), everything)
    assert "a@b:c" not in set(fold.test["change_id"])
    assert len(fold.test) > 480  # the demo world repeats itself now and then
    checks.fold(CompliancePredictor.spec, fold)


def test_minimum_on_the_reference_set() -> None:
    if not (DATA / NAME).is_dir():
        pytest.skip(f"reference set {NAME} is not at {DATA}; set AIOPS_DATA to its parent folder")
    labelled = build.frame(build.read([(NAME, DATA / NAME)]), [IAC_CHANGES], IAC_OUTCOMES)
    model = CompliancePredictor()
    checks.frame(model.spec, labelled)
    fold = list(model.folds(labelled))[1]
    learner = RuleRanker(rules(DATA / NAME), compliance_predictor.NUMBERS, "framework")
    figures = model.measure(fold, learner.fit(fold.train, "introduced").predict(fold.test))
    assert figures["pr_auc"] >= 0.74
    assert figures["roc_auc"] >= 0.95
    assert figures["policy_recall_at_5"] >= 0.80
    assert figures["ece"] <= 0.05
