"""Graphs as numbers, and the rankers on graphs whose right node is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from infra.errors import DataError
from training.learners.graphs import Encoder, Graphs, places
from training.learners.ranker import NodeRanker
from training.learners.scorers import SCORERS, softmax


def _graphs(count: int, seed: int, system: str = "one") -> pd.DataFrame:
    """Chains of five; the right node bears `bad`, its caller `slow`, and anybody may bear noise."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for _ in range(count):
        right = int(random.integers(5))
        marks = [("bad:x", right), *((f"noise:{random.integers(3)}", int(n)) for n in random.integers(5, size=6))]
        marks += [("slow:/", right - 1)] if right else []
        kinds, at = zip(*marks, strict=True)
        row = {"nodes": [f"n{n}" for n in range(5)], "callers": [0.0, 1.0, 2.0, 3.0], "callees": [1.0, 2.0, 3.0, 4.0]}
        rows.append(
            {**row, "alerts": list(kinds), "alerts_at": [float(n) for n in at], "system": system, "right": f"n{right}"}
        )
    return pd.DataFrame(rows)


GROUPS = ("bad", "slow", "noise")


def test_encoding_counts_marks_and_learns_what_they_mean() -> None:
    frame = _graphs(60, 0)
    graphs, roots = Graphs.of(frame), places(frame, "right")
    encoder = Encoder(GROUPS)
    x = encoder.learn(graphs, roots, np.arange(60) % 3).x
    assert x.shape == (300, len(encoder.names))
    assert encoder.state["lift"]["bad:x"] > 1 > encoder.state["lift"]["slow:/"]
    assert encoder.state["rare"]["bad:x"] == pytest.approx(np.log(5))
    bad = x[:, encoder.names.index("bad")]
    assert np.flatnonzero(bad).tolist() == (graphs.starts[:-1] + roots).tolist()
    assert bad.max() == pytest.approx(np.log(2))


def test_lifts_of_a_part_do_not_come_from_its_own_labels() -> None:
    frame = _graphs(40, 1)
    graphs, roots, parts = Graphs.of(frame), places(frame, "right"), np.arange(40) % 2
    first = Encoder(GROUPS).learn(graphs, roots, parts).x
    other = np.where(parts == 0, (roots + 1) % 5, roots)
    changed = Encoder(GROUPS).learn(graphs, other, parts).x
    own = (parts == 0)[graphs.row]
    assert np.array_equal(first[own], changed[own])
    assert not np.array_equal(first[~own], changed[~own])


def test_taking_rows_keeps_their_edges_inside() -> None:
    rows = Encoder(GROUPS).encode(Graphs.of(_graphs(4, 2)))
    taken = rows.take(np.array([3, 1]))
    assert np.array_equal(taken.x[:5], rows.x[15:20])
    assert taken.graphs.edges.tolist() == [[0, 1, 2, 3, 5, 6, 7, 8], [1, 2, 3, 4, 6, 7, 8, 9]]


def test_rows_without_nodes_or_marks_are_encoded() -> None:
    frame = _graphs(3, 3)
    blank = {"nodes": [], "callers": [], "callees": [], "alerts": [], "alerts_at": [], "system": "one", "right": "none"}
    frame = pd.concat([frame, pd.DataFrame([blank, {**blank, "nodes": ["a"]}])], ignore_index=True)
    rows = Encoder(GROUPS).encode(Graphs.of(frame))
    assert len(rows.x) == 16
    assert places(frame, "right")[-2:].tolist() == [-1, -1]
    assert softmax(np.zeros(16), rows.starts)[-1] == 1


@pytest.mark.parametrize("name", SCORERS)
def test_each_scorer_finds_the_right_node_and_comes_back_from_disk(name: str, tmp_path: Path) -> None:
    train, test = _graphs(80, 4), _graphs(40, 5)
    learner = NodeRanker([name], GROUPS, folds=2).fit(train, "right")
    scores = learner.predict(test)
    assert (scores["top_1"] == test["right"]).mean() > (0.95 if name != "most" else 0.2)
    assert scores["confidence"].between(0, 1).all()
    learner.save(tmp_path)
    pd.testing.assert_frame_equal(NodeRanker.load(tmp_path).predict(test), scores)


def test_the_blend_trusts_the_scorer_that_is_right() -> None:
    weights = NodeRanker(["most", "trees"], GROUPS, folds=2).fit(_graphs(80, 6), "right").weights
    assert weights["trees"] > weights["most"]


def test_contributions_name_the_mark_that_gave_it_away() -> None:
    learner = NodeRanker(["trees"], GROUPS, folds=2).fit(_graphs(80, 7), "right")
    test = _graphs(10, 8)
    effects = learner.contributions(test)
    for (_, effect), right in zip(effects.iterrows(), test["right"], strict=True):
        assert effect.dropna().idxmax() == f"bad at {right}"
        assert effect.dropna().max() > 0


def test_a_large_population_has_trees_of_its_own() -> None:
    frame = pd.concat([_graphs(120, 9, "one"), _graphs(40, 10, "two")], ignore_index=True)
    learner = NodeRanker(["trees"], GROUPS, folds=4).fit(frame.sample(frac=1, random_state=0), "right")
    boosters = learner.members["trees"][0].boosters  # type: ignore[attr-defined]
    assert set(boosters) <= {"", "one"}
    assert len(learner.predict(_graphs(5, 11, "three"))) == 5


def test_too_few_rows_and_unknown_scorers_are_named() -> None:
    with pytest.raises(DataError, match="at least 10"):
        NodeRanker(["most"], GROUPS).fit(_graphs(5, 12), "right")
    with pytest.raises(DataError, match="did you mean 'trees'"):
        NodeRanker(["tree"], GROUPS)


def test_rows_of_unknown_populations_are_scored_by_what_holds_everywhere(tmp_path: Path) -> None:
    frame = pd.concat([_graphs(60, 13, "one"), _graphs(60, 14, "two")], ignore_index=True)
    learner = NodeRanker(["trees"], GROUPS, unknown="general", folds=2).fit(frame, "right")
    strangers = _graphs(30, 15, "three")
    scores = learner.predict(strangers)
    assert learner.known == ["one", "two"]
    assert (scores["top_1"] == strangers["right"]).mean() > 0.8
    mixed = learner.predict(pd.concat([strangers, _graphs(5, 16, "one")], ignore_index=True))
    pd.testing.assert_frame_equal(mixed.iloc[:30], scores)
    learner.save(tmp_path)
    pd.testing.assert_frame_equal(NodeRanker.load(tmp_path).predict(strangers), scores)


def test_more_marks_never_make_a_node_of_an_unknown_population_less_suspect() -> None:
    frame = pd.concat([_graphs(60, 17, "one"), _graphs(60, 18, "two")], ignore_index=True)
    learner = NodeRanker(["trees"], GROUPS, unknown="general", folds=2).fit(frame, "right")
    row = _graphs(1, 19, "three")
    more = row.assign(alerts=[[*row["alerts"][0], "bad:new"]], alerts_at=[[*row["alerts_at"][0], 4.0]])
    before, after = (learner.predict(each).iloc[0] for each in (row, more))
    chance = [dict(zip(each["order"], each["probability"], strict=True))[4] for each in (before, after)]
    assert chance[1] >= chance[0] - 1e-9
