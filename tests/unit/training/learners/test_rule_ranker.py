"""Pairs of items and rules, the evidence of past pairs, and what the ranker makes of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from infra.errors import DataError
from training.learners._evidence import COLUMNS, gather
from training.learners._pairs import NUMBERS, Reader, Rules
from training.learners.rate_ranker import RateRanker
from training.learners.rule_ranker import RuleRanker, broken_pairs

RULES = {
    "closed": {"title": "Ensure the door is closed", "kinds": ["house:door"]},
    "clean": {"title": "Ensure glass is clean", "kinds": ["house:door", "house:window"]},
    "free": {"title": "Ensure the lane is free", "kinds": ["street:lane"]},
}


def _item(group: str = "house", **change: object) -> dict[str, object]:
    empty = {name: [] for name in ("types_before", "types_after", "facts_added", "facts_removed")}
    return {"group": group, "failed_before": None, "size": 1.0, **empty, **change}


def _items(count: int = 400, seed: int = 0) -> pd.DataFrame:
    """New doors without `lock=true` break `closed`; every tenth new window breaks `clean`."""
    random, rows = np.random.default_rng(seed), []
    for number in range(count):
        kind, grows, locked = str(random.choice(["door", "window"])), random.random() < 0.5, random.random() < 0.5
        facts = [f"{kind}.colour=red", *(["door.lock=true"] if locked and kind == "door" else [])] if grows else []
        closed = ["closed"] if kind == "door" and grows and not locked else []
        clean = ["clean"] if kind == "window" and grows and number % 10 == 0 else []
        rows.append(
            _item(types_before=[f"{kind}:1"], types_after=[f"{kind}:{1 + grows}"], facts_added=facts)
            | {
                "label": ";".join(closed + clean),
                "time": pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(hours=number),
            }
        )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def ranker() -> RuleRanker:
    return RuleRanker(RULES, ["size"], "group", rounds=40).fit(_items(), "label")


def test_a_pair_for_each_rule_that_applies_to_what_the_item_holds() -> None:
    rows = pd.DataFrame(
        [
            _item(types_before=["door:1"], types_after=["door:3", "window:1"], facts_added=["door.lock=true"]),
            _item(types_before=["door:1"], facts_removed=["door"]),  # nothing is left that a rule applies to
            _item("street", types_after=["lane:1", "door:9"], failed_before=["free:2"]),
        ]
    )
    reader = Reader(Rules({name: rule["kinds"] for name, rule in RULES.items()}), "group")
    pairs = reader.read(rows, learning=True)
    names = [reader.rules.names[rule] for rule in pairs.rule]
    assert list(zip(pairs.item, names, strict=True)) == [(0, "clean"), (0, "closed"), (2, "free")]
    table = pd.DataFrame(pairs.numbers, columns=NUMBERS, index=names)
    assert list(table["after"]) == [4, 3, 1]
    assert list(table["grown"]) == [3, 2, 1]
    assert list(table["new_kinds"]) == [1, 0, 1]
    assert table["failed"].isna().tolist() == [True, True, False]
    assert table.loc["free", "failed"] == 2
    words = {word: number for number, word in enumerate(reader.words)}
    assert set(words) == {"+lock", "+lock=true"}
    assert len(pairs.word) == 4  # both words, for both rules of the door


def test_evidence_of_other_pairs_knows_the_protecting_word() -> None:
    rows = _items()
    reader = Reader(Rules({name: rule["kinds"] for name, rule in RULES.items()}), "group")
    pairs = reader.read(rows, learning=True)
    broken = broken_pairs(pairs, rows["label"], reader.rules.names)
    found = gather(pairs, broken, len(RULES), len(reader.words)).columns(pairs)
    odds = found[:, COLUMNS.index("log_odds")]
    closed = (pairs.rule == reader.rules.names.index("closed")) & pairs.touched
    assert odds[closed & (broken == 1)].min() > odds[closed & (broken == 0)].max()
    assert (found[:, COLUMNS.index("past_rate")] > 0).all()


def test_it_ranks_and_tells_whether(ranker: RuleRanker) -> None:
    new = {"types_before": ["door:1"], "types_after": ["door:2"]}
    rows = pd.DataFrame(
        [
            _item(**new, facts_added=["door.colour=red"]),
            _item(**new, facts_added=["door.colour=red", "door.lock=true"]),
            _item("nowhere", **new),
        ]
    )
    scores = ranker.predict(rows)
    assert scores["ranked"][0][0] == "closed"
    assert scores["probability"][0] > 0.8 > 0.2 > scores["probability"][1]
    assert scores["known"].tolist() == [True, True, False]
    assert scores["ranked"][2] == []
    effects = ranker.contributions(rows)
    assert effects.loc[0, "facts_added"] > 0
    assert effects.loc[2].isna().all()


def test_what_was_saved_scores_the_same(ranker: RuleRanker, tmp_path: Path) -> None:
    ranker.save(tmp_path)
    pd.testing.assert_frame_equal(RuleRanker.load(tmp_path).predict(_items(20, 1)), ranker.predict(_items(20, 1)))
    simple = RateRanker(RULES, "group", "light", {"features": ["size"]}).fit(_items(), "label")
    (tmp_path / "simple").mkdir()
    simple.save(tmp_path / "simple")
    again = RateRanker.load(tmp_path / "simple").predict(_items(20, 1))
    pd.testing.assert_frame_equal(again, simple.predict(_items(20, 1)))
    assert again["ranked"][0]


def test_both_outcomes_are_needed() -> None:
    with pytest.raises(DataError, match="items that break a rule"):
        RuleRanker(RULES, ["size"], "group").fit(_items().assign(label=""), "label")
    with pytest.raises(DataError, match="not fitted"):
        RuleRanker(RULES, ["size"], "group").predict(_items(3))
