"""The contract of a learner: numbers in, numbers out; it knows no service, no drive and no customer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

import pandas as pd


class Learner(ABC):
    """Fits a frame and scores a frame. Configuration goes into `__init__` as plain keyword arguments (JSON-able).

    Importing a learner's file loads no framework: frameworks are imported inside the methods.
    The same seed on the same machine gives the same numbers.
    """

    @abstractmethod
    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        """Learn from `frame` (feature columns plus `label`; rows whose label is null are unlabelled history)."""

    @abstractmethod
    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Score `frame`: one row per input row (same index), columns as the learner names them (`probability`...)."""

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """What moved each score: one row per input row, one column per input, signed, in the unit of the score."""
        raise NotImplementedError(f"{type(self).__name__} gives no contributions")

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write to `folder` (it exists) in formats that execute nothing when read: JSON, safetensors, native ones."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
