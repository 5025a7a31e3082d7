"""What classifiers of texts share: one cleaned text from the columns of a row, and what each word did to the answer."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from infra.errors import DataError
from training.learner import Learner

Floats = npt.NDArray[np.float64]

CLASS = "p:"  # prefix of the scores' columns: `p:<class>`
WORD = re.compile(r"\w[\w'.-]*\w|\w\w")
WORDS = 60  # of one text that are explained
LONGEST = 20_000  # characters of one text that are read
LINES = 20  # newest of each list column that are read
_DAY = r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
# dates, times and links name no cause; the sentences that announce the next message are the same in all of them
_NOISE = re.compile(
    r"\(?https?://\S+"
    rf"|(?:(?:starting|beginning)\s*)?(?:\b(?:at|on)\s+)?{_DAY},?\s+\d{{4}}-\d\d-\d\d[\d :APM]*(?:US/Pacific)?"
    r"|\b\d{1,2}:\d\d(?: [AP]M)?(?: P[SD]T| US/Pacific| UTC)?"
    r"|\b(?:We will provide|We'll provide|For everyone who|We apologize|Our engineering team continues"
    r"|We do not have an ETA|For regular status|No further updates|Please view all status|For further updates)"
    r"[^\n]*?(?=\n|\. |$)\.?"
    r"|\b(?:Diagnosis|Workaround): (?:None|No workaround)[^\n]*"
)


class TextLearner(Learner):
    """A classifier of texts into the classes of its training.

    The text of a row is its `texts` columns (null: nothing) and the newest entries of its `lists` columns. `predict`
    gives a column `p:<class>` for each class, and `words`: how many words of the text were in training. Contributions
    are occlusions: what the log-odds of the predicted class lose when the text lacks the word (Zeiler & Fergus,
    "Visualizing and Understanding Convolutional Networks", ECCV 2014, for pixels).
    """

    def __init__(self, texts: Sequence[str], lists: Sequence[str] = (), seed: int = 0) -> None:
        self.texts, self.lists, self.seed = list(texts), list(lists), seed
        self.classes: list[str] = []
        self.vocabulary: set[str] = set()

    @abstractmethod
    def train(self, texts: list[str], y: npt.NDArray[np.int64]) -> None:
        """Learn the numbers of the classes; rows are in the order of time."""

    @abstractmethod
    def logits(self, texts: list[str]) -> Floats:
        """Texts × classes: log-probabilities up to a constant of each text."""

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        rows = frame[frame[label].notna()].sort_values("time", kind="stable")
        self.classes = sorted(map(str, rows[label].unique()))
        if len(self.classes) < 2:
            raise DataError(f"{label}: rows of two classes are needed to learn, got {self.classes or 'none'}")
        texts = self.read(rows)
        self.vocabulary = {word for text in texts for word in found_words(text)}
        self.train(texts, np.searchsorted(self.classes, rows[label].astype(str).to_numpy()))
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        texts, place = distinct(self.read(frame))
        known = np.array([len(self.vocabulary & found_words(text)) for text in texts], dtype=float)
        columns = [f"{CLASS}{name}" for name in self.classes]
        scores = pd.DataFrame(softmax(self.logits(texts))[place], index=frame.index, columns=columns)
        return scores.assign(words=known[place])

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A column for each word (`word <word>`), null in the rows that lack it."""
        rows = []
        for text in self.read(frame):
            words = sorted(found_words(text))[:WORDS]
            scores = self.occluded(text, words)
            best = int(scores[0].argmax())
            odds = scores[:, best] - _logsumexp(np.delete(scores, best, axis=1))
            rows.append({f"word {word}": odds[0] - odd for word, odd in zip(words, odds[1:], strict=True)})
        return pd.DataFrame(rows, index=frame.index, dtype=float)

    def occluded(self, text: str, words: list[str]) -> Floats:
        """(1 + words) × classes: `logits` of the text, and of it without each of the words."""
        return self.logits([text, *(_without(text, word) for word in words)])

    def read(self, frame: pd.DataFrame) -> list[str]:
        """The text of each row."""
        columns = [frame[name].to_list() for name in (*self.texts, *self.lists)]
        raw = [self._one(values)[:LONGEST] for values in zip(*columns, strict=True)]
        cleaned = {text: clean(text) for text in dict.fromkeys(raw)}
        return [cleaned[text] for text in raw]

    def config(self) -> dict[str, Any]:
        """The keyword arguments that make this learner again."""
        return {"texts": self.texts, "lists": self.lists, "seed": self.seed}

    def content(self) -> dict[str, Any]:
        """What `restored` reads: configuration, classes and the words of training."""
        return {"config": self.config(), "classes": self.classes, "vocabulary": sorted(self.vocabulary)}

    @classmethod
    def restored(cls, content: dict[str, Any]) -> Self:
        """The learner of `content`, still without what it learnt."""
        learner = cls(**content["config"])
        learner.classes, learner.vocabulary = content["classes"], set(content["vocabulary"])
        return learner

    def _one(self, values: Sequence[Any]) -> str:
        parts: list[str] = []
        for text in values[: len(self.texts)]:
            if isinstance(text, str) and not any(text in part for part in parts):
                parts.append(text)
        for lines in values[len(self.texts) :]:
            if isinstance(lines, (list, np.ndarray)):
                parts += dict.fromkeys(map(str, lines[-LINES:]))
        return "\n".join(parts)


def clean(text: str) -> str:
    """`text` without what says nothing about its class: dates, times, links, announcements of the next message."""
    return " ".join(_NOISE.sub(" ", text).split())


def found_words(text: str) -> set[str]:
    """The words of at least two characters, in lower case."""
    return {match.lower() for match in WORD.findall(text)}


def distinct(texts: list[str]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The different texts, and the place of each text among them: repeated texts are computed once."""
    places = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return list(places), np.array([places[text] for text in texts], dtype=np.int64)


def softmax(logits: Floats) -> Floats:
    """Probabilities of each row."""
    return np.asarray(np.exp(logits - _logsumexp(logits)[:, None]))


def log_softmax(logits: Floats) -> Floats:
    """Log-probabilities of each row."""
    return np.asarray(logits - _logsumexp(logits)[:, None])


def _logsumexp(x: Floats) -> Floats:
    top = x.max(axis=1, initial=-np.inf)
    return np.asarray(top + np.log(np.exp(x - top[:, None]).sum(axis=1)))


def _without(text: str, word: str) -> str:
    return " ".join(WORD.sub(lambda match: "" if match[0].lower() == word else match[0], text).split())
