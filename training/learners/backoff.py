"""Which kind of event comes next for an entity: counts that back off to those of its group where they are few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training.learners.sequences import Floats

Ints = npt.NDArray[np.int64]
FEW = 20  # events of a kind below which it is none: index 0, never predicted
NEVER = 1e9  # a strength that leaves the counts no say; a half-life that forgets nothing
INNER = 0.8  # share of the past (by time) that learns when the strengths are chosen
CHOICES = {
    "forget": (90.0, 365.0, NEVER),  # half-life of the group's counts, days
    "fade": (30.0, 365.0, NEVER),  # half-life of the entity's own events, days
    "pair": (5.0, 50.0, NEVER),  # strength of the group's counts against those that follow the entity's last kind
    "own": (1.0, 5.0, 30.0, NEVER),  # strength of all this against the entity's own events
}
MAJORITY = {"forget": NEVER, "fade": NEVER, "pair": NEVER, "own": NEVER}  # the commonest kind of the group
RECENT = {**MAJORITY, "forget": 90.0}  # the commonest lately


class Events(NamedTuple):
    """One row a moment: `group` (index, -1: unknown), the entity's events `kinds` and `ages` (days), oldest first."""

    group: Ints
    kinds: list[Ints]
    ages: list[Floats]

    def last(self) -> Ints:
        """The newest kind of each row."""
        return np.array([kinds[-1] if len(kinds) else 0 for kinds in self.kinds], dtype=np.int64)

    def take(self, rows: Ints) -> Events:
        """Some of the rows."""
        return Events(self.group[rows], [self.kinds[row] for row in rows], [self.ages[row] for row in rows])


class BackOff:
    """P(next kind | entity's events) ∝ own + s₂·(pairs + s₁·group), a hierarchical Dirichlet language model.

    MacKay & Peto, "A hierarchical Dirichlet language model", Natural Language Engineering 1995. Strengths and
    half-lives are the ones of `CHOICES` that name most of the newest fifth of the learnt events right; the majority of
    the group is one of the choices, and is kept where nothing is better. `fixed` are choices made beforehand.
    """

    def __init__(self, kinds: int, groups: int, fixed: Mapping[str, float] | None = None) -> None:
        self.kinds, self.groups, self.fixed = kinds, groups, fixed
        self.chosen: dict[str, float] = dict(fixed or MAJORITY)
        self.group, self.pairs = np.empty((0, 0)), np.empty((0, 0, 0))

    def fit(self, events: Events, target: Ints, days: Floats) -> BackOff:
        """Learn from rows whose next event is of kind `target` and which lie at `days` on a common clock."""
        early = days <= np.quantile(days, INNER)
        if self.fixed is None and not early.all():
            learnt, judged = np.flatnonzero(early), np.flatnonzero(~early & (target > 0))
            self._choose(events.take(learnt), target[learnt], days[learnt], events.take(judged), target[judged])
        self.group, self.pairs = self._counts(events, target, days, self.chosen["forget"])
        return self

    def predict(self, events: Events) -> Floats:
        """Rows × kinds: probabilities; kind 0 has none."""
        return self._blend(events, self._own(events, self.chosen["fade"]), self.chosen)

    def arrays(self) -> dict[str, Floats]:
        """What to save beside `chosen`."""
        return {"group": self.group, "pairs": self.pairs}

    def _choose(self, events: Events, target: Ints, days: Floats, judged: Events, truth: Ints) -> None:
        own = {fade: self._own(judged, fade) for fade in CHOICES["fade"]}
        best = -1.0
        for forget in reversed(CHOICES["forget"]):
            self.group, self.pairs = self._counts(events, target, days, forget)
            rest = [CHOICES[name][::-1] for name in ("fade", "pair", "own")]
            for fade, pair, strength in product(*rest):
                choice = {"forget": forget, "fade": fade, "pair": pair, "own": strength}
                right = float((self._blend(judged, own[fade], choice).argmax(axis=1) == truth).mean())
                if right > best:  # of equal ones the first: it is the simplest
                    best, self.chosen = right, choice

    def _counts(self, events: Events, target: Ints, days: Floats, forget: float) -> tuple[Floats, Floats]:
        weight = 0.5 ** ((days.max() - days) / forget)
        group, pairs = np.zeros((self.groups, self.kinds)), np.zeros((self.groups, self.kinds, self.kinds))
        np.add.at(group, (events.group, target), weight)
        np.add.at(pairs, (events.group, events.last(), target), weight)
        group[:, 0], pairs[:, :, 0] = 0.0, 0.0
        overall = (group.sum(axis=0) + 1.0) * (np.arange(self.kinds) > 0)
        group += overall / overall.sum()  # a group that is never seen: all of them
        return group / group.sum(axis=1, keepdims=True), pairs

    def _own(self, events: Events, fade: float) -> Floats:
        """Rows × kinds: the entity's own events, the older the lighter."""
        row = np.repeat(np.arange(len(events.kinds)), [len(kinds) for kinds in events.kinds])
        counts = np.zeros((len(events.kinds), self.kinds))
        if len(row):
            np.add.at(counts, (row, np.concatenate(events.kinds)), 0.5 ** (np.concatenate(events.ages) / fade))
        counts[:, 0] = 0.0
        return counts

    def _blend(self, events: Events, own: Floats, choice: dict[str, float]) -> Floats:
        base = self.group[events.group]
        pairs = self.pairs[events.group, events.last()]
        pairs = (pairs + choice["pair"] * base) / (pairs.sum(axis=1, keepdims=True) + choice["pair"])
        return np.asarray((own + choice["own"] * pairs) / (own.sum(axis=1, keepdims=True) + choice["own"]))


def index(names: Sequence[str], values: Any, unknown: int) -> Ints:
    """The place of each of `values` in `names`; `unknown` for others."""
    places = {name: place for place, name in enumerate(names)}
    return np.array([places.get(value, unknown) for value in values], dtype=np.int64)
