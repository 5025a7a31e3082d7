"""A frame of numbers, words and one text → one matrix, the same for training and for asking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

FEWEST = 3  # rows that a word must have in training to be one of the known
MOST = 100  # known words of one column
BUCKETS = 256  # that the n-grams of a text are hashed into
LENGTHS = (1, 2, 3)  # of the n-grams, in bytes
_PRIME = 2654435761  # Knuth, The Art of Computer Programming 3, 6.4: multiplicative hashing
# characters counted in a text: what attacks are written with
GROUPS = {
    "letters": "abcdefghijklmnopqrstuvwxyz",
    "digits": "0123456789",
    "spaces": " \t\r\n+",
    "quotes": "'\"`",
    "brackets": "()[]{}",
    "angles": "<>",
    "separators": ";|&",
    "operators": "=#*%!^~-",
    "path": "./\\",
}
_GROUP = np.full(256, len(GROUPS))
for _number, _characters in enumerate(GROUPS.values()):
    _GROUP[list(_characters.encode())] = _number


class Encoder:
    """Numbers as log(1 + x), null as the training median; words one column each, one more for "never seen".

    A text becomes counts of character groups, its length, and hashed n-grams of its bytes (Weinberger et al., Feature
    hashing, ICML 2009), in time linear in its length. `state` is JSON-able.
    """

    def __init__(self, numbers: Sequence[str], words: Sequence[str], text: str | None) -> None:
        self.numbers, self.words, self.text = list(numbers), list(words), text
        self.state: dict[str, Any] = {}

    def fit(self, frame: pd.DataFrame) -> Encoder:
        """Remember which columns are measured, medians and known words."""
        measured = [name for name in self.numbers if frame[name].notna().any()]
        self.state = {
            "medians": {name: float(frame[name].median()) for name in measured},
            "words": {name: _known(frame[name]) for name in self.words if frame[name].notna().any()},
            "text": bool(self.text and frame[self.text].notna().any()),
            "always": [name for name in self._columns() if frame[name].notna().all()],
        }
        return self

    @property
    def inputs(self) -> list[str]:
        """For each column of the matrix, the input that it is made from."""
        found = list(self.state["medians"])
        for name, known in self.state["words"].items():
            found += [name] * (len(known) + 1)
        if self.state["text"]:
            found += [f"{self.text}: {group}" for group in GROUPS] + [f"{self.text}: length"]
            found += [str(self.text)] * BUCKETS
        return found

    def __call__(self, frame: pd.DataFrame) -> Floats:
        """Rows × columns."""
        medians: Mapping[str, float] = self.state["medians"]
        numbers = frame[list(medians)].to_numpy(dtype=float, na_value=np.nan)
        blocks = [np.log1p(np.where(np.isnan(numbers), np.array(list(medians.values())), numbers))]
        for name, known in self.state["words"].items():
            codes = pd.Categorical(frame[name], categories=known).codes  # -1: never seen
            blocks.append((codes[:, None] == np.append(np.arange(len(known)), -1)).astype(float))
        if self.state["text"]:
            blocks.append(np.array([_signs(text) for text in frame[self.text]]).reshape(len(frame), -1))
        return np.hstack(blocks)

    def lacking(self, frame: pd.DataFrame) -> list[str]:
        """For each row the inputs that are null and never were in training, comma-separated."""
        always = self.state["always"]
        null = frame[always].isna().to_numpy()
        return [", ".join(np.array(always)[row]) if row.any() else "" for row in null]

    def _columns(self) -> list[str]:
        return [*self.numbers, *self.words, *([self.text] if self.text else [])]


def _known(column: pd.Series) -> list[str]:
    counts = column.value_counts()
    return sorted(counts[counts >= FEWEST].index[:MOST])


def _signs(text: object) -> Floats:
    """Group counts, length, n-gram counts; all as log(1 + count). Both cases are one; null is ''."""
    known = text if isinstance(text, str) else ""
    raw = np.frombuffer(b"\x02" + known.lower().encode() + b"\x03", dtype=np.uint8).astype(np.uint64)
    groups = np.bincount(_GROUP[raw], minlength=len(GROUPS) + 1)[:-1]
    grams = np.zeros(BUCKETS)
    value = np.zeros(len(raw), dtype=np.uint64)
    for length in LENGTHS:
        value = value[: len(raw) - length + 1] * np.uint64(257) + raw[length - 1 :]
        hashed = (value + np.uint64(length)) * np.uint64(_PRIME) % np.uint64(2**32) >> np.uint64(16)
        grams += np.bincount((hashed % np.uint64(BUCKETS)).astype(int), minlength=BUCKETS)
    return np.asarray(np.log1p(np.concatenate([groups, [len(raw) - 2], grams])))
