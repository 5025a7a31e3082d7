"""Several opinions on whether a row is an attack, combined so that attacks of types never seen stand out as well.

The label is a text: the name for benign, a type, or `type/name`. The opinions (`training.learners._suspicion`) are
combined (`training.learners._fuse`) on inner folds; in each, a share of all rows *and whole attacks* are held out:

    probability  of an attack like those known: stacked generalisation (Wolpert, Neural Networks 1992), calibrated
    suspicion    Σ weight · -log(share of benign rows at least as suspicious): Fisher's combination of p-values, with
                 weights ≥ 0 for which half of the evidence is attacks that nothing was learnt of
    threshold    of the probability: fewest errors
    watch        of the suspicion: with it, at most `budget` of the held-out benign rows reach either

Traffic changes, so benign rows that came last (by `order`) weigh more, the budget must hold on them alone as well, and
rows are held out in stretches of that order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from infra.errors import DataError
from training.learner import Learner
from training.learners._encode import Encoder
from training.learners._fuse import Fuse
from training.learners._suspicion import OPINIONS, Floats, Ints, Network, Opinion

Bools = npt.NDArray[np.bool_]

INNER = 3  # inner folds
MOST = 8_000  # rows learnt from in an inner fold
LAST, LAST_WEIGHT = 0.1, 5.0  # share of benign rows that came last, and how much more each of them counts
STRETCHES = 60  # that rows with an order are held out in
FEWEST = 20  # rows of each class


class HeldOut(NamedTuple):
    """Rows scored by opinions that have not seen them; `new`: nor anything of their attack."""

    scores: Floats  # rows × opinions
    row: Ints
    new: Bools


class Fusion(Learner):
    """`predict`: the four above, `type` (the likeliest), `type_probability`, and `lacking`.

    `numbers`, `words`, `text`: the inputs, as far as they are measured; `order`: column of times. `lacking`: inputs
    that are null in the row and never were in training, comma-separated.
    """

    FILE = "fusion.json"

    def __init__(
        self,
        numbers: Sequence[str],
        words: Sequence[str] = (),
        text: str | None = None,
        order: str = "time",
        benign: str = "none",
        opinions: Sequence[str] = tuple(OPINIONS),
        budget: float = 0.05,
        seed: int = 0,
    ) -> None:
        self.numbers, self.words, self.text, self.order, self.benign = list(numbers), list(words), text, order, benign
        self.opinions, self.budget, self.seed = list(opinions), budget, seed
        self.encoder = Encoder(self.numbers, self.words, self.text)
        self.types: list[str] = []
        self.fuse = Fuse()
        self.parts: list[Opinion] = []

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        rows = frame[frame[label].notna()].reset_index(drop=True)
        attack = (rows[label] != self.benign).to_numpy()
        if (fewest := min(attack.sum(), (~attack).sum())) < FEWEST:
            raise DataError(f"{label}: {FEWEST} benign rows and {FEWEST} attacks are needed to learn, got {fewest}")
        self.types, types = typed(rows[label], self.benign)
        last = _last(rows[self.order], attack)
        weight = np.where(last, LAST_WEIGHT, 1.0)
        x = self.encoder.fit(rows)(rows)
        held = self._held_out(x, types, weight, rows[label].to_numpy(), _stretches(rows[self.order]))
        groups = rows[label].to_numpy()[held.row]
        self.fuse.fit(held.scores, attack[held.row], held.new, groups, last[held.row])
        self.fuse.decide(held.scores, attack[held.row], held.new, last[held.row], self.budget)
        self.parts = self._learn(x, types, weight)
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        x = self.encoder(frame)
        opinions = self._scores(self.parts, x)
        probability = self.fuse.probability(opinions)
        of_type = self._types(x) * probability[:, None]
        found = {"probability": probability, "suspicion": self.fuse.suspicion(opinions)}
        scores = pd.DataFrame(found, index=frame.index)
        scores["threshold"], scores["watch"] = self.fuse.threshold, self.fuse.watch
        scores["type"] = np.array(self.types, dtype=object)[of_type.argmax(axis=1)]
        scores["type_probability"] = of_type.max(axis=1)
        scores["lacking"] = self.encoder.lacking(frame)
        return scores

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Each opinion's weighted surprise, shared among the inputs by what speaks for and against it there."""
        x = self.encoder(frame)
        surprise = self.fuse.weighted(self._scores(self.parts, x))
        total = np.zeros_like(x)
        for number, part in enumerate(self.parts):
            effects = part.effects(x)
            size = np.maximum(np.abs(effects).sum(axis=1, keepdims=True), 1e-12)
            total += surprise[:, [number]] * effects / size
        by_input = pd.DataFrame(total.T).groupby(self.encoder.inputs, sort=False).sum().T
        return by_input.set_axis(frame.index)

    def _held_out(self, x: Floats, types: Ints, weight: Floats, names: Any, order: Ints) -> HeldOut:
        """Every row scored as one like others, and every attack also as one of an attack never seen."""
        found = []
        for learnt, known, new in _inner(types, names, order, self.seed):
            parts = self._learn(x[learnt], types[learnt], weight[learnt])
            for rows, is_new in ((known, False), (new, True)):
                if len(rows):
                    found.append(HeldOut(self._scores(parts, x[rows]), rows, np.full(len(rows), is_new)))
        return HeldOut(*(np.concatenate(column) for column in zip(*found, strict=True)))

    def _learn(self, x: Floats, types: Ints, weight: Floats) -> list[Opinion]:
        return [OPINIONS[name]().fit(x, types, weight, self.seed) for name in self.opinions]

    @staticmethod
    def _scores(parts: list[Opinion], x: Floats) -> Floats:
        return np.stack([part.score(x) for part in parts], axis=1)

    def _types(self, x: Floats) -> Floats:
        """Probability of each type, given that it is an attack; all alike when nobody tells types."""
        networks = [part for part in self.parts if isinstance(part, Network)]
        found = networks[0].types(x)[:, 1:] if networks else np.ones((len(x), len(self.types)))
        return np.asarray((found + 1e-12) / (found + 1e-12).sum(axis=1, keepdims=True))

    def save(self, folder: Path) -> None:
        names = ("numbers", "words", "text", "order", "benign", "opinions", "budget", "seed")
        content = {
            "config": {name: getattr(self, name) for name in names},
            "encoder": self.encoder.state,
            "types": self.types,
            "fuse": self.fuse.state(),
        }
        (folder / self.FILE).write_text(json.dumps(content))
        for name, part in zip(self.opinions, self.parts, strict=True):
            part.save(folder / name)

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / cls.FILE).read_text())
        learner = cls(**content["config"])
        learner.encoder.state, learner.types = content["encoder"], content["types"]
        learner.fuse = Fuse(**content["fuse"])
        learner.parts = [OPINIONS[name].load(folder / name) for name in learner.opinions]
        return learner


