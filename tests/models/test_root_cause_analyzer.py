"""Behaviour of RootCauseAnalyzer: what must not matter, what must point one way, the least it must be able to do."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import build, demo
from features.transforms._alerts import FAMILIES
from features.transforms.incidents import CAUSES, INCIDENTS
from infra.errors import DataError
from infra.settings import ROOT, settings
from remediation.vocabulary import SPECIFIED
from training import checks, signature
from training.evaluate import inputs
from training.models.root_cause_analyzer import RootCauseAnalyzer

DATA = Path(os.environ.get("AIOPS_DATA") or ROOT.parent / "shared" / "data")


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """All stand-ins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIOPS__HOME", str(tmp_path_factory.mktemp("home")))
        settings.cache_clear()
        tables = build.read([(name, demo.make(name)) for name in RootCauseAnalyzer.spec.datasets])
    settings.cache_clear()
    return build.frame(tables, [INCIDENTS], CAUSES)


@pytest.fixture(scope="module")
def model(frame: pd.DataFrame) -> RootCauseAnalyzer:
    learnt = frame[(frame["part"] == "train") | frame["part"].isna()]
    return RootCauseAnalyzer().fit(inputs(RootCauseAnalyzer.spec, learnt, label=True))


@pytest.fixture
def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return signature.records(inputs(RootCauseAnalyzer.spec, frame[frame["part"] == "test"].head(12)))


