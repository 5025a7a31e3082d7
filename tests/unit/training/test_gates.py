"""Which version becomes champion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import pytest

from tests.models import tiny
from training import catalog, gates
from training.evaluate import Evaluation
from training.model import Spec, Target


@pytest.fixture
def spec() -> Iterator[Spec]:
    with tiny.plugged_in() as name:
        yield replace(catalog.load(name).spec, targets=(Target("roc_auc", 0.8),))


def _evaluation(
    model: float = 0.9, naive: float = 0.6, half: float = 0.02, metric: str = "roc_auc", folds: int = 1
) -> Evaluation:
    """One fold: the newest is all; more: the newest is a little better than the mean of all."""
    summary = _summary(model, naive, half, metric)
    newest = summary if folds == 1 else _summary(model + 0.01, naive, half, metric)
    return Evaluation(pd.DataFrame({"dataset": "tiny", "fold": range(folds)}), summary, newest, [])


def _summary(model: float, naive: float, half: float, metric: str) -> pd.DataFrame:
    rows = [
        (dataset, contender, metric, mean, mean - half, mean + half, 5, "t")
        for dataset in ("tiny", "mean")
        for contender, mean in (("model", model), ("naive", naive), ("strong", 0.85))
    ]
    columns = ["dataset", "contender", "metric", "mean", "low", "high", "n", "method"]
    return pd.DataFrame(rows, columns=columns)


def _champion(headline: float, floor: float, data: str = "d1") -> dict[str, str]:
    return {"headline": str(headline), "floor": str(floor), "data": data, "judged": "tiny: 1"}


def test_all_gates_hold(spec: Spec) -> None:
    decision = gates.decide(spec, _evaluation(), "d1")
    assert (decision.alias, decision.failed) == ("champion", ())
    assert decision.tags == {
        "headline": "0.9",
        "headline_metric": "roc_auc",
        "floor": "0.88",
        "headline_newest": "0.9",
        "floor_newest": "0.88",
        "gate_reason": "every gate holds",
        "data": "d1",
        "judged": "tiny: 1",
    }


def test_a_missed_target_makes_a_challenger_even_of_the_first_version(spec: Spec) -> None:
    decision = gates.decide(spec, _evaluation(model=0.79), "d1")
    assert decision.alias == "challenger"
    assert decision.tags["gate_reason"] == "target missed: roc_auc is 0.79; aim ≥ 0.8"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (Target("tiny/roc_auc", 1.1, baseline="strong"), r"tiny/roc_auc is 0.9; aim ≥ 0.935 (1.1 × strong)"),
        (Target("roc_auc", 0.5, "at_most", source="specification"), "roc_auc is 0.9; specification ≤ 0.5"),
        (Target("elsewhere/roc_auc", 0.5), "elsewhere/roc_auc was not measured; aim ≥ 0.5"),
        (Target("roc_auc", 1.0, baseline="oracle"), "roc_auc was not measured; aim ≥ 1 (1 × oracle)"),
    ],
)
def test_each_missed_target_is_said(spec: Spec, target: Target, says: str) -> None:
    decision = gates.decide(replace(spec, targets=(*spec.targets, target)), _evaluation(), "d1")
    assert decision.alias == "challenger"
    assert decision.failed[0] == f"target missed: {says}"


def test_no_better_than_naive_is_refused(spec: Spec) -> None:
    decision = gates.decide(spec, _evaluation(model=0.9, naive=0.9), "d1")
    assert decision.failed == ("not better than the naive rule: roc_auc 0.9 against 0.9",)


def test_an_unmeasured_headline_is_refused(spec: Spec) -> None:
    decision = gates.decide(replace(spec, targets=()), _evaluation(metric="brier"), "d1")
    assert decision.failed == ("roc_auc was not measured for the model and the naive rule",)
    assert "headline" not in decision.tags


@pytest.mark.parametrize(
    ("figure", "alias"), [(0.95, "champion"), (0.9, "champion"), (0.88, "champion"), (0.8799, "challenger")]
)
def test_noise_does_not_block_and_a_loss_does(spec: Spec, figure: float, alias: str) -> None:
    decision = gates.decide(spec, _evaluation(model=figure), "d1", _champion(0.9, 0.88))
    assert decision.alias == alias
    if decision.failed:
        assert decision.reason.startswith("worse than the champion: roc_auc 0.8799, the champion has 0.9")


@pytest.mark.parametrize(
    ("metric", "alias"), [("brier", "champion"), ("roc_auc", "challenger")], ids=["another", "the same"]
)
def test_a_floor_binds_only_in_its_own_metric(spec: Spec, metric: str, alias: str) -> None:
    decision = gates.decide(spec, _evaluation(), "d1", _champion(0.97, 0.95) | {"headline_metric": metric})
    assert decision.alias == alias


def test_small_losses_cannot_add_up(spec: Spec) -> None:
    champion = gates.decide(spec, _evaluation(model=0.9), "d1").tags
    for figure in (0.89, 0.885):
        decision = gates.decide(spec, _evaluation(model=figure), "d1", champion)
        assert decision.alias == "champion"
        champion = decision.tags
    assert champion["floor"] == "0.88"  # not 0.865, the lower end of the newest interval
    assert gates.decide(spec, _evaluation(model=0.875), "d1", champion).alias == "challenger"


@pytest.mark.parametrize(("figure", "alias"), [(0.875, "champion"), (0.865, "challenger")])
def test_versions_judged_on_different_folds_meet_on_the_newest(spec: Spec, figure: float, alias: str) -> None:
    champion = gates.decide(spec, _evaluation(model=0.9), "d1").tags  # the newest fold only: floor 0.88
    decision = gates.decide(spec, _evaluation(model=figure, folds=3), "d1", champion)  # newest: figure + 0.01
    assert decision.alias == alias
    if decision.failed:
        assert decision.reason.startswith("worse than the champion: roc_auc 0.875 on the newest folds, the champion")


def test_other_data_starts_a_new_floor(spec: Spec) -> None:
    decision = gates.decide(spec, _evaluation(model=0.9), "d2", _champion(0.9, 0.89, data="d1"))
    assert decision.tags["floor"] == "0.88"


def test_an_interval_that_allows_anything_does_not_open_the_gate(spec: Spec) -> None:
    champion = gates.decide(spec, _evaluation(model=0.9, half=3.0), "d1").tags
    assert champion["floor"] == "0.855"
    assert gates.decide(spec, _evaluation(model=0.9, half=float("nan")), "d1").tags["floor"] == "0.9"


def test_where_less_is_better(spec: Spec) -> None:
    spec = replace(spec, headline="brier", targets=(Target("brier", 0.2, "at_most"),))
    good = gates.decide(spec, _evaluation(model=0.1, naive=0.3, metric="brier"), "d1")
    assert (good.alias, good.tags["floor"]) == ("champion", "0.105")  # 5 %, as the interval allows 20 %
    assert gates.decide(spec, _evaluation(model=0.104, naive=0.3, metric="brier"), "d1", good.tags).alias == "champion"
    worse = gates.decide(spec, _evaluation(model=0.106, naive=0.3, metric="brier"), "d1", good.tags)
    assert worse.alias == "challenger"
    assert gates.decide(spec, _evaluation(model=0.1, naive=0.05, metric="brier"), "d1").alias == "challenger"
