"""The pictures of a run: the model and its baselines in one picture, one file a data set.

A file of this folder, named as a task (`training.model.Spec.task`), draws what its models are best seen in:
`draw(spec, dataset, parts)` with the judged folds of one data set.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import numpy as np

from infra import plugins
from training.evaluate import Evaluation
from training.model import Spec
from training.plots._draw import colour
from training.plots._draw import figure as _figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures(spec: Spec, evaluation: Evaluation) -> dict[str, Figure]:
    """File name → figure. Tasks without pictures of their own get the comparison of the headline only."""
    found = {"plots/comparison.png": comparison(spec, evaluation)}
    if spec.task in plugins.names(__name__):
        draw = importlib.import_module(f"{__name__}.{spec.task}").draw
        for dataset in dict.fromkeys(part.dataset for part in evaluation.scored):
            parts = [part for part in evaluation.scored if part.dataset == dataset]
            found[f"plots/{dataset}.png"] = draw(spec, dataset, parts)
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
        shade = colour(contender, position)
        axes[0].errorbar(x, part["mean"], np.nan_to_num(errors), fmt="o", capsize=4, color=shade, label=contender)
    axes[0].set_xticks(range(len(names)), names)
    if rows["mean"].between(0, 1).all():
        axes[0].set_ylim(0, 1)  # a share; the interval of few folds may run out of it
    axes[0].set_title(f"{metric}: mean and 95 % interval")
    axes[0].set_ylabel(metric)
    if contenders:
        axes[0].legend()
    return figure
