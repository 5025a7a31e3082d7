"""What past pairs say of a new one: how often the rule was broken in such a place, and which words went with it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np

from training.learners._pairs import Floats, Ints, Pairs

COLUMNS = ("past_rate", "past_pairs", "log_odds", "strongest_for", "strongest_against")
PLACES = 4  # things the rule applies to grew or not, and facts of theirs changed or not
WEIGHT = 4  # past pairs that the rate over all rules counts for
FEWEST = 2  # pairs that a word must be in


@dataclass(frozen=True)
class Evidence:
    """Counts of past pairs, as arrays (so that they can be saved).

    `rates`, `seen`: for rule × place, the smoothed share of broken ones and the number of pairs. For touched pairs a
    naive Bayes over words (Bernoulli; Manning et al., Introduction to Information Retrieval, 13.3): `key` is rule ×
    words + word, `present` the log-odds of a word that is there, `shift` that less the log-odds of its absence, `base`
    the sum over all words that are absent.
    """

    words: int
    rates: Floats
    seen: Floats
    base: Floats
    key: Ints
    present: Floats
    shift: Floats

    def columns(self, pairs: Pairs) -> Floats:
        """One row a pair, as COLUMNS."""
        place = _place(pairs)
        key = pairs.rule[pairs.of_word] * self.words + pairs.word
        at = np.minimum(np.searchsorted(self.key, key), max(len(self.key) - 1, 0))
        known = self.key[at] == key if len(self.key) else np.zeros(len(key), dtype=bool)
        of, at = pairs.of_word[known], at[known]
        count = len(pairs.item)
        odds = np.where(pairs.touched, self.base[pairs.rule], 0.0) + np.bincount(of, self.shift[at], count)
        strongest = np.zeros((2, count))
        np.maximum.at(strongest[0], of, self.present[at])
        np.minimum.at(strongest[1], of, self.present[at])
        return np.stack([self.rates[place], self.seen[place], odds, *strongest], axis=1)

    def save(self, file: Path) -> None:
        """Write the arrays to `file` (safetensors)."""
        from safetensors.numpy import save_file

        save_file({each.name: np.asarray(getattr(self, each.name)) for each in fields(self)}, file)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        arrays = load_file(file)
        return cls(int(arrays.pop("words")), **arrays)


def gather(pairs: Pairs, broken: Floats, rules: int, words: int, rows: np.ndarray | None = None) -> Evidence:
    """Learn from the pairs `rows` (a mask; all when None), of which those with `broken` 1 broke the rule."""
    use = np.ones(len(pairs.item), dtype=bool) if rows is None else rows
    place = _place(pairs)[use]
    seen = np.bincount(place, minlength=rules * PLACES).astype(float)
    hits = np.bincount(place, broken[use], minlength=rules * PLACES)
    every = (hits.reshape(-1, PLACES).sum(axis=0) + 0.5) / (seen.reshape(-1, PLACES).sum(axis=0) + 20)
    rates = (hits + WEIGHT * np.tile(every, rules)) / (seen + WEIGHT)
    return Evidence(max(words, 1), rates, seen, *_bayes(pairs, broken, rules, max(words, 1), use & pairs.touched))


def _bayes(
    pairs: Pairs, broken: Floats, rules: int, words: int, use: np.ndarray
) -> tuple[Floats, Ints, Floats, Floats]:
    """`base`, `key`, `present` and `shift` of the rules that were broken at least once."""
    ones = np.bincount(pairs.rule[use], broken[use], rules)
    zeros = np.bincount(pairs.rule[use], 1 - broken[use], rules)
    mine = use[pairs.of_word] & (ones[pairs.rule[pairs.of_word]] > 0)
    of = pairs.of_word[mine]
    key, which = np.unique(pairs.rule[of] * words + pairs.word[mine], return_inverse=True)
    hit, miss = np.bincount(which, broken[of], len(key)), np.bincount(which, 1 - broken[of], len(key))
    often = hit + miss >= FEWEST
    key, hit, miss = key[often], hit[often], miss[often]
    rule = key // words
    likely, unlikely = (hit + 0.5) / (ones[rule] + 1), (miss + 0.5) / (zeros[rule] + 1)
    present, absent = np.log(likely / unlikely), np.log((1 - likely) / (1 - unlikely))
    base: Floats = np.asarray(np.bincount(rule, absent, rules), dtype=np.float64)
    return base, np.asarray(key, dtype=np.int64), present, present - absent


def _place(pairs: Pairs) -> Ints:
    return pairs.rule * PLACES + 2 * pairs.grown + pairs.touched
