"""Classifiers of texts: cleaning, the three kinds, the pool and its index."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from infra.errors import DataError
from training.learner import Learner
from training.learners import text
from training.learners.bert import Bert
from training.learners.keywords import Keywords
from training.learners.text_pool import TextsWithIndex
from training.learners.tfidf import TfidfLogistic

INPUTS: dict[str, Any] = {"texts": ["title", "body"], "lists": ["lines"]}
SAYING = {
    "fruit": ["apples fall", "sweet pears fall", "a plum and apples", "ripe pears", "plum jam", "apples, pears"],
    "metal": ["iron rusts", "copper wire", "iron and copper", "a zinc roof", "zinc rusts", "copper roof"],
}
KINDS: dict[str, Learner] = {
    "keywords": Keywords(**INPUTS, keywords={"fruit": ["apple", "pear", "plum"], "metal": ["iron", "copper", "zinc"]}),
    "tfidf": TfidfLogistic(**INPUTS),
    "bert": Bert(**INPUTS),
    "pool": TextsWithIndex(**INPUTS, nearest=3),
}


def _frame(*bodies: str, hours: int = 0) -> pd.DataFrame:
    times = pd.date_range("2026-01-01", periods=len(bodies), freq="h", tz="UTC") + pd.Timedelta(hours=hours)
    count = len(bodies)
    frame = pd.DataFrame({"time": times, "id": [f"i{n + hours}" for n in range(count)], "body": list(bodies)})
    return frame.assign(title=None, lines=pd.Series([[] for _ in range(count)], dtype=object))


@pytest.fixture(scope="module")
def train() -> pd.DataFrame:
    pairs = [
        (body, name) for pair in zip(*SAYING.values(), strict=True) for body, name in zip(pair, SAYING, strict=True)
    ]
    return _frame(*(body for body, _ in pairs)).assign(kind=[name for _, name in pairs])


@pytest.fixture(params=KINDS)
def learner(request: pytest.FixtureRequest, train: pd.DataFrame) -> Learner:
    return KINDS[request.param].fit(train, "kind")


def test_each_kind_learns_saves_and_loads(learner: Learner, tmp_path: Path) -> None:
    rows = _frame("pears and a plum", "zinc, copper and iron", hours=100)
    scores = learner.predict(rows)
    assert scores[["p:fruit", "p:metal"]].sum(axis=1).to_list() == pytest.approx([1, 1])
    assert scores[["p:fruit", "p:metal"]].idxmax(axis=1).to_list() == ["p:fruit", "p:metal"]
    learner.save(tmp_path)
    pd.testing.assert_frame_equal(type(learner).load(tmp_path).predict(rows), scores)


def test_the_telling_word_moves_the_answer_most(learner: Learner) -> None:
    [effects] = learner.contributions(_frame("the iron", hours=100)).to_dict("records")
    assert set(effects) == {"word iron", "word the"}
    assert effects["word iron"] >= effects["word the"]
    assert effects["word iron"] > 0


def test_rows_are_scored_each_for_itself_and_none_gives_none(learner: Learner) -> None:
    rows = _frame("pears", "iron", "", hours=100)
    alone = pd.concat([learner.predict(rows.iloc[[n]]) for n in range(3)])
    for name in ("p:fruit", "p:metal", "words"):
        np.testing.assert_allclose(alone[name], learner.predict(rows)[name], atol=1e-4)
    assert alone["words"].to_list() == [1, 1, 0]
    assert len(learner.predict(rows.iloc[:0])) == 0


def test_lines_and_title_are_read_as_text() -> None:
    rows = _frame("body", hours=100).assign(title="iron", lines=pd.Series([["zinc", "zinc", "copper"]]))
    assert KINDS["tfidf"].read(rows) == ["iron body zinc copper"]  # type: ignore[attr-defined]


def test_one_class_is_refused(train: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="two classes"):
        TfidfLogistic(**INPUTS).fit(train[train["kind"] == "fruit"], "kind")


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("BigQuery fails beginning at Monday, 2022-01-03 14:25 US/Pacific.", "BigQuery fails ."),
        ("See https://status.example.com/a/1 now", "See now"),
        ("Jobs fail. We will provide an update by 14:00 with details.", "Jobs fail."),
        ("Jobs fail\nWorkaround: None at this time.", "Jobs fail"),
    ],
)
def test_dates_links_and_announcements_are_cleaned_away(said: str, left: str) -> None:
    assert text.clean(said) == left


def test_the_index_gives_past_rows_only_nearest_first(train: pd.DataFrame) -> None:
    pool = KINDS["pool"].fit(train, "kind")
    assert isinstance(pool, TextsWithIndex)
    asked = _frame("iron rusts", hours=100)
    [found] = pool.predict(asked).to_dict("records")
    assert pool.recall(found["similar"][0])["text"] == "iron rusts"
    assert found["similarity"][0] == pytest.approx(1, abs=1e-5)
    assert found["similarity"] == sorted(found["similarity"], reverse=True)
    early = asked.assign(time=train["time"].iloc[2])
    assert set(pool.predict(early)["similar"].iloc[0]) == {"i0", "i1"}
    with pytest.raises(DataError, match="'nobody' is not in the index"):
        pool.recall("nobody")


def test_unlabelled_rows_are_in_the_index(train: pd.DataFrame) -> None:
    more = pd.concat([train, _frame("a strange new thing", hours=50).assign(kind=None)], ignore_index=True)
    pool = TextsWithIndex(**INPUTS, nearest=1).fit(more, "kind")
    [[name]] = pool.predict(_frame("a strange new thing", hours=100))["similar"]
    assert pool.recall(name) == {
        "id": "i50", "time": more["time"].iloc[-1], "text": "a strange new thing", "label": None
    }  # fmt: skip


def test_another_checkpoint_than_the_one_learnt_on_is_refused(train: pd.DataFrame, tmp_path: Path) -> None:
    KINDS["bert"].fit(train, "kind").save(tmp_path)
    file = tmp_path / Bert.FILE
    file.write_text(file.read_text().replace('"sha256": "', '"sha256": "0'))
    with pytest.raises(DataError, match="sha256"):
        Bert.load(tmp_path)
    with pytest.raises(DataError, match="no checkpoint 'no_such_package'"):
        Bert(**INPUTS, checkpoint="no_such_package").fit(train, "kind")


@pytest.mark.parametrize("tuned", [1, 6])
def test_untrained_layers_are_the_pretrained_encoders(tuned: int) -> None:
    """The last layer asks only by its first token; what it says there must be what the whole BERT says."""
    import torch

    from training.learners import _bert
    from training.learners.bert import CHECKPOINT

    base = _bert.base(CHECKPOINT, tuned)
    rows = base.encode(["iron rusts in the rain", "pears"])
    top = base.top(2, 0.0).eval()
    top.head = torch.nn.Identity()
    tokens = base.tokenizer(["iron rusts in the rain", "pears"], padding=True, return_tensors="pt").to(base.device)
    with torch.inference_mode():
        expected = base.model(**tokens).last_hidden_state[:, 0]
        torch.testing.assert_close(top(*_bert.padded(rows, base.device)), expected, atol=1e-4, rtol=1e-3)
