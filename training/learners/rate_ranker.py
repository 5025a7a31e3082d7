"""Which rules will an item break, by how often each was broken before; whether any, by the item's own numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pandas as pd

from infra.errors import DataError
from training.learner import Learner
from training.learners._evidence import Evidence, gather
from training.learners._pairs import Reader, Rules
from training.learners.rule_ranker import EVIDENCE, broken_pairs, ranking
from training.learners.segmented import KINDS


class RateRanker(Learner):
    """What `RuleRanker` stands beside: the same label and scores, without trees over pairs.

    The risk is that of a binary learner of `kind` with `options` (see `segmented.KINDS`), the order of the rules that
    of their past rate where things they apply to grew, or did not.
    """

    FILE = "rates.json"

    def __init__(
        self, rules: Mapping[str, Mapping[str, Any]], group: str, kind: str, options: Mapping[str, Any]
    ) -> None:
        self.rules = {name: {"kinds": list(rule["kinds"])} for name, rule in rules.items()}
        self.group, self.kind, self.options = group, kind, dict(options)
        self.reader = Reader(Rules({name: rule["kinds"] for name, rule in self.rules.items()}), group)
        self.risk = KINDS[kind](**self.options)
        self.evidence: Evidence | None = None

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        rows = frame[frame[label].notna()].reset_index(drop=True)
        self.risk = KINDS[self.kind](**self.options).fit(rows.assign(**{label: rows[label] != ""}), label)
        pairs, names = self.reader.read(rows), self.reader.rules.names
        self.evidence = gather(pairs, broken_pairs(pairs, rows[label], names), len(names), 0)
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        if self.evidence is None:
            raise DataError("this learner is not fitted yet; call fit first")
        pairs = self.reader.read(frame)
        ranked, chances = ranking(pairs, self.evidence.columns(pairs)[:, 0], self.reader.rules.names, len(frame))
        scores = self.risk.predict(frame)[["probability", "threshold"]]
        return scores.assign(ranked=pd.Series(ranked, frame.index), chances=pd.Series(chances, frame.index))

    def save(self, folder: Path) -> None:
        if self.evidence is None:
            raise DataError("this learner is not fitted yet; call fit first")
        config = {name: getattr(self, name) for name in ("rules", "group", "kind", "options")}
        (folder / self.FILE).write_text(json.dumps(config))
        self.evidence.save(folder / EVIDENCE)
        (folder / "risk").mkdir(exist_ok=True)
        self.risk.save(folder / "risk")

    @classmethod
    def load(cls, folder: Path) -> Self:
        learner = cls(**json.loads((folder / cls.FILE).read_text()))
        learner.evidence = Evidence.load(folder / EVIDENCE)
        learner.risk = KINDS[learner.kind].load(folder / "risk")
        return learner
