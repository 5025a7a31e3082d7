"""BERT and TF-IDF together, with an index of past texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from infra.errors import DataError
from training.learners.bert import CHECKPOINT, Bert
from training.learners.text import Floats, TextLearner, distinct, log_softmax
from training.learners.tfidf import TfidfLogistic

NEWEST = 0.25  # share of the training rows, the newest, on which weight and temperature are found
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
TEMPERATURES = np.geomspace(1, 3, 15)  # never surer than the parts: the newest quarter may be few rows
FLOOR = -12.0  # of a log-probability, so that one class that a part has never seen does not decide alone
CELLS = 10_000_000  # pairs of a row and a past text that are compared at once
SHOWN = 300  # characters of a past text that are kept


class TextsWithIndex(TextLearner):
    """A logarithmic opinion pool of `Bert` and `TfidfLogistic` (Heskes, NeurIPS 1997), and the nearest past texts.

    The weight of BERT and the temperature (Guo et al., ICML 2017) have the least log-loss on the newest quarter of the
    training rows, scored by parts that learnt from the older ones; then both parts learn from all. The index holds
    every training row, labelled or not: exact inner products of BERT's pretrained embeddings (faiss).

    `predict` adds `similar` and `similarity`: ids and cosines of the `nearest` texts that were known before the row.
    """

    FILE, INDEX = "pool.json", "texts.faiss"

    def __init__(
        self,
        texts: Sequence[str],
        lists: Sequence[str] = (),
        entity: str = "id",
        nearest: int = 5,
        checkpoint: str = CHECKPOINT,
        tuned: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(texts, lists, seed)
        self.entity, self.nearest, self.checkpoint, self.tuned = entity, nearest, checkpoint, tuned
        self.bert = Bert(texts, lists, checkpoint=checkpoint, tuned=tuned, seed=seed)
        self.tfidf = TfidfLogistic(texts, lists, seed=seed)
        self.weight, self.temperature = 0.5, 1.0
        self.past: dict[str, list[Any]] = {}
        self.index: Any = None

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        super().fit(frame, label)
        rows = frame.sort_values(["time", self.entity], kind="stable")
        texts = self.read(rows)
        self.past = {
            "id": rows[self.entity].astype(str).to_list(),
            "time": _microseconds(rows["time"]).tolist(),
            "text": [text[:SHOWN] for text in texts],
            "label": [None if pd.isna(value) else str(value) for value in rows[label]],
        }
        self.index = _index(self.bert.embed(texts))
        return self

    def train(self, texts: list[str], y: npt.NDArray[np.int64]) -> None:
        parts: tuple[TextLearner, ...] = (self.bert, self.tfidf)
        for part in parts:
            part.classes, part.vocabulary = self.classes, self.vocabulary
        older = len(texts) - int(NEWEST * len(texts))
        judged = np.flatnonzero(np.isin(y, y[:older]) & (np.arange(len(y)) >= older))
        if len(judged) >= len(self.classes) and len(set(y[:older].tolist())) > 1:
            for part in parts:
                part.train(texts[:older], y[:older])
            self._pool([texts[i] for i in judged], y[judged])
        for part in parts:
            part.train(texts, y)

    def logits(self, texts: list[str]) -> Floats:
        return self._pooled(self.bert.logits(texts), self.tfidf.logits(texts))

    def occluded(self, text: str, words: list[str]) -> Floats:
        return self._pooled(self.bert.occluded(text, words), self.tfidf.occluded(text, words))

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        step = max(1, CELLS // max(self.index.ntotal, 1))
        starts = range(0, max(len(frame), 1), step)
        parts = [self._similar(frame.iloc[start : start + step]) for start in starts]
        return super().predict(frame).join(pd.concat(parts))

    def recall(self, entity: str) -> dict[str, Any]:
        """What is kept of the past row `entity`: id, time (UTC), text, label. Raises DataError."""
        if entity not in self.past["id"]:
            raise DataError(f"{entity!r} is not in the index")
        row = self.past["id"].index(entity)
        kept = {name: values[row] for name, values in self.past.items()}
        return kept | {"time": pd.Timestamp(kept["time"], unit="us", tz="UTC")}

    def config(self) -> dict[str, Any]:
        names = ("entity", "nearest", "checkpoint", "tuned")
        return super().config() | {name: getattr(self, name) for name in names}

    def save(self, folder: Path) -> None:
        import faiss

        for part in (self.bert, self.tfidf):
            part.save(folder)
        faiss.write_index(self.index, str(folder / self.INDEX))
        content = {"past": self.past, "weight": self.weight, "temperature": self.temperature}
        (folder / self.FILE).write_text(json.dumps(self.content() | content))

    @classmethod
    def load(cls, folder: Path) -> Self:
        import faiss

        content = json.loads((folder / cls.FILE).read_text())
        learner = cls.restored(content)
        learner.bert, learner.tfidf = Bert.load(folder), TfidfLogistic.load(folder)
        learner.weight, learner.temperature = content["weight"], content["temperature"]
        learner.past, learner.index = content["past"], faiss.read_index(str(folder / cls.INDEX))
        return learner

    def _similar(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The nearest texts that were known before each row; the whole index is searched, as time is no part of it."""
        texts, place = distinct(self.read(frame))
        known, found = np.array(self.past["time"]), []
        cosines, order = self.index.search(self.bert.embed(texts), self.index.ntotal)
        for row, now in zip(place, _microseconds(frame["time"]), strict=True):
            before = np.flatnonzero(known[order[row]] < now)[: self.nearest]
            ids = [self.past["id"][past] for past in order[row][before]]
            found.append({"similar": ids, "similarity": cosines[row][before].astype(float).tolist()})
        return pd.DataFrame(found, index=frame.index, columns=["similar", "similarity"])

    def _pool(self, texts: list[str], y: npt.NDArray[np.int64]) -> None:
        """Choose weight and temperature; of equal losses the first."""
        parts, rows = (self.bert.logits(texts), self.tfidf.logits(texts)), np.arange(len(y))
        losses = {}
        for self.weight in WEIGHTS:
            for self.temperature in map(float, TEMPERATURES):
                losses[self.weight, self.temperature] = -log_softmax(self._pooled(*parts))[rows, y].mean()
        self.weight, self.temperature = min(losses, key=lambda key: losses[key])

    def _pooled(self, bert: Floats, tfidf: Floats) -> Floats:
        one, other = (np.maximum(log_softmax(part), FLOOR) for part in (bert, tfidf))
        return np.asarray((self.weight * one + (1 - self.weight) * other) / self.temperature)


def _index(vectors: npt.NDArray[np.float32]) -> Any:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def _microseconds(times: pd.Series) -> npt.NDArray[np.int64]:
    return np.asarray(pd.to_datetime(times, utc=True).dt.as_unit("us").astype("int64"), dtype=np.int64)
