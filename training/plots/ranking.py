"""Rankings with one right item: how often it is among the first, and what abstaining gains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from training.evaluate import Scored
from training.metrics_ranking import abstention
from training.model import Spec
from training.plots._draw import colour, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLACES = range(1, 6)


def draw(spec: Spec, dataset: str, parts: list[Scored]) -> Figure:
    """AC@k for k = 1 … 5, and AC@1 against the share of rows answered, a line per contender."""
    picture, (hits, curve) = figure(2)
    truth = pd.concat([part.truth[spec.label] for part in parts], ignore_index=True)
    for position, contender in enumerate(parts[0].scores):
        scores = pd.concat([part.scores[contender] for part in parts], ignore_index=True)
        right = np.stack([(scores[f"top_{place}"] == truth).to_numpy() for place in PLACES])
        shade = colour(contender, position)
        hits.plot(PLACES, _among(right), "o-", color=shade, label=contender)
        coverage, accuracy = abstention(right[0], scores["confidence"])
        curve.plot(coverage, accuracy, color=shade, label=contender)
    hits.set(title="the right one is among the first k", xlabel="k", ylabel="share of rows (AC@k)", ylim=(0, 1.02))
    curve.set(title="abstention", xlabel="share of rows answered", ylabel="AC@1 of the answered", ylim=(0, 1.02))
    hits.set_xticks(list(PLACES))
    for axes in (hits, curve):
        axes.legend(fontsize=8)
    picture.suptitle(f"{dataset}: {len(truth)} judged rows")
    return picture


def _among(right: np.ndarray) -> np.ndarray:
    """Share of rows whose right item is at place k or before."""
    return np.asarray(np.maximum.accumulate(right, axis=0).mean(axis=1))
