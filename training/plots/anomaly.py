"""Points that are anomalous or not: precision and recall, and the score over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.evaluate import MODEL, Scored
from training.model import Spec
from training.plots._draw import COLOURS, POINTS, base_rate, figure, pooled, precision_recall

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(spec: Spec, dataset: str, parts: list[Scored]) -> Figure:
    """The precision-recall curves, and the scores over time of the entity with the most anomalous points."""
    picture, (curve, timeline) = figure(2, width=12, ratios=(1, 2))
    for position, contender in enumerate(parts[0].scores):
        truth, scores = pooled(spec, parts, contender, "score")
        precision_recall(curve, truth, scores["score"], contender, position)
    base_rate(curve, truth)
    curve.legend(fontsize=8)
    _timeline(timeline, spec, parts)
    picture.suptitle(f"{dataset}: {len(truth)} judged points, {int(truth.sum())} anomalous")
    return picture


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
