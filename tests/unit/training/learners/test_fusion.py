"""The encoder, the opinions and their fusion on rows whose causes are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from infra.errors import DataError
from training.learners import _network
from training.learners._encode import BUCKETS, GROUPS, Encoder
from training.learners._fuse import Fuse
from training.learners.alone import CHOICES, Alone
from training.learners.fusion import Fusion, typed

TIME = pd.Timestamp("2026-01-01", tz="UTC")


def _rows(count: int, seed: int) -> pd.DataFrame:
    """Benign rows; floods have a high rate, scans many errors."""
    random = np.random.default_rng(seed)
    threat = random.choice(["none", "dos/flood", "dos/storm", "probe/scan"], count, p=[0.6, 0.15, 0.1, 0.15])
    rate = random.gamma(2, 5, count) * np.where(pd.Series(threat).str.startswith("dos"), 30, 1)
    errors = random.poisson(np.where(threat == "probe/scan", 20, 1), count).astype(float)
    service = np.where(random.random(count) < 0.5, "http", "dns")
    rows = {"rate": rate, "errors": errors, "size": random.random(count), "service": service, "threat": threat}
    return pd.DataFrame({"time": TIME, **rows})


def _fusion(**options: object) -> Fusion:
    return Fusion(["rate", "errors", "size"], ["service"], **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def learner() -> Fusion:
    return _fusion().fit(_rows(900, 1), "threat")


# -- the encoder ------------------------------------------------------------------------------------------------------


def test_numbers_words_and_text_become_columns() -> None:
    frame = pd.DataFrame({"n": [0.0, 1.0, None, 3.0], "w": ["a", "a", "a", "b"], "t": ["x", "y", "'--", None]})
    encoder = Encoder(["n"], ["w"], "t").fit(frame)
    matrix = encoder(frame)
    assert matrix.shape == (4, len(encoder.inputs)) == (4, 1 + 2 + len(GROUPS) + 1 + BUCKETS)
    assert matrix[:, 0].tolist() == pytest.approx(np.log1p([0, 1, 1, 3]))
    assert matrix[:, 1:3].tolist() == [[1, 0]] * 3 + [[0, 1]]  # `b` is too rare to be known
    quotes = encoder.inputs.index("t: quotes")
    assert matrix[:, quotes].tolist() == pytest.approx([0, 0, np.log(2), 0])
    assert encoder.lacking(frame.assign(w=None))[0] == "w"


def test_a_row_is_encoded_the_same_in_any_company() -> None:
    frame = pd.DataFrame({"t": ["select 1", "", "<b>", "ñandú"]})
    encoder = Encoder([], [], "t").fit(frame)
    assert np.array_equal(encoder(frame)[2:3], encoder(frame.iloc[[2]]))


# -- the network ------------------------------------------------------------------------------------------------------


def test_the_gradient_is_the_slope_of_the_outputs() -> None:
    random = np.random.default_rng(0)
    layers = [(random.normal(size=(3, 5)), random.normal(size=5)), (random.normal(size=(5, 2)), random.normal(size=2))]
    x, direction = random.normal(size=(4, 3)), random.normal(size=(4, 2))
    found, step = _network.gradient(layers, x, direction), 1e-6
    for column in range(3):
        moved = x + step * np.eye(3)[column]
        slope = ((_network.outputs(layers, moved) - _network.outputs(layers, x)) * direction).sum(axis=1) / step
        assert found[:, column] == pytest.approx(slope, abs=1e-4)


# -- the fusion -------------------------------------------------------------------------------------------------------


def test_it_tells_attacks_and_their_type_from_benign_rows(learner: Fusion) -> None:
    rows = _rows(500, 2)
    scores, attack = learner.predict(rows), (rows["threat"] != "none").to_numpy()
    assert ((scores["probability"] >= scores["threshold"]) == attack).mean() > 0.9
    found = (scores["type"] == rows["threat"].str.partition("/")[0])[attack]
    assert found.mean() > 0.9
    assert scores["probability"].between(0, 1).all()
    assert (scores["type_probability"] <= scores["probability"] + 1e-9).all()


def test_the_budget_holds_on_rows_not_seen(learner: Fusion) -> None:
    rows = _rows(3000, 3)
    benign = learner.predict(rows[rows["threat"] == "none"])
    alarms = (benign["probability"] >= benign["threshold"]) | (benign["suspicion"] >= benign["watch"])
    assert alarms.mean() < 0.09  # asked for: 0.05, found on 540 rows


def test_an_attack_of_which_nothing_was_learnt_stands_out() -> None:
    learnt = _rows(900, 4)
    scores = _fusion().fit(learnt[learnt["threat"] != "probe/scan"], "threat").predict(_rows(400, 5))
    truth = _rows(400, 5)["threat"]
    seen = (scores["suspicion"] >= scores["watch"]) | (scores["probability"] >= scores["threshold"])
    assert seen[truth == "probe/scan"].mean() > 0.8


def test_contributions_name_the_cause(learner: Fusion) -> None:
    rows = _rows(300, 6)
    effects = learner.contributions(rows)
    assert set(effects.columns) == {"rate", "errors", "size", "service"}
    assert (effects[rows["threat"] == "probe/scan"].idxmax(axis=1) == "errors").mean() > 0.8
    assert (effects[rows["threat"] == "dos/flood"].idxmax(axis=1) == "rate").mean() > 0.8


def test_it_comes_back_from_disk_the_same(learner: Fusion, tmp_path: Path) -> None:
    learner.save(tmp_path)
    rows = _rows(50, 7)
    pd.testing.assert_frame_equal(Fusion.load(tmp_path).predict(rows), learner.predict(rows))


@pytest.mark.parametrize("opinion", CHOICES)
def test_each_opinion_stands_alone_and_comes_back_from_disk(opinion: str, tmp_path: Path) -> None:
    rows, new = _rows(600, 8), _rows(200, 9)
    alone = Alone(opinion, ["rate", "errors", "size"], ["service"]).fit(rows, "threat")
    alone.save(tmp_path)
    pd.testing.assert_frame_equal(Alone.load(tmp_path).predict(new), alone.predict(new))
    scores = alone.predict(new)["probability"]
    assert scores[new["threat"] != "none"].mean() > scores[new["threat"] == "none"].mean()


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="20 attacks are needed"):
        _fusion().fit(_rows(30, 1), "threat")


def test_types_are_what_stands_before_the_name() -> None:
    names, codes = typed(pd.Series(["none", "dos/flood", "probe", "dos"]), "none")
    assert (names, codes.tolist()) == (["dos", "probe"], [0, 1, 2, 1])


def test_thresholds_hold_on_the_last_rows_alone() -> None:
    random = np.random.default_rng(0)
    attack, last = np.arange(2000) < 500, np.arange(2000) >= 1800
    scores = random.normal(size=(2000, 2)) + 3 * attack[:, None] + 1.5 * last[:, None]  # the last benign rows moved
    fuse, new = Fuse(), np.zeros(2000, dtype=bool)
    fuse.fit(scores, attack, new, np.where(attack, "dos", "none"), last)
    fuse.decide(scores, attack, new, last, 0.05)
    alarms = (fuse.probability(scores) >= fuse.threshold) | (fuse.suspicion(scores) >= fuse.watch)
    assert alarms[last].mean() <= 0.05
    assert Fuse(**fuse.state()).suspicion(scores) == pytest.approx(fuse.suspicion(scores))
