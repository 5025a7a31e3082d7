"""Items that hold things of several kinds, and the rules that apply to a kind: one pair for each rule that may matter.

An item is a row with `types_before` and `types_after` ("kind:count"), `facts_added` and `facts_removed`
("kind.path=value"), and `failed_before` ("rule:count", or null). Its column `group` comes before every kind, and
`Rules` says to which "group:kind" a rule applies. The words of a fact are its last path element, alone and with its
value, so that what is learnt of one kind is known of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# of the things that the rule applies to: how many there are and were, kinds that are new, facts, and failures before
NUMBERS = ("after", "before", "grown", "kinds", "new_kinds", "added", "removed", "failed", "passing", "failed_share")
_NO_WORD = re.compile(r"[^a-z0-9]+")


class Rules:
    """Which rules apply to which kinds. `applies`: rule → its "group:kind" names."""

    def __init__(self, applies: Mapping[str, Iterable[str]]) -> None:
        self.names = sorted(applies)
        self.kinds: dict[str, int] = {}
        pairs = [(self._kind(kind), n) for n, rule in enumerate(self.names) for kind in sorted(set(applies[rule]))]
        ordered = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
        self.rules: Ints = ordered[:, 1]
        self.start: Ints = np.searchsorted(ordered[:, 0], np.arange(len(self.kinds) + 1))

    def _kind(self, name: str) -> int:
        return self.kinds.setdefault(name, len(self.kinds))


@dataclass
class Pairs:
    """`item` (position of the row), `rule` and `numbers` (NUMBERS) of each pair; pair `of_word[k]` has `word[k]`."""

    item: Ints
    rule: Ints
    numbers: Floats
    of_word: Ints
    word: Ints

    @property
    def touched(self) -> npt.NDArray[np.bool_]:
        """Whether the item changes any fact of the kinds that the rule applies to."""
        return np.asarray(self.numbers[:, NUMBERS.index("added")] + self.numbers[:, NUMBERS.index("removed")] > 0)

    @property
    def grown(self) -> npt.NDArray[np.bool_]:
        """Whether the item has more things than before that the rule applies to."""
        return np.asarray(self.numbers[:, NUMBERS.index("grown")] > 0)


@dataclass
class _Cells:
    """What is known of each (item, kind): counts, facts, and the words of the facts."""

    index: dict[tuple[int, int], int] = field(default_factory=dict)
    counts: list[list[float]] = field(default_factory=list)  # after, before, added, removed
    cell: list[int] = field(default_factory=list)
    word: list[int] = field(default_factory=list)

    def of(self, item: int, kind: int) -> int:
        if (found := self.index.get((item, kind))) is None:
            found = self.index[item, kind] = len(self.counts)
            self.counts.append([0.0] * 4)
        return found


class Reader:
    """Makes pairs of rows; `words` grows with what is read while `learning`, later unknown words are passed over."""

    def __init__(self, rules: Rules, group: str, words: Mapping[str, int] | None = None) -> None:
        self.rules, self.group, self.words = rules, group, dict(words or {})
        self._facts: dict[tuple[str, str], tuple[int, tuple[str, str] | None]] = {}

    def read(self, frame: pd.DataFrame, learning: bool = False) -> Pairs:
        """The pairs of `frame`, in the order of its rows."""
        cells = _Cells()
        columns = (frame[name] for name in (self.group, "types_after", "types_before", "facts_added", "facts_removed"))
        for item, (group, after, before, added, removed) in enumerate(zip(*columns, strict=True)):
            for place, types in enumerate((after, before)):
                self._count(cells, item, group, types, place)
            for place, facts, sign in ((2, added, "+"), (3, removed, "-")):
                self._note(cells, item, group, facts, place, sign, learning)
        return self._joined(cells, list(frame["failed_before"]))

    def _count(self, cells: _Cells, item: int, group: str, types: Sequence[str], place: int) -> None:
        for text in types:
            name, _, count = text.rpartition(":")
            kind = self.rules.kinds.get(f"{group}:{name}")
            if kind is not None:
                cells.counts[cells.of(item, kind)][place] += _count(count)

    def _note(
        self, cells: _Cells, item: int, group: str, facts: Sequence[str], place: int, sign: str, learning: bool
    ) -> None:
        for fact in facts:
            if (group, fact) not in self._facts:
                self._facts[group, fact] = self._split(group, fact)
            kind, words = self._facts[group, fact]
            cell = cells.index.get((item, kind))
            if cell is None:  # no rule applies, or the kind is not in the item any more
                continue
            cells.counts[cell][place] += 1
            for word in words or ():
                known = self.words.setdefault(sign + word, len(self.words)) if learning else self.words.get(sign + word)
                if known is not None:
                    cells.cell.append(cell)
                    cells.word.append(known)

    def _split(self, group: str, fact: str) -> tuple[int, tuple[str, str] | None]:
        """The kind of a fact (-1: no rule applies) and its words."""
        path, _, value = fact.partition("=")
        pieces = path.split(".")
        for length in (2, 1):
            kind = self.rules.kinds.get(f"{group}:{'.'.join(pieces[:length])}")
            if kind is not None:
                leaf = _NO_WORD.sub("", pieces[-1].lower()) if len(pieces) > length else ""
                return kind, (leaf, f"{leaf}={value.lower()}") if leaf else None
        return -1, None

    def _joined(self, cells: _Cells, failed: list[Any]) -> Pairs:
        """From (item, kind) to (item, rule): counts are added up over the kinds of the rule, words united."""
        width = len(self.rules.names)
        where = np.array(list(cells.index), dtype=np.int64).reshape(-1, 2)
        counts = np.array(cells.counts, dtype=float).reshape(-1, 4)
        cell, rule = _expand(where[:, 1], self.rules)
        keep = counts[cell, 0] > 0 if len(cell) else np.zeros(0, dtype=bool)
        cell, rule = cell[keep], rule[keep]
        keys, pair = np.unique(where[cell, 0] * width + rule, return_inverse=True)
        item, rules = np.divmod(keys, width)
        sums = np.stack([np.bincount(pair, counts[cell, place], len(keys)) for place in range(4)], axis=1)
        kinds = np.bincount(pair, minlength=len(keys)).astype(float)
        fresh = np.bincount(pair, counts[cell, 1] == 0, len(keys))
        before = _failures(failed, item, rules, {name: n for n, name in enumerate(self.rules.names)}, width)
        after, old, added, removed = sums.T
        share = before / np.maximum(old, 1)
        numbers = np.stack([after, old, after - old, kinds, fresh, added, removed, before, old - before, share], axis=1)
        return Pairs(item, rules, numbers, *self._words(cells, cell, pair))

    def _words(self, cells: _Cells, cell: Ints, pair: Ints) -> tuple[Ints, Ints]:
        """Each word of a cell goes to every pair that the cell is part of, once."""
        order = np.argsort(cells.cell, kind="stable")
        of_cell, word = np.array(cells.cell, dtype=np.int64)[order], np.array(cells.word, dtype=np.int64)[order]
        start = np.searchsorted(of_cell, np.arange(len(cells.counts) + 1))
        length = np.diff(start)[cell]
        position = np.repeat(start[cell], length) + _within(length)
        width = max(len(self.words), 1)
        return np.divmod(np.unique(np.repeat(pair, length) * width + word[position]), width)


def _expand(kind: Ints, rules: Rules) -> tuple[Ints, Ints]:
    """For each entry of `kind` and each rule that applies to it: the entry's position and the rule."""
    length = rules.start[kind + 1] - rules.start[kind]
    position = np.repeat(rules.start[kind], length) + _within(length)
    return np.repeat(np.arange(len(kind)), length), rules.rules[position]


def _within(length: Ints) -> Ints:
    """0, 1, … for each run of the given lengths."""
    return np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)


def _failures(failed: list[Any], item: Ints, rule: Ints, numbers: Mapping[str, int], width: int) -> Floats:
    """How often each pair's rule failed before; NaN where the item was not scanned."""
    counts: dict[int, float] = {}
    known = np.zeros(len(failed), dtype=bool)
    for position, texts in enumerate(failed):
        known[position] = isinstance(texts, (list, np.ndarray))
        for text in texts if known[position] else ():
            name, _, count = text.rpartition(":")
            if name in numbers:
                counts[position * width + numbers[name]] = _count(count)
    keys = (item * width + rule).tolist()
    values = np.array([counts.get(key, 0.0) for key in keys], dtype=float)
    return np.where(known[item], values, np.nan) if len(item) else values


def _count(text: str) -> float:
    """The count behind a name; 1 when it is no number."""
    return float(text) if text.isdecimal() else 1.0
