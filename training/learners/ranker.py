"""Which node of a graph is the one looked for: several scorers, blended and calibrated on rows they have not seen."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from infra.errors import DataError, nearest
from training.learner import Learner
from training.learners._odds import log_odds
from training.learners.graphs import AT, MARKS, NODES, Encoded, Encoder, Floats, Graphs, Ints, places
from training.learners.scorers import SCORERS, Scorer, softmax

TOP = 5  # places of the ranking that get columns of their own
CHUNK = 500  # rows encoded at once
EXPLAINED = 50  # rows explained at once; each is scored for every group of its marks
LEAST = 10  # labelled rows to learn from
KNOWN = 20  # labelled rows from which a population is known


class NodeRanker(Learner):
    """Ranks the nodes of each row; `predict` says how likely each of them is.

    Rows of populations that training had at least `KNOWN` of are scored by the blend of `scorers`, all others by
    `unknown` (None: by the blend, too). The parts of `unknown` are whole populations: what calibrates it was not seen.

    Rows are dealt into `folds` parts. For each part a member of every scorer learns from the other parts and scores
    this one; those scores give the weights of the blend, which minimise the log loss (one weight per scorer: blend
    and temperature in one; Guo et al., ICML 2017). All members together, averaged, predict.

    `predict` gives `order` (positions, most likely first) and `probability` (same order), `top_1` … `top_5` (names),
    `confidence` (probability of the first, calibrated) and `evidence` (number of marks in the row).
    """

    FILE = "ranker.json"

    def __init__(
        self, scorers: Sequence[str], groups: Sequence[str], unknown: str | None = None, folds: int = 5, seed: int = 0
    ) -> None:
        wanted = [*scorers, *([unknown] if unknown else [])]
        if wrong := [name for name in wanted if name not in SCORERS]:
            raise DataError(f"no scorer {wrong[0]!r}{nearest(wrong[0], SCORERS)}; scorers: {', '.join(SCORERS)}")
        self.config: dict[str, Any] = {"scorers": list(scorers), "groups": list(groups), "unknown": unknown}
        self.config |= {"folds": folds, "seed": seed}
        self.encoder = Encoder(groups)
        self.members: dict[str, list[Scorer]] = {}
        self.weights: dict[str, float] = {}
        self.known: list[str] = []  # populations

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        known = frame[frame[label].notna()]
        roots = places(known, label)
        folds, seed = self.config["folds"], self.config["seed"]
        if (roots >= 0).sum() < max(LEAST, folds):
            raise DataError(f"{label}: {(roots >= 0).sum()} rows name one of their nodes; at least {LEAST} are needed")
        parts = np.random.default_rng(seed).permutation(len(known)) % folds
        rows = self.encoder.learn(Graphs.of(known), roots, parts)
        held_out = {}
        for name in self.config["scorers"]:
            self.members[name], held_out[name] = _crossed(name, rows, roots, parts, self.encoder, seed)
        self.weights = _blend(held_out, rows.starts, roots)
        names, population, count = np.unique(
            rows.graphs.population.astype(str), return_inverse=True, return_counts=True
        )
        self.known = names[count >= KNOWN].tolist()
        if unknown := self.config["unknown"]:
            whole = population if len(names) > 1 else parts
            self.members[unknown], scores = _crossed(unknown, rows, roots, whole, self.encoder, seed)
            self.weights |= _blend({unknown: scores}, rows.starts, roots)
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        starts = range(0, max(len(frame), 1), CHUNK)
        return pd.concat([self._scores(frame.iloc[start : start + CHUNK]) for start in starts])

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """By how much each group of marks at the likeliest node raises the log-odds that it is the one.

        A column is `<group> at <node>`; its value is the fall of the log-odds when the marks of this group at this
        node are taken away, all else equal.
        """
        starts = range(0, len(frame), EXPLAINED)
        effects = [effect for start in starts for effect in self._effects(frame.iloc[start : start + EXPLAINED])]
        return pd.DataFrame(effects, index=frame.index, dtype=float)

    def save(self, folder: Path) -> None:
        content: dict[str, Any] = {"config": self.config, "encoder": self.encoder.state, "weights": self.weights}
        content |= {"known": self.known, "members": {name: len(members) for name, members in self.members.items()}}
        (folder / self.FILE).write_text(json.dumps(content, indent=1))
        for name, members in self.members.items():
            for number, member in enumerate(members):
                member.save(folder, f"{name}-{number}")

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / cls.FILE).read_text())
        learner = cls(**content["config"])
        learner.encoder.state, learner.weights = content["encoder"], content["weights"]
        learner.known = content["known"]
        for name, count in content["members"].items():
            learner.members[name] = [SCORERS[name]().load(folder, f"{name}-{number}") for number in range(count)]
        return learner

    def _probability(self, graphs: Graphs) -> Floats:
        rows, unknown = self.encoder.encode(graphs), self.config["unknown"]
        known = np.isin(graphs.population.astype(str), self.known) | (unknown is None)
        found = np.empty(graphs.count)
        for names, which in ((self.config["scorers"], known), ([unknown], ~known)):
            if which.any():
                found[which[graphs.row]] = self._blended(rows.take(np.flatnonzero(which)), names)
        return found

    def _blended(self, rows: Encoded, names: Sequence[str]) -> Floats:
        blended = np.zeros(len(rows.x))
        for name in names:
            logs = [np.log(softmax(member.score(rows), rows.starts) + 1e-12) for member in self.members[name]]
            blended += self.weights[name] * np.mean(logs, axis=0)
        return softmax(blended, rows.starts)

    def _scores(self, frame: pd.DataFrame) -> pd.DataFrame:
        graphs = Graphs.of(frame)
        probability = np.split(self._probability(graphs), graphs.starts[1:-1])
        orders = [np.argsort(-p, kind="stable") for p in probability[: len(frame)]]
        found = pd.DataFrame(index=frame.index)
        found["order"] = pd.Series([order.tolist() for order in orders], frame.index, dtype=object)
        ranked = [p[order].tolist() for p, order in zip(probability, orders, strict=False)]
        found["probability"] = pd.Series(ranked, frame.index, dtype=object)
        for place in range(TOP):
            names = [nodes[o[place]] if len(o) > place else None for nodes, o in zip(frame[NODES], orders, strict=True)]
            found[f"top_{place + 1}"] = pd.Series(names, frame.index, dtype=object)
        found["confidence"] = [p[0] if p else 0.0 for p in ranked]
        found["evidence"] = frame[MARKS].map(len).astype(float)
        return found

    def _effects(self, frame: pd.DataFrame) -> list[dict[str, float]]:
        """One mapping per row; every row is scored whole, and once without each group of marks at its first node."""
        graphs = Graphs.of(frame)
        whole = np.split(self._probability(graphs), graphs.starts[1:-1])
        asked, without = [], []
        for number, (marks, at, p) in enumerate(zip(frame[MARKS], frame[AT], whole, strict=False)):
            first = int(p.argmax()) if len(p) else -1
            group = np.array([str(mark).partition(":")[0] for mark in marks], dtype=object)
            here = np.asarray(at, dtype=float) == first
            for each in dict.fromkeys(group[here]):
                kept = np.flatnonzero(~(here & (group == each)))
                asked.append((number, first, each))
                without.append(([marks[n] for n in kept], [at[n] for n in kept]))
        effects: list[dict[str, float]] = [{} for _ in range(len(frame))]
        if not asked:
            return effects
        rows = frame.iloc[[number for number, _, _ in asked]].reset_index(drop=True)
        fewer, places_of = (pd.Series(list(part), dtype=object) for part in zip(*without, strict=True))
        graphs = Graphs.of(rows.assign(**{MARKS: fewer, AT: places_of}))
        less = np.split(self._probability(graphs), graphs.starts[1:-1])
        for (number, first, each), p in zip(asked, less, strict=True):
            name = f"{each} at {frame[NODES].iloc[number][first]}"
            effects[number][name] = _log_odds(whole[number][first]) - _log_odds(p[first])
        return effects


def _crossed(
    name: str, rows: Encoded, roots: Ints, parts: Ints, encoder: Encoder, seed: int
) -> tuple[list[Scorer], Floats]:
    """A member per part that has not learnt from it, and the log-probabilities that it gives to that part."""
    members, held_out = [], np.zeros(len(rows.x))
    owner = np.repeat(parts, np.diff(rows.starts))
    for part in range(parts.max() + 1):
        learnt, left = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
        member = SCORERS[name]().fit(rows.take(learnt), roots[learnt], encoder, seed * 100 + part)
        again = rows.take(left)
        held_out[owner == part] = np.log(softmax(member.score(again), again.starts) + 1e-12)
        members.append(member)
    return members, held_out


def _blend(held_out: dict[str, Floats], starts: Ints, roots: Ints) -> dict[str, float]:
    """The weights that minimise the log loss of the blended probabilities."""
    from scipy.optimize import minimize

    scores = np.stack(list(held_out.values()))
    wanted = (starts[:-1] + roots)[roots >= 0]

    def loss(weights: Floats) -> float:
        return float(-np.log(softmax(weights @ scores, starts)[wanted] + 1e-12).mean())

    start = np.full(len(scores), 1 / len(scores))
    best = minimize(loss, start, method="L-BFGS-B", bounds=[(0.0, 5.0)] * len(scores)).x
    return {name: float(weight) for name, weight in zip(held_out, best, strict=True)}


def _log_odds(p: float) -> float:
    return float(log_odds(min(max(float(p), 1e-9), 1 - 1e-9)))
