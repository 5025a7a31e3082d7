"""Learners without memory on sequences: each sequence is summarised into numbers first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from infra.errors import DataError, nearest
from training.learner import Learner
from training.learners._odds import log_odds
from training.learners.binary import BinaryLearner
from training.learners.boosted import LightTrees
from training.learners.rule import Rule
from training.learners.sequences import Encoder, summaries, time_to_event

KINDS: dict[str, type[BinaryLearner]] = {"rule": Rule, "boosted": LightTrees}
CHUNK = 50_000


class Summarised(Learner):
    """A binary learner of `kind` on `summary` of the rows.

    It learns whether the event comes within `widen` days (at least the label's own `within`), from the rows of all
    events and a share of `negatives` of the others; its probability is then shifted on the log-odds so that its mean is
    the rate of the label.
    """

    FILE = "summarised.json"

    def __init__(
        self,
        sequences: Sequence[str],
        age: str,
        category: str,
        entity: str,
        kind: str,
        options: Mapping[str, Any],
        length: int = 14,
        within: int = 2,
        widen: int = 2,
        negatives: float = 1.0,
        seed: int = 0,
    ) -> None:
        if kind not in KINDS:
            raise DataError(f"no kind of learner {kind!r}{nearest(kind, KINDS)}; kinds: {', '.join(KINDS)}")
        self.config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self.config |= {"sequences": list(sequences), "options": dict(options)}
        self.encoder = Encoder(sequences, age, category, length)
        self.inner = KINDS[kind](**options)

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        frame = frame.reset_index(drop=True)
        event, _ = time_to_event(frame, label, self.config["entity"], self.config["within"])
        target = event <= self.config["widen"]
        known = frame[label].notna().to_numpy()
        drawn = np.random.default_rng(self.config["seed"]).random(len(frame)) < self.config["negatives"]
        kept = np.flatnonzero(target | (known & drawn))
        self.encoder.fit(frame.iloc[kept])
        rows = self.summary(frame.iloc[kept])
        self.inner.fit(rows.assign(target=target[kept].astype(float)), "target")
        weight = np.where(target[kept], 1.0, 1 / self.config["negatives"])
        rate = frame.loc[known, label].astype(float).mean()
        self.inner.state["intercept"] += self._shift(rows, weight, rate)
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        parts = [frame.iloc[start : start + CHUNK] for start in range(0, max(len(frame), 1), CHUNK)]
        return pd.concat([self.inner.predict(self.summary(part)) for part in parts])

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        return self.inner.contributions(self.summary(frame))

    def summary(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The newest value of each sequence under its own name; unless that is all the inner learner sees, also
        summaries of the encoded channels, category and weekday.
        """
        wanted = [name for name in self.encoder.sequences if name in self.inner.features]
        newest = {name: np.array([cell[-1] for cell in frame[name]], dtype=float) for name in wanted}
        if set(self.inner.features) <= set(newest):
            return pd.DataFrame(newest, index=frame.index)
        encoded = self.encoder.encode(frame)
        numbers = summaries(encoded.x)
        names = [f"summary_{number:03d}" for number in range(numbers.shape[1])]
        table = pd.DataFrame(numbers, index=frame.index, columns=names)
        return table.assign(**newest, category=encoded.category, weekday=encoded.weekday)

    def save(self, folder: Path) -> None:
        content = {"config": self.config, "encoder": self.encoder.state}
        (folder / self.FILE).write_text(json.dumps(content, indent=1))
        (folder / "inner").mkdir(exist_ok=True)
        self.inner.save(folder / "inner")

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / cls.FILE).read_text())
        learner = cls(**content["config"])
        learner.encoder.state = content["encoder"]
        learner.inner = KINDS[content["config"]["kind"]].load(folder / "inner")
        return learner

    def _shift(self, rows: pd.DataFrame, weight: np.ndarray, rate: float) -> float:
        """What to add to the log-odds so that the weighted mean probability is `rate`."""
        from scipy.optimize import brentq

        probability = self.inner.predict(rows)["probability"].clip(1e-12, 1 - 1e-12).to_numpy()
        odds = log_odds(probability)
        return float(brentq(lambda by: np.average(1 / (1 + np.exp(-odds - by)), weights=weight) - rate, -20, 20))


def summary_names(sequences: Sequence[str]) -> list[str]:
    """The inputs of a learner that is to see everything but the raw values."""
    count = 6 * Encoder(sequences, "", "", 1).channels
    return [*(f"summary_{number:03d}" for number in range(count)), "category", "weekday"]
