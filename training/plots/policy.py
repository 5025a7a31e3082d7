"""What acts: savings against violations where limits are set, gain by trial where configurations are searched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from training.evaluate import Scored
from training.learners.sizing import exploded
from training.model import Spec
from training.plots._draw import colour, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(spec: Spec, dataset: str, parts: list[Scored]) -> Figure:
    """A line a contender over the trials of a search, else a point a contender, one picture a resource."""
    searched = "trial_0" in next(iter(parts[0].scores.values()))
    return _trials(spec, dataset, parts) if searched else _limits(spec, dataset, parts)


def _trials(spec: Spec, dataset: str, parts: list[Scored]) -> Figure:
    """The best gain so far, mean over tasks and searches; gains within the noise are none."""
    picture, (axes,) = figure(1, width=6)
    searches = 0
    for position, contender in enumerate(parts[0].scores):
        lines = list(_best_so_far(spec, parts, contender))
        most, searches = max(map(len, lines)), len(lines)
        mean = np.mean([np.pad(line, (0, most - len(line)), mode="edge") for line in lines], axis=0)
        shade, told = colour(contender, position), f"{contender} ({mean[-1]:.3f})"
        axes.plot(np.arange(most), mean, "o-", markersize=3, color=shade, label=told)
    axes.set(title="gain by trial", xlabel="configurations measured", ylabel="best gain over the baseline (share)")
    axes.legend(fontsize=8)
    picture.suptitle(f"{dataset}: {searches} searches")
    return picture


def _best_so_far(spec: Spec, parts: list[Scored], contender: str) -> Iterator[np.ndarray]:
    """For each task and search, the best gain after 0, 1, 2, ... trials, as a share."""
    for part in parts:
        scores = part.scores[contender]
        for _, rows in scores.groupby(part.truth[spec.labels.entity], sort=True):
            for name in map(str, scores.filter(regex=r"^trial_\d+$")):
                tried = rows[rows[name].notna()].sort_values(name)["gain"].to_numpy("float64")
                yield np.expm1(np.maximum.accumulate(np.concatenate([[0.0], tried])))


def _limits(spec: Spec, dataset: str, parts: list[Scored]) -> Figure:
    """Share of the capacity saved against share of the samples above the limit: up and to the left is better."""
    first = next(iter(parts[0].scores.values()))
    resources = [str(name).removesuffix("_limit") for name in first if str(name).endswith("_limit")]
    picture, panels = figure(len(resources))
    label = pd.concat([part.truth[spec.label] for part in parts], ignore_index=True)
    judged = label.notna()
    uses, row = exploded(label[judged].reset_index(drop=True), len(resources))
    for position, contender in enumerate(parts[0].scores):
        scores = pd.concat([part.scores[contender] for part in parts], ignore_index=True)[judged]
        for axes, resource, use in zip(panels, resources, uses, strict=True):
            limit, capacity = (scores[f"{resource}_{name}"].to_numpy("float64") for name in ("limit", "capacity"))
            over = float((use > limit[row] * (1 + 1e-6)).mean())
            axes.plot(over, 1 - limit.sum() / capacity.sum(), "o", color=colour(contender, position), label=contender)
    for axes, resource in zip(panels, resources, strict=True):
        axes.set(title=resource, xlabel="share of samples above the limit", ylabel="share of the capacity saved")
        axes.set_xlim(left=0)
        axes.legend(fontsize=8)
    picture.suptitle(f"{dataset}: {int(judged.sum())} judged hours of {len(parts)} fold{'s' * (len(parts) > 1)}")
    return picture
