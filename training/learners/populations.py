"""Populations that have nothing in common but the question: a learner of its own kind for each."""

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
from training.learners.recurrence import Recurrence
from training.learners.sequence import SequenceHazard
from training.learners.summarised import Summarised

KINDS: dict[str, type[Learner]] = {"hazard": SequenceHazard, "summarised": Summarised, "recurrence": Recurrence}


class Populations(Parted):
    """`members`: value of column `by` → (kind of learner, its keyword arguments). Only those with a label are fitted.

    Rows of other values get NaN as `probability`; where one learner gives a score that another does not, it is null.
    """

    FILE = "populations.json"

    def __init__(self, by: str, members: Mapping[str, tuple[str, Mapping[str, Any]]]) -> None:
        for kind, _ in members.values():
            if kind not in KINDS:
                raise DataError(f"no kind of learner {kind!r}{nearest(kind, KINDS)}; kinds: {', '.join(KINDS)}")
        self.by, self.members = by, {value: (kind, dict(options)) for value, (kind, options) in members.items()}
        self.parts: dict[str, Learner] = {}

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        self.parts = {}
        for value, (kind, options) in self.members.items():
            rows = frame[frame[self.by] == value]
            if rows[label].notna().any():
                self.parts[value] = KINDS[kind](**options).fit(rows, label)
        if not self.parts:
            raise DataError(f"{self.by}: no labelled row of {', '.join(self.members)}; one at least is needed to learn")
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        scores = [part.predict(rows) for part, rows in self._split(frame)]
        return pd.concat(scores).reindex(frame.index) if scores else pd.DataFrame({"probability": np.nan}, frame.index)

    def _split(self, frame: pd.DataFrame) -> Iterator[tuple[Learner, pd.DataFrame]]:
        """Each fitted learner with its rows, where there are any."""
        for value, part in self.parts.items():
            if len(rows := frame[frame[self.by] == value]):
                yield part, rows

    def save(self, folder: Path) -> None:
        content = {"by": self.by, "members": self.members, "fitted": list(self.parts)}
        (folder / self.FILE).write_text(json.dumps(content, indent=1))
        self.save_parts(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / cls.FILE).read_text())
        learner = cls(content["by"], content["members"])
        for number, value in enumerate(content["fitted"]):
            learner.parts[value] = KINDS[learner.members[value][0]].load(folder / str(number))
        return learner
