"""Which rules will an item break, and does it break any: boosted trees over (item, rule) pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from infra.errors import DataError
from training.learner import Learner
from training.learners._evidence import COLUMNS, Evidence, gather
from training.learners._odds import log_odds, logistic
from training.learners._pairs import NUMBERS, Floats, Ints, Pairs, Reader, Rules
from training.learners.binary import platt
from training.learners.boosted import LightTrees

SHOWN = 20  # rules named for one item, the most likely ones
BLOCK = 2000  # items made into pairs at once when scoring
PARTS = 4  # parts in time whose items are scored by trees that have not seen them
LOWEST, HIGHEST = 1e-6, 1 - 1e-6
PARAMS = {"num_leaves": 31, "lambda_l2": 5.0}
BROKEN = "broken"
EVIDENCE = "evidence.safetensors"
LENGTHS = ("facts_added", "facts_removed")
# what each column of a pair is read from, for explanations in the caller's terms
ORIGIN = {
    **dict.fromkeys(("after", "before", "grown", "kinds", "new_kinds"), "types_after"),
    **dict.fromkeys(("added", "log_odds", "strongest_for", "strongest_against"), "facts_added"),
    "removed": "facts_removed",
    **dict.fromkeys(("failed", "passing", "failed_share"), "failed_before"),
    **dict.fromkeys(("past_rate", "past_pairs"), "past_violations"),
    **{f"n_{name}": name for name in LENGTHS},
}


class RuleRanker(Learner):
    """LightGBM (Ke et al., NeurIPS 2017) on each pair of an item and a rule that applies to a kind it holds.

    The label is a text: the rules an item broke, joined by ';' (empty: none). Pairs are seen through counts
    (`_pairs`), past pairs of the rule (`_evidence`, taken from other parts in time while learning), and the columns
    `numbers` of the item. An item's risk is that of at least one broken rule, 1 - prod(1 - p), through Platt's sigmoid
    and with the threshold of the best F1, both from items that were not learnt from.

    `predict` gives `probability`, `threshold`, `known` (whether items of the same `group` were learnt from), `ranked`
    (the rules, most likely first) and `chances`.
    """

    FILE = "ranker.json"

    def __init__(
        self,
        rules: Mapping[str, Mapping[str, Any]],
        numbers: Sequence[str],
        group: str,
        rounds: int = 120,
        seed: int = 0,
    ) -> None:
        self.rules = {name: {"title": rule["title"], "kinds": list(rule["kinds"])} for name, rule in rules.items()}
        self.numbers, self.group, self.rounds, self.seed = list(numbers), group, rounds, seed
        self.book = Rules({name: rule["kinds"] for name, rule in self.rules.items()})
        self.reader = Reader(self.book, group)
        self.state: dict[str, Any] = {}
        self.evidence: Evidence | None = None
        self.trees = self._trees()

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        rows = frame[frame[label].notna()].sort_values("time", kind="stable").reset_index(drop=True)
        truth: Floats = np.asarray(rows[label] != "", dtype=np.float64)
        if len(np.unique(truth)) != 2:
            raise DataError(f"{label}: items that break a rule and items that break none are needed, got {len(rows)}")
        self.reader = Reader(self.book, self.group)
        pairs = self.reader.read(rows, learning=True)
        broken = broken_pairs(pairs, rows[label], self.book.names)
        part = pd.qcut(rows["time"].rank(method="dense"), PARTS, labels=False, duplicates="drop").to_numpy()
        table = self._table(pairs, self._others(pairs, broken, part[pairs.item]), rows).assign(broken=broken)
        margins = self._margins(table, part[pairs.item], pairs, len(rows))
        self.state = platt(margins, truth) | {"groups": sorted(set(rows[self.group]))}
        self.evidence = self._gather(pairs, broken)
        self.trees = self._trees().fit(table, BROKEN)
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        parts = [self._score(frame.iloc[start : start + BLOCK]) for start in range(0, max(len(frame), 1), BLOCK)]
        return pd.concat(parts)

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """What moved the log-odds of each item's most likely rule; columns by what they are read from."""
        pairs, table = self._seen(frame)
        if not len(table):
            return pd.DataFrame(index=frame.index)
        first = pd.Series(self._chances(table)).groupby(pairs.item).idxmax()
        effects = self.trees.contributions(table.iloc[first]).rename(columns=lambda name: ORIGIN.get(name, name))
        summed = effects.T.groupby(level=0).sum().T.set_axis(frame.index[first.index])
        return summed.reindex(frame.index)

    def save(self, folder: Path) -> None:
        if self.evidence is None:
            raise DataError("this learner is not fitted yet; call fit first")
        config = {name: getattr(self, name) for name in ("rules", "numbers", "group", "rounds", "seed")}
        content = {"config": config, "state": self.state, "words": list(self.reader.words)}
        (folder / self.FILE).write_text(json.dumps(content))
        self.evidence.save(folder / EVIDENCE)
        (folder / "trees").mkdir(exist_ok=True)
        self.trees.save(folder / "trees")

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / cls.FILE).read_text())
        learner = cls(**content["config"])
        learner.state = content["state"]
        words = {word: number for number, word in enumerate(content["words"])}
        learner.reader = Reader(learner.book, learner.group, words)
        learner.evidence = Evidence.load(folder / EVIDENCE)
        learner.trees = LightTrees.load(folder / "trees")
        return learner

    # -- learning -----------------------------------------------------------------------------------------------------

    def _trees(self) -> LightTrees:
        features = [*NUMBERS, *COLUMNS, *self.numbers, *(f"n_{name}" for name in LENGTHS)]
        return LightTrees(features, rounds=self.rounds, params=PARAMS, folds=0, seed=self.seed)

    def _gather(self, pairs: Pairs, broken: Floats, rows: np.ndarray | None = None) -> Evidence:
        return gather(pairs, broken, len(self.book.names), len(self.reader.words), rows)

    def _others(self, pairs: Pairs, broken: Floats, part: Ints) -> Floats:
        """The evidence for each pair from the other parts in time: its own outcome is never in it."""
        found = np.zeros((len(part), len(COLUMNS)))
        for number in np.unique(part):
            mine = part == number
            found[mine] = self._gather(pairs, broken, ~mine).columns(pairs)[mine]
        return found

    def _margins(self, table: pd.DataFrame, part: Ints, pairs: Pairs, items: int) -> Floats:
        """The log-odds of each item's risk by trees that have not seen its part."""
        chances = np.zeros(len(table))
        for number in np.unique(part):
            mine = part == number
            trees = self._trees().fit(table[~mine], BROKEN)
            chances[mine] = logistic(trees.margin(trees.inputs(table[mine])))
        return _margin(chances, pairs.item, items)

    # -- scoring ------------------------------------------------------------------------------------------------------

    def _seen(self, rows: pd.DataFrame) -> tuple[Pairs, pd.DataFrame]:
        if self.evidence is None:
            raise DataError("this learner is not fitted yet; call fit first")
        pairs = self.reader.read(rows)
        return pairs, self._table(pairs, self.evidence.columns(pairs), rows)

    def _table(self, pairs: Pairs, evidence: Floats, rows: pd.DataFrame) -> pd.DataFrame:
        own = rows[self.numbers].to_numpy(dtype="float64", na_value=np.nan)
        lengths = np.array([rows[name].map(len) for name in LENGTHS], dtype=float).T.reshape(-1, len(LENGTHS))
        values = np.hstack([pairs.numbers, evidence, own[pairs.item], lengths[pairs.item]])
        return pd.DataFrame(values, columns=self.trees.features)

    def _chances(self, table: pd.DataFrame) -> Floats:
        return logistic(self.trees.margin(self.trees.inputs(table))) if len(table) else np.zeros(0)

    def _score(self, rows: pd.DataFrame) -> pd.DataFrame:
        pairs, table = self._seen(rows)
        chances = self._chances(table)
        risk = logistic(self.state["slope"] * _margin(chances, pairs.item, len(rows)) + self.state["intercept"])
        ranked, values = ranking(pairs, chances, self.book.names, len(rows))
        scores = {"probability": risk, "threshold": self.state["threshold"], "ranked": ranked, "chances": values}
        return pd.DataFrame(scores, index=rows.index).assign(known=rows[self.group].isin(self.state["groups"]))