def _suspects(model: RootCauseAnalyzer, rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    own = RootCauseAnalyzer({"components": 1000, "answer_above": 0.0})
    own.learner = model.learner
    return [{each.component: each.confidence for each in answer.root_causes} for answer in own.predict(rows)]  # type: ignore[attr-defined]


def _moved(row: dict[str, Any], order: list[int], names: list[str] | None = None) -> dict[str, Any]:
    """The same incident with its nodes in another order (`order[new] = old`), calls and alerts turned round, too."""
    place = {float(old): float(new) for new, old in enumerate(order)}
    told = names or row["nodes"]
    return {
        **row,
        "nodes": [told[old] for old in order],
        "callers": [place[at] for at in row["callers"]][::-1],
        "callees": [place[at] for at in row["callees"]][::-1],
        "alerts": row["alerts"][::-1],
        "alerts_at": [place[at] for at in row["alerts_at"]][::-1],
    }


# -- what must not matter ---------------------------------------------------------------------------------------------


def test_the_order_of_nodes_calls_and_alerts_does_not_matter(model: RootCauseAnalyzer, rows: list[dict]) -> None:
    random = np.random.default_rng(0)
    moved = [_moved(row, random.permutation(len(row["nodes"])).tolist()) for row in rows]
    for one, other in zip(_suspects(model, rows), _suspects(model, moved), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_names_ids_and_times_do_not_matter(model: RootCauseAnalyzer, rows: list[dict]) -> None:
    renamed = [
        {
            **row,
            "nodes": [f"n{n}" for n in range(len(row["nodes"]))],
            "incident_id": "x",
            "time": datetime(2031, 5, 5, tzinfo=UTC),
        }
        for row in rows
    ]
    for row, one, other in zip(rows, _suspects(model, rows), _suspects(model, renamed), strict=True):
        assert [one[name] for name in row["nodes"]] == pytest.approx([other[f"n{n}"] for n in range(len(row["nodes"]))])


def test_the_company_an_incident_is_asked_in_does_not_matter(model: RootCauseAnalyzer, rows: list[dict]) -> None:
    alone = [_suspects(model, [row])[0] for row in rows]
    for one, other in zip(alone, _suspects(model, rows[::-1])[::-1], strict=True):
        assert one == pytest.approx(other, abs=1e-5)


# -- what must point one way ------------------------------------------------------------------------------------------


def test_more_evidence_of_a_kind_that_marks_causes_raises_the_suspicion(
    model: RootCauseAnalyzer, rows: list[dict]
) -> None:
    raised = 0
    for row in rows:
        last = len(row["nodes"]) - 1
        more = {**row, "alerts": [*row["alerts"], "memory_up:mem_usage"], "alerts_at": [*row["alerts_at"], float(last)]}
        before, after = (_suspects(model, [each])[0][row["nodes"][last]] for each in (row, more))
        raised += after > before
    assert raised >= 0.9 * len(rows)


def test_a_graph_of_any_size_is_answered(model: RootCauseAnalyzer, rows: list[dict]) -> None:
    chain = list(range(199))
    large = {
        **rows[0],
        "system": "never seen",
        "nodes": [f"service-{n}" for n in range(200)],
        "callers": [float(n) for n in chain],
        "callees": [float(n + 1) for n in chain],
        "alerts": ["memory_up:working_set", "slow_in:/", "slow_out:/", "failed_in:500 /"],
        "alerts_at": [150.0, 150.0, 149.0, 150.0],
    }
    found = _suspects(model, [large])[0]
    assert len(found) == 200
    assert sum(found.values()) == pytest.approx(1, abs=1e-6)
    assert max(found, key=lambda name: found[name]) == "service-150"


# -- what it says -----------------------------------------------------------------------------------------------------


def test_an_answer_is_ranked_evident_and_suggests_actions_of_the_catalogue(
    model: RootCauseAnalyzer, rows: list[dict]
) -> None:
    answered = [answer for answer in model.predict(rows, explain=True) if answer.abstained is None]
    assert answered
    for answer in answered:
        confidences = [each.confidence for each in answer.root_causes]  # type: ignore[attr-defined]
        assert confidences == sorted(confidences, reverse=True)
        assert answer.confidence == confidences[0]  # type: ignore[attr-defined]
        assert all(each.family in FAMILIES and each.alerts for each in answer.evidence)  # type: ignore[attr-defined]
        assert {fix.action for fix in answer.fix_suggestions} <= SPECIFIED  # type: ignore[attr-defined]
        assert {fix.component for fix in answer.fix_suggestions} <= {answer.root_causes[0].component}  # type: ignore[attr-defined]
        assert answer.fix_basis.startswith("policy")  # type: ignore[attr-defined]
    assert any(answer.fix_suggestions for answer in answered)  # type: ignore[attr-defined]


def test_the_policy_names_families_and_actions_that_exist() -> None:
    rules = RootCauseAnalyzer().options.fix_policy
    assert {family for rule in rules for family in rule.evidence} <= set(FAMILIES)
    assert {rule.action for rule in rules} <= SPECIFIED


def test_it_abstains_where_it_knows_too_little(model: RootCauseAnalyzer, rows: list[dict]) -> None:
    silent = {**rows[0], "alerts": [], "alerts_at": []}
    empty = {**silent, "nodes": [], "callers": [], "callees": []}
    strict = RootCauseAnalyzer({"answer_above": 1.0})
    strict.learner = model.learner
    quiet, nobody = model.predict([silent, empty], explain=True)
    (unsure,) = strict.predict([{**rows[0], "alerts": ["log:1"], "alerts_at": [0.0]}])
    assert "too little evidence" in str(quiet.abstained)
    assert "no component" in str(nobody.abstained)
    assert "stands out" in str(unsure.abstained)
    assert not any(answer.root_causes or answer.fix_suggestions for answer in (quiet, nobody, unsure))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": ["same", "same"]}, "named once"),
        ({"alerts_at": [0.0]}, "same length"),
        ({"callers": [99.0], "callees": [0.0]}, "a position in nodes"),
        ({"callers": [0.5], "callees": [0.0]}, "a position in nodes"),
        ({"root_cause": "cart"}, "root_cause"),
    ],
)
def test_bad_input_is_named(model: RootCauseAnalyzer, rows: list[dict], change: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        model.predict([{**rows[0], **change}])


def test_a_case_takes_less_than_a_second_explained(model: RootCauseAnalyzer, rows: list[dict]) -> None:
    model.predict(rows[:1], explain=True)
    start = time.process_time()
    for row in rows[:3]:
        model.predict([row], explain=True)
    assert (time.process_time() - start) / 3 < 1


# -- the least it must be able to do ----------------------------------------------------------------------------------


def test_it_beats_the_naive_rule_on_published_parts_and_on_a_system_never_seen(frame: pd.DataFrame) -> None:
    model = RootCauseAnalyzer()
    folds = {fold.dataset: fold for fold in model.folds(frame)}
    assert set(folds) == {"shop", "online_boutique_unseen", "petshop_unseen"}
    for name, fold in folds.items():
        checks.fold(model.spec, fold)
        if name.endswith("_unseen"):
            assert not set(fold.train["system"]) & set(fold.test["system"])
        else:
            assert set(fold.train["part"]) == {"train"}
    fold = folds["shop"]
    figures = {
        name: model.measure(fold, learner.fit(fold.train, "root_cause").predict(fold.test))
        for name, learner in {"strong": model.baselines()["strong"], "naive": model.baselines()["naive"]}.items()
    }
    assert figures["strong"]["ac_1"] > figures["naive"]["ac_1"]
    assert figures["strong"]["ac_3"] >= 0.8


def test_of_two_given_parts_each_system_is_judged_by_itself(frame: pd.DataFrame) -> None:
    learnt = frame[frame["part"] == "train"]
    folds = {fold.dataset: fold for fold in RootCauseAnalyzer().given(learnt, frame)}
    assert set(folds) == {"shop", "online_boutique", "petshop"}
    assert not set(folds["shop"].test["incident_id"]) & set(learnt["incident_id"])


@pytest.mark.parametrize(("system", "first", "third"), [("sockshop", 0.82, 0.92), ("gaia", 0.77, 0.89)])
def test_minimum_on_the_reference_set(system: str, first: float, third: float) -> None:
    if not (DATA / "rca_tvdiag").is_dir():
        pytest.skip(f"reference set rca_tvdiag is not at {DATA}; set AIOPS_DATA to its parent folder")
    labelled = build.frame(build.read([("rca_tvdiag", DATA / "rca_tvdiag")]), [INCIDENTS], CAUSES)
    model = RootCauseAnalyzer()
    fold = next(fold for fold in model.folds(labelled) if fold.dataset == system)
    own = fold.train[fold.train["system"] == system]
    learner = model.baselines()["strong"].fit(inputs(model.spec, own, label=True), "root_cause")
    figures = model.measure(fold, learner.predict(inputs(model.spec, fold.test)))
    assert figures["ac_1"] >= first
    assert figures["ac_3"] >= third
