"""Pictures and cards of every task that has some."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests.models import tiny
from training import card, catalog, gates, plots
from training.evaluate import Evaluation, Scored, evaluate
from training.model import Model, Target


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with tiny.plugged_in() as name:
        yield catalog.make(name)


@pytest.fixture(scope="module")
def evaluation(model: Model) -> Evaluation:
    frame = tiny.frame()
    return evaluate(model, lambda seed: model.folds(frame, seed))


def _png(figure: object) -> bytes:
    stream = BytesIO()
    figure.savefig(stream)  # type: ignore[attr-defined]
    return stream.getvalue()


def test_classification_shows_all_contenders(model: Model, evaluation: Evaluation) -> None:
    found = plots.figures(model.spec, evaluation)
    assert set(found) == {"plots/comparison.png", "plots/tiny.png"}
    curve, calibration, confusion = found["plots/tiny.png"].axes
    legend = [text.get_text() for text in curve.get_legend().get_texts()]
    assert [text.split(" ")[0] for text in legend] == ["model", "naive", "strong", "base"]
    assert {text.get_text() for text in calibration.get_legend().get_texts()} == {"model", "naive", "strong", "perfect"}
    counts = sum(int(text.get_text().split("\n")[0]) for text in confusion.texts)
    assert counts == 240  # every judged row is in the confusion
    for figure in found.values():
        assert len(_png(figure)) > 5000


def test_ranking_shows_hits_and_abstention(model: Model) -> None:
    truth = pd.DataFrame(
        {"dataset": "tiny", "host": "h1", "time": pd.Timestamp("2026-01-01", tz="UTC"), "failed": list("abcd")}
    )
    right = pd.DataFrame({f"top_{place}": list("abcd") if place == 1 else None for place in range(1, 6)})
    late = pd.DataFrame({f"top_{place}": list("abcd") if place == 3 else None for place in range(1, 6)})
    scores = {name: rows.assign(confidence=[0.9, 0.8, 0.7, 0.1]) for name, rows in (("model", right), ("naive", late))}
    summary = pd.DataFrame(columns=["dataset", "contender", "metric", "mean", "low", "high", "n", "method"])
    found = plots.figures(
        replace(model.spec, task="ranking"),
        Evaluation(pd.DataFrame(), summary, summary, [Scored("tiny", truth, scores)]),
    )
    hits, curve = found["plots/tiny.png"].axes
    assert [line.get_ydata().tolist() for line in hits.lines] == [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]
    assert curve.lines[0].get_xdata().tolist() == [0.25, 0.5, 0.75, 1.0]
    assert len(_png(found["plots/tiny.png"])) > 5000


def test_multiclass_shows_confusion_and_reliability(model: Model) -> None:
    random = np.random.default_rng(0)
    truth = pd.DataFrame({"dataset": "tiny", "failed": random.choice(["a", "b", "c"], 300)})
    scores = {}
    for name in ("model", "naive"):
        chances = pd.DataFrame(random.dirichlet([1, 1, 1], 300), columns=["p:a", "p:b", "p:c"])
        chances.loc[7] = np.nan  # of a taxonomy that was not learnt
        scores[name] = chances.assign(words=3.0)
    summary = pd.DataFrame(columns=["dataset", "contender", "metric", "mean", "low", "high", "n", "method"])
    found = plots.figures(
        replace(model.spec, task="multiclass"),
        Evaluation(pd.DataFrame(), summary, summary, [Scored("tiny", truth, scores)]),
    )
    confusion, reliability = found["plots/tiny.png"].axes
    assert sum(int(text.get_text()) for text in confusion.texts) == 299
    assert {text.get_text() for text in reliability.get_legend().get_texts()} == {"model", "naive", "perfect"}
    assert len(_png(found["plots/tiny.png"])) > 5000


def test_anomaly_shows_scores_threshold_and_labels(model: Model) -> None:
    times = pd.date_range("2026-01-01", periods=500, freq="min", tz="UTC")
    truth = pd.DataFrame(
        {"dataset": "tiny", "host": "h1", "time": times, "failed": np.where(np.arange(500) > 450, 1, 0)}
    )
    score = np.random.default_rng(0).random(500) + truth["failed"]
    scores = {name: pd.DataFrame({"score": score * k, "threshold": 1.2}) for name, k in (("model", 1), ("naive", 0.5))}
    summary = pd.DataFrame(columns=["dataset", "contender", "metric", "mean", "low", "high", "n", "method"])
    found = plots.figures(
        replace(model.spec, task="anomaly"),
        Evaluation(pd.DataFrame(), summary, summary, [Scored("tiny", truth, scores)]),
    )
    _, timeline = found["plots/tiny.png"].axes
    assert [text.get_text() for text in timeline.get_legend().get_texts()] == ["score", "threshold", "anomaly (label)"]
    assert len(_png(found["plots/tiny.png"])) > 5000


def _policy(model: Model, truth: pd.DataFrame, scores: dict[str, pd.DataFrame]) -> Figure:
    summary = pd.DataFrame(columns=["dataset", "contender", "metric", "mean", "low", "high", "n", "method"])
    found = plots.figures(
        replace(model.spec, task="policy"),
        Evaluation(pd.DataFrame(), summary, summary, [Scored("tiny", truth, scores)]),
    )
    assert len(_png(found["plots/tiny.png"])) > 5000
    return found["plots/tiny.png"]


def test_policy_shows_savings_against_violations(model: Model) -> None:
    truth = pd.DataFrame({"dataset": "tiny", "host": "h1", "failed": [[1.0, 3.0, 5.0, 5.0]] * 9 + [None]})
    limits = {"cpu_limit": 2.0, "cpu_capacity": 10.0, "memory_limit": 6.0, "memory_capacity": 8.0}
    scores = {
        name: pd.DataFrame(
            {key: value * (k if "limit" in key else 1) for key, value in limits.items()}, index=range(10)
        )
        for name, k in (("model", 1), ("naive", 0.5))
    }
    cpu, memory = _policy(model, truth, scores).axes
    points = [[(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines] for axes in (cpu, memory)]
    assert points == [[(0.5, 0.8), (0.5, 0.9)], [(0.0, 0.25), (1.0, 0.625)]]
    assert [text.get_text() for text in cpu.get_legend().get_texts()] == ["model", "naive"]


def test_policy_shows_gain_by_trial(model: Model) -> None:
    truth = pd.DataFrame({"dataset": "tiny", "host": ["a", "a", "a", "b"], "failed": 1.0})
    trials = pd.DataFrame({"trial_0": [2, 1, np.nan, 1], "trial_1": [1, 2, np.nan, 1]})
    gain = np.log1p([0.4, 0.2, np.nan, 0.0])
    (axes,) = _policy(model, truth, {"model": trials.assign(gain=gain)}).axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0, (0.2 + 0.4) / 4, (0.4 + 0.4) / 4])


def test_card_says_what_a_user_must_know(model: Model, evaluation: Evaluation) -> None:
    spec = replace(model.spec, targets=(Target("roc_auc", 0.8), Target("roc_auc", 0.999)))
    text = card.card(model, evaluation, gates.outcomes(spec, evaluation), {"git_sha": "abc", "synthetic": "no"})
    for part in (
        "five folds over hosts",
        "not for real hosts",
        "- git_sha: abc",
        "| heat | float | Cel |",
        "**missed**",
    ):
        assert part in text
    assert "Synthetic" not in text


def test_card_of_a_demo_says_synthetic_first(model: Model, evaluation: Evaluation) -> None:
    text = card.card(model, evaluation, [], {"synthetic": "yes"})
    assert "Synthetic data" in text.split("\n\n")[1]


def test_figures_have_their_bounds_and_targets(model: Model, evaluation: Evaluation) -> None:
    table = card.pivot(evaluation, gates.outcomes(model.spec, evaluation))
    assert list(table) == ["model", "strong", "naive", "target"]
    assert table.loc[("tiny", "roc_auc"), "target"].startswith("≥ 0.8 ✓")
    assert table.loc[("tiny", "brier"), "target"] == ""
    assert card.shown(0.5, float("nan"), float("nan")) == "0.500"
    assert card.shown(float("nan"), 0, 1) == "–"
    assert card.shown(0.5, 0.4, 0.6) == "0.500 [0.400, 0.600]"
    assert card.shown(-0.0002, -0.0004, 0.6) == "0.000 [0.000, 0.600]"


def test_what_a_set_does_not_measure_is_left_out(evaluation: Evaluation) -> None:
    some = evaluation.summary.iloc[[0]]
    never = some.assign(metric="never", mean=float("nan"))
    table = card.pivot(replace(evaluation, summary=pd.concat([some, never])))
    assert list(table.index) == [(some["dataset"].iloc[0], some["metric"].iloc[0])]
