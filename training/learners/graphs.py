"""Graphs with marked nodes as numbers: one row of the frame is a graph, its marks are texts `<group>:<detail>`.

What a mark means is learnt as two numbers, never as a name: how rare it is at a node, and how much likelier than chance
a node that bears it is the one looked for (its lift: smoothed log-odds, as in naive Bayes). Lifts of the rows that a
model learns from come from other rows (`Encoder.learn`), as they would tell the answer otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
NODES, FROM, TO, MARKS, AT = COLUMNS = ("nodes", "callers", "callees", "alerts", "alerts_at")
POPULATION = "system"
SMOOTHING = 3.0  # nodes of the average kind that each mark is taken to have been seen at, besides what was seen
STRONGEST = 3  # lifts of one node that are summed
SUMMARY = ("lift_max", "lift_min", "lift_sum", "lift_top", "rare_max", "rare_sum", "share", "share_rare", "kinds")


@dataclass(frozen=True)
class Graphs:
    """Rows of a frame as one big graph of nodes numbered from 0; `starts` has one entry more than there are rows."""

    starts: Ints
    edge_starts: Ints  # the first edge of each row, as `starts`
    edges: Ints  # 2 × edges: from, to; in the order of the rows
    marks: npt.NDArray[Any]  # text of each mark
    at: Ints  # node of each mark
    population: npt.NDArray[Any]  # text of each row: rows of one population are alike

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Self:
        """Read the columns `COLUMNS` and `POPULATION` of `frame`."""
        starts = np.concatenate([[0], np.cumsum([len(nodes) for nodes in frame[NODES]], dtype=np.int64)])
        ends = np.stack([_placed(frame[name], starts) for name in (FROM, TO)])
        marks = [np.asarray(row, dtype=object) for row in frame[MARKS]]
        every = np.concatenate([np.empty(0, object), *marks])
        edge_starts = np.concatenate([[0], np.cumsum([len(row) for row in frame[FROM]], dtype=np.int64)])
        return cls(
            starts, edge_starts, ends, every, _placed(frame[AT], starts), frame[POPULATION].to_numpy(dtype=object)
        )

    @property
    def count(self) -> int:
        """Nodes in all."""
        return int(self.starts[-1])

    @property
    def row(self) -> Ints:
        """The row of each node."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


@dataclass(frozen=True)
class Encoded:
    """Nodes × features, and the graph as in `Graphs`."""

    x: npt.NDArray[np.float32]
    graphs: Graphs

    @property
    def starts(self) -> Ints:
        """The first node of each row, and the number of nodes."""
        return self.graphs.starts

    def take(self, rows: Ints) -> Encoded:
        """Only `rows`, in that order; their marks are left behind."""
        whole = self.graphs
        nodes, starts = _ranges(whole.starts, rows)
        picked, edge_starts = _ranges(whole.edge_starts, rows)
        moved = np.repeat(starts[:-1] - whole.starts[rows], np.diff(edge_starts))
        edges = whole.edges[:, picked] + moved
        none = np.empty(0, dtype=object), np.empty(0, dtype=np.int64)
        return Encoded(self.x[nodes], Graphs(starts, edge_starts, edges, *none, whole.population[rows]))


def places(frame: pd.DataFrame, label: str) -> Ints:
    """Position of the node named `label` in each row, -1 where it is not among the row's nodes."""
    pairs = zip(frame[NODES], frame[label], strict=True)
    return np.array([next((n for n, node in enumerate(nodes) if node == name), -1) for nodes, name in pairs], dtype=int)


