"""How much of persistence's error is left on places that moved, and how far forecasts and truth lie apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.evaluate import MODEL, Scored
from training.model import Spec
from training.plots._draw import COLOURS, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(spec: Spec, dataset: str, parts: list[Scored]) -> Figure:
    """The mean forecast of each market beside the mean of what came, for the nearest horizon."""
    picture, (axes,) = figure(1, width=6)
    truth, told = (np.concatenate(values) for values in zip(*map(_means, parts), strict=True))
    axes.scatter(truth, told, s=4, alpha=0.3, color=COLOURS[MODEL], linewidths=0)
    if len(truth):
        ends = [truth.min(), truth.max()]
        axes.plot(ends, ends, color="black", linewidth=0.7)
        if truth.min() > 0:
            axes.set(xscale="log", yscale="log")
    axes.set(xlabel="mean over places, as it came", ylabel="mean over places, forecast")
    picture.suptitle(f"{dataset}: {len(truth)} judged rows of {spec.task} forecasts, nearest horizon")
    return picture


def _means(part: Scored) -> tuple[np.ndarray, np.ndarray]:
    rows = zip(part.truth["future"], part.truth["newest_values"], strict=True)
    came = np.array([_mean(future, len(newest)) for future, newest in rows], dtype=float)
    told = part.scores[MODEL]["forecast_1"].to_numpy(dtype=float)
    known = ~np.isnan(came) & ~np.isnan(told)
    return came[known], told[known]


def _mean(future: Any, places: int) -> float:
    """Mean over the places of what came after the nearest horizon; NaN where none is known."""
    if future is None or not len(future):
        return float("nan")
    values = np.asarray(future, dtype=float).reshape(places, -1)[:, 0]
    return float(values[values >= 0].mean()) if (values >= 0).any() else float("nan")
