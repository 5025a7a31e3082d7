"""A label of several classes: confusion, and how far the probability of the called class can be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from training.evaluate import MODEL, Scored
from training.model import Spec
from training.plots._draw import colour, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PREFIX = "p:"  # of the columns that hold the probability of a class
BINS = 10
FEW = 5  # rows below which a bin of the reliability is not shown


def draw(spec: Spec, dataset: str, parts: list[Scored]) -> Figure:
    picture, (confusion, reliability) = figure(2, width=12)
    for position, contender in enumerate(parts[0].scores):
        truth, called, confidence = _called(spec, parts, contender)
        _reliability(reliability, truth == called, confidence, contender, position)
        if contender == MODEL:
            _confusion(confusion, truth, called)
            right, count = float((truth == called).mean()), len(truth)
    reliability.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", label="perfect")
    reliability.set(title="reliability", xlabel="probability of the called class", ylabel="share that is right",
                    xlim=(0, 1), ylim=(0, 1))  # fmt: skip
    reliability.legend(fontsize=8)
    picture.suptitle(f"{dataset}: {count} judged rows, model right in {right:.1%}")
    return picture


def _called(spec: Spec, parts: list[Scored], contender: str) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Truth, called class and its probability of the judged rows of all folds."""
    truth = pd.concat([part.truth[spec.label] for part in parts], ignore_index=True)
    scores = pd.concat([part.scores[contender] for part in parts], ignore_index=True).filter(regex=f"^{PREFIX}")
    judged = truth.notna() & scores.notna().any(axis=1)
    scores = scores[judged]
    return truth[judged], scores.idxmax(axis=1).str[len(PREFIX) :], scores.max(axis=1)


def _reliability(axes: Axes, right: pd.Series, confidence: pd.Series, contender: str, position: int) -> None:
    """Share that is right in bins of equal width; a point's size grows with its rows."""
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = pd.DataFrame({"p": confidence, "right": right.astype(float)})
    bins = rows.groupby(which).agg(p=("p", "mean"), right=("right", "mean"), n=("p", "size"))
    bins = bins[bins["n"] >= FEW]
    axes.plot(bins["p"], bins["right"], color=colour(contender, position), linewidth=1, label=contender)
    sizes = 10 + 90 * np.sqrt(bins["n"] / max(bins["n"].sum(), 1))
    axes.scatter(bins["p"], bins["right"], s=sizes, color=colour(contender, position))


def _confusion(axes: Axes, truth: pd.Series, called: pd.Series) -> None:
    names = sorted(set(truth) | set(called))
    table = pd.crosstab(truth, called).reindex(index=names, columns=names, fill_value=0).to_numpy()
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (y, c), count in np.ndenumerate(table):
        if count:
            axes.text(c, y, str(count), ha="center", va="center", color="white" if shares[y, c] > 0.6 else "black")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(title="model: confusion", xlabel="called", ylabel="is")
    axes.grid(visible=False)
