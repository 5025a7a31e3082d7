"""Logistic regression on TF-IDF of words and of letters: the strong simple classifier of texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from training.learners.text import Floats, TextLearner

ABSENT = -20.0  # logit of a class that training did not hold
# one and two words; three to five letters inside words, so that "BigQuery" and "Big Query" are alike
KINDS: dict[str, dict[str, Any]] = {
    "words": {"ngram_range": (1, 2), "sublinear_tf": True},
    "letters": {"analyzer": "char_wb", "ngram_range": (3, 5), "sublinear_tf": True},
}


class TfidfLogistic(TextLearner):
    """Multinomial logistic regression (L2, `strength` is the inverse of the penalty) on TF-IDF of the text.

    Saved as vocabularies (JSON) and arrays (safetensors).
    """

    FILE, ARRAYS = "tfidf.json", "tfidf.safetensors"

    def __init__(self, texts: Sequence[str], lists: Sequence[str] = (), strength: float = 20.0, seed: int = 0) -> None:
        super().__init__(texts, lists, seed)
        self.strength = strength
        self.vectorizers: dict[str, Any] = {}
        self.weights: Floats = np.empty((0, 0))  # features × classes
        self.bias: Floats = np.empty(0)

    def train(self, texts: list[str], y: npt.NDArray[np.int64]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        self.vectorizers = {name: TfidfVectorizer(**options).fit(texts) for name, options in KINDS.items()}
        fitted = LogisticRegression(C=self.strength, max_iter=500).fit(self._features(texts), y)
        two = len(fitted.classes_) == 2  # then there is one row, of the second class
        rows = np.concatenate([-fitted.coef_, fitted.coef_]) / 2 if two else fitted.coef_
        bias = np.concatenate([-fitted.intercept_, fitted.intercept_]) / 2 if two else fitted.intercept_
        self.weights = np.zeros((rows.shape[1], len(self.classes)))
        self.bias = np.full(len(self.classes), ABSENT)
        self.weights[:, fitted.classes_], self.bias[fitted.classes_] = rows.T, bias

    def logits(self, texts: list[str]) -> Floats:
        if not texts:
            return np.empty((0, len(self.classes)))
        return np.asarray(self._features(texts) @ self.weights + self.bias)

    def config(self) -> dict[str, Any]:
        return super().config() | {"strength": self.strength}

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        arrays = {"weights": self.weights, "bias": self.bias}
        vocabularies = {}
        for name, vectorizer in self.vectorizers.items():
            vocabularies[name] = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.get)
            arrays[f"idf_{name}"] = vectorizer.idf_
        save_file(arrays, folder / self.ARRAYS)
        (folder / self.FILE).write_text(json.dumps(self.content() | {"features": vocabularies}))

    @classmethod
    def load(cls, folder: Path) -> Self:
        from safetensors.numpy import load_file
        from sklearn.feature_extraction.text import TfidfVectorizer

        content, arrays = json.loads((folder / cls.FILE).read_text()), load_file(folder / cls.ARRAYS)
        learner = cls.restored(content)
        learner.weights, learner.bias = arrays["weights"], arrays["bias"]
        for name, features in content["features"].items():
            vectorizer = TfidfVectorizer(**KINDS[name], vocabulary={term: n for n, term in enumerate(features)})
            vectorizer.idf_ = arrays[f"idf_{name}"]
            learner.vectorizers[name] = vectorizer
        return learner

    def _features(self, texts: list[str]) -> Any:
        from scipy.sparse import hstack

        return hstack([vectorizer.transform(texts) for vectorizer in self.vectorizers.values()]).tocsr()
