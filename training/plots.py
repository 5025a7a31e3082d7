"""The pictures of a run, by the task of the model: the model and its baselines in one picture, one file a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from training import metrics
from training.evaluate import MODEL, Evaluation, Scored
from training.model import Spec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {MODEL: "#0072B2", "strong": "#E69F00", "naive": "#7F7F7F"}  # Okabe & Ito's: safe for the colour-blind
OTHERS = ("#009E73", "#CC79A7", "#56B4E9")
BINS = 10
FEW = 5  # rows below which a bin of the calibration is not shown
POINTS = 4000  # points drawn of one curve; more cannot be seen


def figures(spec: Spec, evaluation: Evaluation) -> dict[str, Figure]:
    """File name → figure. Tasks without pictures of their own get the comparison of the headline only."""
    draw: dict[str, Callable[[Spec, str, list[Scored]], Figure]] = {
        "classification": _classification,
        "anomaly": _anomaly,
    }
    found = {"plots/comparison.png": comparison(spec, evaluation)}
    if spec.task in draw:
        for dataset in dict.fromkeys(part.dataset for part in evaluation.scored):
            parts = [part for part in evaluation.scored if part.dataset == dataset]
            found[f"plots/{dataset}.png"] = draw[spec.task](spec, dataset, parts)
    return found


def comparison(spec: Spec, evaluation: Evaluation) -> Figure:
    """The headline of every contender on every data set, with its 95 % interval."""
    metric = spec.headline.rpartition("/")[2]
    rows = evaluation.summary[evaluation.summary["metric"] == metric]
    names, contenders = list(dict.fromkeys(rows["dataset"])), list(dict.fromkeys(rows["contender"]))
    figure, axes = _figure(1, width=max(5.0, 1.6 * len(names) + 3))
    for position, contender in enumerate(contenders):
        part = rows[rows["contender"] == contender].set_index("dataset").reindex(names)
        x = np.arange(len(names)) + (position - (len(contenders) - 1) / 2) * 0.18
        errors = np.abs(np.stack([part["mean"] - part["low"], part["high"] - part["mean"]]))
        colour = _colour(contender, position)
        axes[0].errorbar(x, part["mean"], np.nan_to_num(errors), fmt="o", capsize=4, color=colour, label=contender)
    axes[0].set_xticks(range(len(names)), names)
    if rows["mean"].between(0, 1).all():
        axes[0].set_ylim(0, 1)  # a share; the interval of few folds may run out of it
    axes[0].set_title(f"{metric}: mean and 95 % interval")
    axes[0].set_ylabel(metric)
    if contenders:
        axes[0].legend()
    return figure


def _classification(spec: Spec, dataset: str, parts: list[Scored]) -> Figure:
    figure, (curve, calibration, confusion) = _figure(3)
    for position, contender in enumerate(parts[0].scores):
        truth, scores = _pooled(spec, parts, contender, "probability")
        _precision_recall(curve, truth, scores["probability"], contender, position)
        _calibration(calibration, truth, scores["probability"], contender, position)
    _base_rate(curve, truth)
    calibration.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", label="perfect")
    calibration.set(
        title="calibration", xlabel="predicted probability", ylabel="observed rate", xlim=(0, 1), ylim=(0, 1)
    )
    truth, scores = _pooled(spec, parts, MODEL, "probability")
    called = scores["probability"] >= scores.get("threshold", 0.5)
    _confusion(confusion, spec, truth, called)
    confusion.set_title("model: confusion at " + ("its threshold" if "threshold" in scores else "probability 0.5"))
    for axes in (curve, calibration):
        axes.legend(fontsize=8)
    figure.suptitle(f"{dataset}: {len(truth)} judged rows, {int(truth.sum())} positive")
    return figure


def _anomaly(spec: Spec, dataset: str, parts: list[Scored]) -> Figure:
    """The precision-recall curves, and the scores over time of the entity with the most anomalous points."""
    figure, (curve, timeline) = _figure(2, width=12, ratios=(1, 2))
    for position, contender in enumerate(parts[0].scores):
        truth, scores = _pooled(spec, parts, contender, "score")
        _precision_recall(curve, truth, scores["score"], contender, position)
    _base_rate(curve, truth)
    curve.legend(fontsize=8)
    _timeline(timeline, spec, parts)
    figure.suptitle(f"{dataset}: {len(truth)} judged points, {int(truth.sum())} anomalous")
    return figure


def _timeline(axes: Axes, spec: Spec, parts: list[Scored]) -> None:
    entity = spec.labels.entity
    part = max(parts, key=lambda p: p.truth[spec.label].eq(1).sum())
    name = part.truth[spec.label].eq(1).groupby(part.truth[entity]).sum().idxmax()
    shown = part.truth[part.truth[entity] == name].sort_values("time")
    scores = part.scores[MODEL].loc[shown.index]
    step = max(1, len(shown) // POINTS)
    axes.plot(
        shown["time"].iloc[::step], scores["score"].iloc[::step], color=COLOURS[MODEL], linewidth=0.7, label="score"
    )
    if "threshold" in scores:
        axes.plot(shown["time"], scores["threshold"], color="black", linewidth=0.9, linestyle="--", label="threshold")
    anomalous = (shown[spec.label] == 1).to_numpy()
    axes.fill_between(shown["time"], 0, 1, where=anomalous, transform=axes.get_xaxis_transform(), color="#D55E00",
                      alpha=0.25, linewidth=0, label="anomaly (label)")  # fmt: skip
    axes.set(title=f"{name}", xlabel="time, UTC", ylabel="score")
    axes.tick_params(axis="x", rotation=30)
    axes.legend(fontsize=8, loc="upper right")


def _precision_recall(axes: Axes, truth: pd.Series, score: pd.Series, contender: str, position: int) -> None:
    points = metrics.curve(truth, score)
    recall, precision = points.hits / max(points.hits[-1], 1), points.hits / (points.hits + points.false_alarms)
    step = max(1, len(recall) // POINTS)
    label = f"{contender} ({metrics.pr_auc(truth, score):.3f})"
    axes.step(recall[::step], precision[::step], where="post", color=_colour(contender, position), label=label)
    axes.set(title="precision and recall (PR-AUC)", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))


def _base_rate(axes: Axes, truth: pd.Series) -> None:
    axes.axhline(truth.mean(), color="black", linewidth=0.8, linestyle=":", label=f"base rate ({truth.mean():.3f})")


def _calibration(axes: Axes, truth: pd.Series, probability: pd.Series, contender: str, position: int) -> None:
    """Observed rate in bins of equal width; a point's size grows with its rows."""
    which = np.minimum((probability * BINS).astype(int), BINS - 1)
    bins = (
        pd.DataFrame({"p": probability, "y": truth})
        .groupby(which)
        .agg(p=("p", "mean"), y=("y", "mean"), n=("y", "size"))
    )
    bins = bins[bins["n"] >= FEW]
    sizes = 10 + 90 * np.sqrt(bins["n"] / bins["n"].sum())
    axes.plot(bins["p"], bins["y"], color=_colour(contender, position), linewidth=1, label=contender)
    axes.scatter(bins["p"], bins["y"], s=sizes, color=_colour(contender, position))