def broken_pairs(pairs: Pairs, label: pd.Series, names: Sequence[str]) -> Floats:
    """1 for each pair whose rule is named in the label of its item."""
    number = {name: n for n, name in enumerate(names)}
    broken = ((item, rule) for item, text in enumerate(label) for rule in text.split(";"))
    keys = [item * len(names) + number[rule] for item, rule in broken if rule in number]
    return np.asarray(np.isin(pairs.item * len(names) + pairs.rule, keys), dtype=np.float64)


def ranking(
    pairs: Pairs, chances: Floats, names: Sequence[str], items: int
) -> tuple[list[list[str]], list[list[float]]]:
    """For each item the `SHOWN` most likely rules, and their chances; ties in the order of the rules' names."""
    order = np.lexsort((pairs.rule, -chances, pairs.item))
    start = np.searchsorted(pairs.item[order], np.arange(items + 1))
    best = [order[begin : min(end, begin + SHOWN)] for begin, end in zip(start, start[1:], strict=False)]
    return [[names[rule] for rule in pairs.rule[of]] for of in best], [chances[of].tolist() for of in best]


def _margin(chances: Floats, item: Ints, items: int) -> Floats:
    """Log-odds that at least one of an item's independent events happens."""
    none = np.bincount(item, np.log1p(-np.minimum(chances, HIGHEST)), items)
    risk = np.clip(-np.expm1(none), LOWEST, HIGHEST)
    return log_odds(risk)
