"""What learners made of several share: explaining part by part, and a folder for each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from training.learner import Learner


class Parted(Learner):
    """`parts`: the fitted learners by the value of a column."""

    parts: dict[str, Learner]

    @abstractmethod
    def _split(self, frame: pd.DataFrame) -> Iterator[tuple[Learner, pd.DataFrame]]:
        """Each fitted learner with its rows, where there are any."""

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        effects = [part.contributions(rows) for part, rows in self._split(frame)]
        return pd.concat(effects).reindex(frame.index) if effects else pd.DataFrame(index=frame.index)

    def save_parts(self, folder: Path) -> None:
        """Write each part below `folder`, numbered in order."""
        for number, part in enumerate(self.parts.values()):
            (folder / str(number)).mkdir(exist_ok=True)
            part.save(folder / str(number))