class Encoder:
    """Node features: marks of each group (log of their number), what they mean, degrees, the row's means, and shares.

    A share is the part of the row's marks (of a group, or of all; or of the node with most) that the node bears.
    `groups` are the texts before the colon that are counted. State is JSON: `lift` and `rare` by mark, and `rarest`.
    """

    def __init__(self, groups: Sequence[str]) -> None:
        self.groups = list(groups)
        self.state: dict[str, Any] = {"lift": {}, "rare": {}, "rarest": 0.0}

    @property
    def names(self) -> list[str]:
        """The features, in order."""
        means, shares = ([f"{what} {group}" for group in self.groups] for what in ("mean", "part of"))
        return [*self.groups, *SUMMARY, "calls_out", "calls_in", *means, *shares, "part of all", "part of most"]

    @property
    def growing(self) -> Ints:
        """Places of the features that grow with what is unusual at a node against others, in any system."""
        unlike = [name for name in SUMMARY if not name.startswith("lift")]
        return np.array([n for n, name in enumerate(self.names) if name in unlike or name.startswith("part of")])

    def learn(self, graphs: Graphs, roots: Ints, parts: Ints) -> Encoded:
        """Learn from all rows; returns their features, with the lifts of each of `parts` learnt from the others."""
        x = np.empty((graphs.count, len(self.names)), dtype=np.float32)
        for part in np.unique(parts):
            self._fit(graphs, roots, parts != part)
            inside = (parts == part)[graphs.row]
            x[inside] = self.encode(graphs).x[inside]
        self._fit(graphs, roots, np.ones(len(parts), dtype=bool))
        return Encoded(x, graphs)

    def encode(self, graphs: Graphs) -> Encoded:
        """The features of every node."""
        counts = self._counts(graphs)
        sizes = np.maximum(np.diff(graphs.starts), 1)[:, None]
        means = np.zeros((len(sizes), len(self.groups)))
        np.add.at(means, graphs.row, counts)
        degrees = [np.log1p(np.bincount(ends, minlength=graphs.count)) for ends in graphs.edges]
        parts = [counts, self._summary(graphs), np.stack(degrees, axis=1), (means / sizes)[graphs.row]]
        parts.append(_shares(np.expm1(counts), graphs))
        return Encoded(np.concatenate(parts, axis=1).astype(np.float32), graphs)

    def _counts(self, graphs: Graphs) -> Floats:
        place = {group: n for n, group in enumerate(self.groups)}
        codes, kinds = pd.factorize(graphs.marks)
        of_kind = np.array([place.get(str(kind).partition(":")[0], -1) for kind in kinds], dtype=np.int64)
        group = of_kind[codes] if len(codes) else codes
        counts = np.zeros((graphs.count, len(self.groups)))
        np.add.at(counts, (graphs.at[group >= 0], group[group >= 0]), 1.0)
        return np.log1p(counts)

    def _summary(self, graphs: Graphs) -> Floats:
        """What the different marks of each node say together; zeros where there are none."""
        found = np.zeros((graphs.count, len(SUMMARY)))
        at, codes, kinds = _distinct(graphs)
        if not len(at):
            return found
        lift, rare, rarest = (self.state[name] for name in ("lift", "rare", "rarest"))
        lifts = np.array([lift.get(kind, 0.0) for kind in kinds])[codes]
        rares = np.array([rare.get(kind, rarest) for kind in kinds])[codes]
        bearers = pd.Series(1.0).reindex(range(len(at)), fill_value=1.0).groupby([graphs.row[at], codes])
        share = 1 / bearers.transform("sum").to_numpy()  # of the row's nodes with this mark
        order = np.lexsort((-lifts, at))
        nodes, first = np.unique(at[order], return_index=True)
        place = np.arange(len(at)) - np.repeat(first, np.diff(np.append(first, len(at))))
        sums = [lifts, np.where(place < STRONGEST, lifts[order], 0.0), rares, share, share * rares, np.ones(len(at))]
        total = [np.add.reduceat(v if n == 1 else v[order], first) for n, v in enumerate(sums)]
        highest, lowest = (f.reduceat(lifts[order], first) for f in (np.maximum, np.minimum))
        rare_max = np.maximum.reduceat(rares[order], first)
        found[nodes] = np.stack([highest, lowest, total[0], total[1], rare_max, *total[2:]], axis=1)
        return found

    def _fit(self, graphs: Graphs, roots: Ints, rows: npt.NDArray[np.bool_]) -> None:
        known = rows & (roots >= 0)
        target = np.zeros(graphs.count, dtype=bool)
        target[(graphs.starts[:-1] + roots)[known]] = True
        at, codes, kinds = _distinct(graphs)
        inside = known[graphs.row[at]]
        nodes = max(int(np.diff(graphs.starts)[known].sum()), 1)
        rate = max(int(known.sum()), 1) / nodes
        seen = np.bincount(codes[inside], minlength=len(kinds))
        hits = np.bincount(codes[inside], weights=target[at[inside]], minlength=len(kinds))
        lift = np.log((hits + SMOOTHING * rate) / (seen + SMOOTHING) / rate)
        rare = -np.log(np.maximum(seen, 1) / nodes)
        told = np.flatnonzero(seen)
        self.state = {
            "lift": {str(kinds[n]): float(lift[n]) for n in told},
            "rare": {str(kinds[n]): float(rare[n]) for n in told},
            "rarest": float(np.log(nodes)),
        }


def _ranges(starts: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """What `rows` hold, one after the other, when row n holds starts[n] … starts[n + 1] - 1; and where each begins."""
    sizes = np.diff(starts)[rows]
    begin = np.concatenate([[0], np.cumsum(sizes)])
    return np.arange(begin[-1]) + np.repeat(starts[rows] - begin[:-1], sizes), begin


def _shares(marks: Floats, graphs: Graphs) -> Floats:
    """Nodes × groups → the share of the row's marks of each group, of all marks, and of the node with most."""
    rows = len(graphs.starts) - 1
    total, most = np.zeros((rows, marks.shape[1])), np.zeros(rows)
    every = marks.sum(axis=1)
    np.add.at(total, graphs.row, marks)
    np.maximum.at(most, graphs.row, every)
    beside = np.stack([total.sum(axis=1), most], axis=1)
    return np.concatenate(
        [marks / np.maximum(total, 1)[graphs.row], every[:, None] / np.maximum(beside, 1)[graphs.row]], axis=1
    )


def _distinct(graphs: Graphs) -> tuple[Ints, Ints, npt.NDArray[Any]]:
    """Node and kind (number) of each mark, once however often it is repeated; and the kinds."""
    codes, kinds = pd.factorize(graphs.marks)
    pairs = np.unique(np.stack([graphs.at, codes]), axis=1) if len(codes) else np.empty((2, 0), dtype=np.int64)
    return pairs[0], pairs[1], kinds


def _placed(column: pd.Series, starts: Ints) -> Ints:
    """Positions inside each row → numbers of nodes."""
    lengths = [len(places) for places in column]
    flat = np.concatenate([np.empty(0), *(np.asarray(places, dtype=float) for places in column)])
    return flat.astype(np.int64) + np.repeat(starts[:-1], lengths)
