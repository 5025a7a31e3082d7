"""Exact Shapley values of a handful of inputs, for any score (Shapley 1953; Lundberg & Lee, NeurIPS 2017)."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Score = Callable[[npt.NDArray[np.bool_]], Floats]


def exact(score: Score, players: int) -> Floats:
    """Rows × players: each player's mean effect over all orders in which the players can be switched on.

    `score(on)` takes coalitions × players and gives coalitions × rows: the scores when the players that are `on` have
    their real value and the others the reference. Effects of a row add up to score(all) − score(none). There are
    2**players coalitions: keep `players` below ten.
    """
    masks = (np.arange(2**players)[:, None] >> np.arange(players)) & 1 == 1
    values = score(masks)
    effects = np.zeros((values.shape[1], players))
    order = [factorial(size) * factorial(players - size - 1) / factorial(players) for size in range(players)]
    for player in range(players):
        without = np.flatnonzero(~masks[:, player])
        weight = np.array(order)[masks[without].sum(axis=1)]
        effects[:, player] = weight @ (values[without | (1 << player)] - values[without])
    return effects
