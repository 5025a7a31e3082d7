"""A yes-or-no label: precision and recall, calibration, confusion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from training.evaluate import MODEL, Scored
from training.model import Spec
from training.plots._draw import base_rate, colour, figure, pooled, precision_recall

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 10
FEW = 5  # rows below which a bin of the calibration is not shown


def draw(spec: Spec, dataset: str, parts: list[Scored]) -> Figure:
    picture, (curve, calibration, confusion) = figure(3)
    for position, contender in enumerate(parts[0].scores):
        truth, scores = pooled(spec, parts, contender, "probability")
        precision_recall(curve, truth, scores["probability"], contender, position)
        _calibration(calibration, truth, scores["probability"], contender, position)
    base_rate(curve, truth)
    calibration.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", label="perfect")
    calibration.set(
        title="calibration", xlabel="predicted probability", ylabel="observed rate", xlim=(0, 1), ylim=(0, 1)
    )
    truth, scores = pooled(spec, parts, MODEL, "probability")
    called = scores["probability"] >= scores.get("threshold", 0.5)
    _confusion(confusion, spec, truth, called)
    confusion.set_title("model: confusion at " + ("its threshold" if "threshold" in scores else "probability 0.5"))
    for axes in (curve, calibration):
        axes.legend(fontsize=8)
    picture.suptitle(f"{dataset}: {len(truth)} judged rows, {int(truth.sum())} positive")
    return picture


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
    axes.plot(bins["p"], bins["y"], color=colour(contender, position), linewidth=1, label=contender)
    axes.scatter(bins["p"], bins["y"], s=sizes, color=colour(contender, position))


def _confusion(axes: Axes, spec: Spec, truth: pd.Series, called: pd.Series) -> None:
    table = np.array([[int(((truth == y) & (called == c)).sum()) for c in (0, 1)] for y in (0, 1)])
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (y, c), count in np.ndenumerate(table):
        ink = "white" if shares[y, c] > 0.6 else "black"
        axes.text(c, y, f"{count}\n{shares[y, c]:.1%}", ha="center", va="center", color=ink)
    axes.set_xticks([0, 1], ["no", "yes"])
    axes.set_yticks([0, 1], ["no", "yes"])
    axes.set(xlabel="called", ylabel=spec.label)
    axes.grid(visible=False)