def typed(labels: pd.Series, benign: str) -> tuple[list[str], Ints]:
    """The types of the attacks in `labels`, and each row's number among them: from 1, benign is 0."""
    kinds = labels.str.partition("/")[0].where(labels != benign)
    names = sorted(kinds.dropna().unique())
    return names, pd.Categorical(kinds, categories=names).codes.astype(np.int64) + 1


def _last(times: pd.Series, attack: Bools) -> Bools:
    """Benign rows that came last; all of them when there is no order."""
    benign = times[~attack]
    if benign.nunique() == 1:
        return ~attack
    return ~attack & (times >= benign.quantile(1 - LAST)).to_numpy()


def _stretches(times: pd.Series) -> Ints:
    """The stretch that each row lies in; without an order, each row is its own."""
    if times.nunique() == 1:
        return np.arange(len(times))
    return (times.rank(method="first").to_numpy() - 1).astype(int) // max(1, len(times) // STRETCHES)


def _inner(types: Ints, names: Any, stretch: Ints, seed: int) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Learnt rows, held-out rows of a kind that was learnt, held-out rows of attacks that nothing was learnt of."""
    random = np.random.default_rng(seed)
    fold = random.permutation(np.arange(stretch.max() + 1) % INNER)[stretch]
    attacks, counts = np.unique(names[types > 0], return_counts=True)
    order = attacks[np.argsort(-counts, kind="stable")]
    left_out = dict(zip(order, np.arange(len(order)) % INNER, strict=True)) if len(order) > 1 else {}
    group = np.array([left_out.get(name, -1) for name in names])
    for number in range(INNER):
        new = group == number
        learnt = np.flatnonzero((fold != number) & ~new)
        if len(learnt) > MOST:
            learnt = np.sort(random.choice(learnt, MOST, replace=False))
        if len(np.unique(types[learnt] > 0)) == 2:
            yield learnt, np.flatnonzero((fold == number) & ~new), np.flatnonzero(new)
