"""A forecast with its interval beside what came, and the accuracy of the totals by how far ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from training import metrics_forecast
from training.evaluate import MODEL, Scored
from training.model import Spec
from training.plots._draw import COLOURS, colour, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(spec: Spec, dataset: str, parts: list[Scored]) -> Figure:
    """The newest forecasts of one series, one a quarter, and the curves of all contenders."""
    picture, (horizon, timeline) = figure(2, width=12, ratios=(1, 2))
    ahead = sum(str(name).startswith("forecast_") for name in parts[0].scores[MODEL])
    for position, contender in enumerate(parts[0].scores):
        _horizon(horizon, parts, contender, position, ahead)
    horizon.set(title="accuracy of the total", xlabel="days ahead", ylabel="1 - MAPE")
    horizon.legend(fontsize=8)
    _timeline(timeline, spec, parts, ahead)
    picture.suptitle(f"{dataset}: {sum(len(part.truth) for part in parts)} judged forecasts")
    return picture


def _horizon(axes: Axes, parts: list[Scored], contender: str, position: int, ahead: int) -> None:
    truth = np.concatenate([_truth(part.truth, ahead) for part in parts])
    told = np.concatenate([_days(part.scores[contender], "forecast", ahead) for part in parts])
    known = ~np.isnan(told[:, 0]) & ~np.isnan(truth).all(axis=1)
    days = range(7, ahead + 1, 7)
    curve = [metrics_forecast.total_accuracy(truth[known, :day], told[known, :day]) for day in days]
    axes.plot(days, curve, color=colour(contender, position), linewidth=1.2, label=contender)


def _timeline(axes: Axes, spec: Spec, parts: list[Scored], ahead: int) -> None:
    entity = spec.labels.entity
    name = parts[-1].truth[entity].iloc[0]
    for number, part in enumerate(parts):
        rows = part.truth[part.truth[entity] == name].sort_values("time")
        if rows.empty:
            continue
        first, scores = rows.iloc[[0]], part.scores[MODEL].loc[rows.index[:1]]
        days = first["time"].iloc[0] + pd.to_timedelta(np.arange(1, ahead + 1), unit="D")
        low, middle, high = (_days(scores, kind, ahead)[0] for kind in ("low", "forecast", "high"))
        last = number == len(parts) - 1
        axes.fill_between(days, low, high, color=COLOURS[MODEL], alpha=0.15, label="interval" if last else None)
        axes.plot(days, middle, color=COLOURS[MODEL], linewidth=1, label="forecast" if last else None)
        axes.plot(days, _truth(first, ahead)[0], color="black", linewidth=0.7, label="measured" if last else None)
    axes.set(title=str(name), xlabel="time, UTC", ylabel="usage a day")
    axes.tick_params(axis="x", rotation=30)
    axes.legend(fontsize=8, loc="upper left")


def _truth(rows: pd.DataFrame, ahead: int) -> np.ndarray:
    return metrics_forecast.futures(rows["future"].tolist(), rows["future_days"].tolist(), ahead)


def _days(scores: pd.DataFrame, kind: str, ahead: int) -> np.ndarray:
    return scores[[f"{kind}_{day}" for day in range(1, ahead + 1)]].to_numpy(dtype=float)
