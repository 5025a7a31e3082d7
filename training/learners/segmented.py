"""One learner per population, behind one name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from infra.errors import DataError, nearest
from training.learner import Learner
from training.learners._parted import Parted
from training.learners.alone import Alone
from training.learners.bert import Bert
from training.learners.boosted import LightTrees
from training.learners.fusion import Fusion
from training.learners.keywords import Keywords
from training.learners.linear import Logistic
from training.learners.rule import Rule
from training.learners.text_pool import TextsWithIndex
from training.learners.tfidf import TfidfLogistic
from training.learners.trees import BoostedTrees

KINDS: dict[str, type[Learner]] = {
    "alone": Alone,
    "fusion": Fusion,
    "trees": BoostedTrees,
    "light": LightTrees,
    "logistic": Logistic,
    "rule": Rule,
    "keywords": Keywords,
    "tfidf": TfidfLogistic,
    "bert": Bert,
    "texts_with_index": TextsWithIndex,
}


class Segmented(Parted):
    """Fits one learner of `kind` for each value of column `by` that has a label; rows of other values get NaN scores.

    `options` are the keyword arguments of that learner.
    """

    FILE = "segments.json"

    def __init__(self, by: str, kind: str, options: Mapping[str, Any]) -> None:
        if kind not in KINDS:
            raise DataError(f"no kind of learner {kind!r}{nearest(kind, KINDS)}; kinds: {', '.join(KINDS)}")
        self.by, self.kind, self.options = by, kind, dict(options)
        self.parts: dict[str, Learner] = {}

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        self.parts = {}
        for value, rows in frame.groupby(self.by, sort=True):
            if rows[label].notna().any():
                self.parts[str(value)] = KINDS[self.kind](**self.options).fit(rows, label)
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        scores = [part.predict(rows) for part, rows in self._split(frame)]
        if not scores:
            return pd.DataFrame({"probability": np.nan, "threshold": np.nan, "lacking": ""}, index=frame.index)
        return pd.concat(scores).reindex(frame.index).fillna({"lacking": ""})

    def _split(self, frame: pd.DataFrame) -> Iterator[tuple[Learner, pd.DataFrame]]:
        """The rows of each known segment with its learner."""
        groups = ((self.parts.get(str(value)), rows) for value, rows in frame.groupby(self.by))
        return ((part, rows) for part, rows in groups if part is not None)

    def save(self, folder: Path) -> None:
        content = {"by": self.by, "kind": self.kind, "options": self.options, "values": list(self.parts)}
        (folder / self.FILE).write_text(json.dumps(content, indent=1))
        self.save_parts(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / cls.FILE).read_text())
        learner = cls(content["by"], content["kind"], content["options"])
        kind = KINDS[learner.kind]
        learner.parts = {value: kind.load(folder / str(n)) for n, value in enumerate(content["values"])}
        return learner
