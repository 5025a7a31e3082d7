"""The rule that anybody would try on texts: a class is what its keywords say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from training.learners.text import Floats, TextLearner


class Keywords(TextLearner):
    """The class whose keyword comes first in the text; the most frequent class of training where none comes.

    `keywords`: class → words or phrases; a class without an entry is called by its own name. The probability of the
    call is how often it was right in training.
    """

    FILE = "keywords.json"

    def __init__(
        self,
        texts: Sequence[str],
        lists: Sequence[str] = (),
        keywords: Mapping[str, Sequence[str]] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(texts, lists, seed)
        self.keywords = {name: list(words) for name, words in (keywords or {}).items()}
        self.state: dict[str, Any] = {"fallback": 0, "right": 0.5}

    def train(self, texts: list[str], y: npt.NDArray[np.int64]) -> None:
        self.state["fallback"] = int(np.bincount(y, minlength=len(self.classes)).argmax())
        right = np.mean(self._called(texts) == y)
        self.state["right"] = float(np.clip(right, 1 / len(self.classes), 0.99))

    def logits(self, texts: list[str]) -> Floats:
        right, others = self.state["right"], (1 - self.state["right"]) / max(len(self.classes) - 1, 1)
        scores = np.full((len(texts), len(self.classes)), np.log(max(others, 1e-9)))
        scores[np.arange(len(texts)), self._called(texts)] = np.log(right)
        return scores

    def config(self) -> dict[str, Any]:
        return super().config() | {"keywords": self.keywords}

    def save(self, folder: Path) -> None:
        (folder / self.FILE).write_text(json.dumps(self.content() | {"state": self.state}))

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / cls.FILE).read_text())
        learner = cls.restored(content)
        learner.state = content["state"]
        return learner

    def _called(self, texts: list[str]) -> npt.NDArray[np.int64]:
        return np.array([self._call(f" {text.lower()} ") for text in texts], dtype=np.int64)

    def _call(self, text: str) -> int:
        found = []
        for number, name in enumerate(self.classes):
            places = [text.find(word.lower()) for word in self.keywords.get(name, [name])]
            found += [(place, number) for place in places if place >= 0]
        return min(found)[1] if found else self.state["fallback"]