def _confusion(axes: Axes, spec: Spec, truth: pd.Series, called: pd.Series) -> None:
    table = np.array([[int(((truth == y) & (called == c)).sum()) for c in (0, 1)] for y in (0, 1)])
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (y, c), count in np.ndenumerate(table):
        colour = "white" if shares[y, c] > 0.6 else "black"
        axes.text(c, y, f"{count}\n{shares[y, c]:.1%}", ha="center", va="center", color=colour)
    axes.set_xticks([0, 1], ["no", "yes"])
    axes.set_yticks([0, 1], ["no", "yes"])
    axes.set(xlabel="called", ylabel=spec.label)
    axes.grid(visible=False)


def _pooled(spec: Spec, parts: list[Scored], contender: str, column: str) -> tuple[pd.Series, pd.DataFrame]:
    """Truth and scores of the judged rows of all folds that have a score."""
    truth = pd.concat([part.truth[spec.label] for part in parts], ignore_index=True)
    scores = pd.concat([part.scores[contender] for part in parts], ignore_index=True)
    judged = truth.notna() & scores[column].notna()
    return truth[judged].astype(float), scores[judged]


def _colour(contender: str, position: int) -> str:
    return COLOURS.get(contender, OTHERS[position % len(OTHERS)])


def _figure(count: int, width: float | None = None, ratios: tuple[int, ...] | None = None) -> tuple[Figure, list[Axes]]:
    """A figure outside pyplot: no state, no display, safe in any thread."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width or 4.6 * count, 4.2), dpi=110, layout="constrained")
    axes = figure.subplots(1, count, squeeze=False, width_ratios=ratios)[0]
    for each in axes:
        each.grid(visible=True, color="#E5E5E5", linewidth=0.6)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)
