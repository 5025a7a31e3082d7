"""The rate of the label in a group: the rule that looks at nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd

from training.learners.binary import BinaryLearner, Floats


class GroupRate(BinaryLearner):
    """Log-odds of the label's share among rows with the same value of the feature `group`; of all where it is new."""

    def train(self, x: pd.DataFrame, y: Floats, final: bool) -> None:
        shares = pd.Series(y).groupby(x["group"].to_numpy()).agg(lambda part: (part.sum() + y.mean()) / (len(part) + 1))
        self.state |= {
            "shares": {f"{name:g}": float(share) for name, share in shares.items()},
            "share": float(y.mean()),
        }

    def margin(self, x: pd.DataFrame) -> Floats:
        share = np.array([self.state["shares"].get(f"{name:g}", self.state["share"]) for name in x["group"]])
        return np.asarray(np.log(share / (1 - share)))

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        rate = np.log(self.state["share"] / (1 - self.state["share"]))
        return pd.DataFrame({"group": self.margin(self.inputs(frame)) - rate}, index=frame.index)
