"""Head sampling: whole traces, the same ones everywhere, and no error lost."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import sampling, schema, stream
from features.sampling import sample
from infra.settings import Ingestion, Settings

traces = st.lists(st.integers(1, 2**128 - 1).map(lambda number: f"{number:032x}"), max_size=20)
ratios = st.floats(0, 1)


def spans(ids: list[str | None], status: list[str | None] | None = None) -> pa.Table:
    rows = {"trace_id": pa.array(ids, pa.string()), "status_code": pa.array(status or ["OK"] * len(ids), pa.string())}
    return schema.conform("spans", pa.table(rows))


def kept(ids: list[str], ratio: float) -> set[str]:
    return set(sample(spans([*ids]), ratio)["trace_id"].to_pylist())


@given(traces, ratios)
def test_the_low_56_bits_decide_by_the_specified_threshold(ids: list[str], ratio: float) -> None:
    threshold = round((1 - ratio) * 2**56)
    assert kept(ids, ratio) == {one for one in ids if int(one, 16) & (2**56 - 1) >= threshold}


@given(traces, ratios, ratios)
def test_a_larger_share_keeps_what_a_smaller_one_keeps(ids: list[str], one: float, other: float) -> None:
    assert kept(ids, min(one, other)) <= kept(ids, max(one, other))


@given(traces, ratios, st.randoms())
def test_a_trace_is_whole_or_absent_whatever_batch_its_spans_come_in(
    ids: list[str], ratio: float, dice: random.Random
) -> None:
    all_spans = [one for one in ids for _ in range(3)]
    dice.shuffle(all_spans)
    middle = len(all_spans) // 2
    found = [sample(spans([*part]), ratio)["trace_id"].to_pylist() for part in (all_spans[:middle], all_spans[middle:])]
    assert sorted(found[0] + found[1]) == sorted(one for one in all_spans if one in kept(ids, ratio))


@given(traces, ratios)
def test_traces_with_an_error_stay_with_all_their_spans(ids: list[str], ratio: float) -> None:
    status = ["OK"] * len(ids) + ["STATUS_CODE_ERROR"] * len(ids)
    assert len(sample(spans([*ids, *ids], [*status]), ratio)) == 2 * len(ids)


@pytest.mark.parametrize("code", ["ERROR", "Error", "STATUS_CODE_ERROR"])
def test_the_spellings_of_an_error(code: str) -> None:
    assert len(sample(spans(["0" * 31 + "1"], [code]), 0)) == 1


@pytest.mark.parametrize("code", ["OK", "UNSET", "NO_ERRORS", None])
def test_what_is_no_error(code: str | None) -> None:
    assert len(sample(spans(["0" * 31 + "1"], [code]), 0)) == 0


def test_shares_nothing_and_everything() -> None:
    ids = ["f" * 32, "0" * 31 + "1"]
    assert (kept(ids, 0), kept(ids, 1e-18), kept(ids, 1)) == (set(), set(), set(ids))


def test_upper_case_and_zipkins_64_bits_are_the_same_trace() -> None:
    assert kept(["A" * 16, "a" * 16, "0" * 16 + "a" * 16], 0.5) == {"A" * 16, "a" * 16, "0" * 16 + "a" * 16}


def test_spans_of_no_trace_are_kept() -> None:
    assert sample(spans([None, "", "xyz", "0" * 31 + "1"]), 0)["trace_id"].to_pylist() == [None, "", "xyz"]


def test_nothing_in_nothing_out() -> None:
    assert len(sample(spans([]), 0.1)) == 0


def test_a_million_spans_and_the_share_that_stays() -> None:
    dice = random.Random(7)
    ids = [f"{dice.getrandbits(128):032x}" for _ in range(250_000)]
    share = len(sample(spans([*ids, *ids, *ids, *ids]), 0.1)) / 1_000_000
    assert share == pytest.approx(0.1, abs=0.003)  # five standard deviations


def test_the_stream_samples_spans_by_the_settings_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "settings", lambda: Settings(ingestion=Ingestion(trace_sampling=0.5)))
    raw: dict[str, list[pa.Table]] = {}
    live = stream.Stream([], append=lambda name, rows: raw.setdefault(name, []).append(rows))
    monkeypatch.setattr(stream.lake, "compact", lambda name: None)
    live.take("spans", spans(["f" * 32, "0" * 31 + "1"]))
    live.take("metrics", schema.TABLES["metrics"].empty_table())
    live.take("logs", pa.table({"trace_id": ["0" * 31 + "1"]}))
    live.flush()
    assert raw["spans"][0]["trace_id"].to_pylist() == ["f" * 32] and len(raw["logs"][0]) == 1
