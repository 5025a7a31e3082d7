"""What the pictures of several tasks share: colours, axes, and curves of binary scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from training import metrics
from training.evaluate import MODEL, Scored
from training.model import Spec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {MODEL: "#0072B2", "strong": "#E69F00", "naive": "#7F7F7F"}  # Okabe & Ito's: safe for the colour-blind
OTHERS = ("#009E73", "#CC79A7", "#56B4E9")
POINTS = 4000  # points drawn of one curve; more cannot be seen


def precision_recall(axes: Axes, truth: pd.Series, score: pd.Series, contender: str, position: int) -> None:
    """One contender's curve, with its area in the legend."""
    points = metrics.curve(truth, score)
    recall, precision = points.hits / max(points.hits[-1], 1), points.hits / (points.hits + points.false_alarms)
    step = max(1, len(recall) // POINTS)
    label = f"{contender} ({metrics.pr_auc(truth, score):.3f})"
    axes.step(recall[::step], precision[::step], where="post", color=colour(contender, position), label=label)
    axes.set(title="precision and recall (PR-AUC)", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))


def base_rate(axes: Axes, truth: pd.Series) -> None:
    """The precision of calling everything positive."""
    axes.axhline(truth.mean(), color="black", linewidth=0.8, linestyle=":", label=f"base rate ({truth.mean():.3f})")


def pooled(spec: Spec, parts: list[Scored], contender: str, column: str) -> tuple[pd.Series, pd.DataFrame]:
    """Truth and scores of the judged rows of all folds that have a score; a label in words is a yes unless empty."""
    truth = pd.concat([part.truth[spec.label] for part in parts], ignore_index=True)
    scores = pd.concat([part.scores[contender] for part in parts], ignore_index=True)
    judged = truth.notna() & scores[column].notna()
    yes = (
        truth[judged]
        if pd.api.types.is_numeric_dtype(truth)
        else truth[judged].map(lambda value: value not in ("", False))
    )
    return yes.astype(float), scores[judged]


def colour(contender: str, position: int) -> str:
    """The contender's colour, the same in every picture."""
    return COLOURS.get(contender, OTHERS[position % len(OTHERS)])


def figure(count: int, width: float | None = None, ratios: tuple[int, ...] | None = None) -> tuple[Figure, list[Axes]]:
    """A figure outside pyplot: no state, no display, safe in any thread."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(width or 4.6 * count, 4.2), dpi=110, layout="constrained")
    axes = picture.subplots(1, count, squeeze=False, width_ratios=ratios)[0]
    for each in axes:
        each.grid(visible=True, color="#E5E5E5", linewidth=0.6)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
    return picture, list(axes)
