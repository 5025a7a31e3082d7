"""One opinion of `training.learners._suspicion` as it is: what the fusion must beat."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from training.learner import Learner
from training.learners._encode import Encoder
from training.learners._odds import logistic
from training.learners._suspicion import OPINIONS, Opinion, Stump
from training.learners.fusion import typed

CHOICES: dict[str, type[Opinion]] = {**OPINIONS, "stump": Stump}


class Alone(Learner):
    """`predict`: `probability` of any attack, not calibrated; `threshold` 0.5, `lacking`. Inputs: see `Fusion`."""

    FILE = "alone.json"

    def __init__(
        self,
        opinion: str,
        numbers: Sequence[str],
        words: Sequence[str] = (),
        text: str | None = None,
        benign: str = "none",
        seed: int = 0,
    ) -> None:
        self.opinion, self.benign, self.seed = opinion, benign, seed
        self.encoder = Encoder(numbers, words, text)
        self.part = CHOICES[opinion]()

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        rows = frame[frame[label].notna()].reset_index(drop=True)
        _, types = typed(rows[label], self.benign)
        self.part = CHOICES[self.opinion]().fit(self.encoder.fit(rows)(rows), types, np.ones(len(rows)), self.seed)
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        probability = logistic(self.part.score(self.encoder(frame)))
        scores = {"probability": probability, "threshold": 0.5, "lacking": self.encoder.lacking(frame)}
        return pd.DataFrame(scores, index=frame.index)

    def save(self, folder: Path) -> None:
        encoder = {name: getattr(self.encoder, name) for name in ("numbers", "words", "text")}
        config = {"opinion": self.opinion, **encoder, "benign": self.benign, "seed": self.seed}
        (folder / self.FILE).write_text(json.dumps({"config": config, "encoder": self.encoder.state}))
        self.part.save(folder / self.opinion)

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / cls.FILE).read_text())
        learner = cls(**content["config"])
        learner.encoder.state = content["encoder"]
        learner.part = CHOICES[learner.opinion].load(folder / learner.opinion)
        return learner
