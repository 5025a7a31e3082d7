import json
from typing import Any

import pandas as pd
import pytest

from features.transforms import customers
from features.transforms.customers import CUSTOMERS, OUTCOME, OUTCOMES, RATIOS, SNAPSHOT, Customer
from infra.errors import DataError

TIME = pd.Timestamp("2026-01-01", tz="UTC")
CALLER = {"operator": "north", "voice_calls": 20, "voice_seconds": 1200, "distinct_contacts": 5, "contract": True}
SILENT = {"operator": "north", "voice_calls": 0, "voice_seconds": 0, "support_calls": 3}


def _event(subject: str, data: dict[str, Any] | str, kind: str = SNAPSHOT, time: pd.Timestamp = TIME) -> dict[str, Any]:
    text = data if isinstance(data, str) else json.dumps(data)
    return {"dataset": "test", "time": time, "id": f"{subject}-{time}", "type": kind, "subject": subject, "data": text}


def _snapshots(*events: dict[str, Any]) -> pd.DataFrame:
    return CUSTOMERS.transform({"events": pd.DataFrame(list(events))}).set_index("customer_id")


def test_measured_fields_and_ratios_become_columns_and_the_rest_is_null() -> None:
    rows = _snapshots(_event("a", CALLER), _event("b", SILENT))
    assert set(rows.columns) | {"customer_id"} == {"dataset", *Customer.model_fields}
    assert rows.loc["a", "seconds_per_call"] == 60.0
    assert rows.loc["a", "calls_per_contact"] == 4.0
    assert rows.loc["a", "contract"] is True
    assert rows.loc["b", "contract"] is None
    assert rows.loc["b", "support_calls"] == 3.0
    assert pd.isna(rows.loc["b", "seconds_per_call"])  # no calls: no mean length, not infinity


def test_each_customer_has_the_same_row_whoever_else_is_there_and_in_any_order() -> None:
    events = [_event("a", CALLER), _event("b", SILENT), _event("c", {**CALLER, "sms_messages": 7})]
    together, reversed_ = _snapshots(*events), _snapshots(*events[::-1])
    pd.testing.assert_frame_equal(together, reversed_)
    for event in events:
        alone = _snapshots(event)
        pd.testing.assert_frame_equal(alone, together.loc[[event["subject"]]])


def test_of_two_snapshots_at_one_time_one_counts() -> None:
    first, second = _event("a", CALLER), _event("a", {**CALLER, "voice_calls": 21})
    rows = _snapshots({**second, "id": "2"}, {**first, "id": "1"})
    assert rows["voice_calls"].tolist() == [21.0]


def test_a_request_gets_the_ratios_that_training_saw() -> None:
    row = Customer.model_validate({"time": TIME, "customer_id": "a", **CALLER})
    trained = _snapshots(_event("a", CALLER)).loc["a"]
    for name in RATIOS:
        value = getattr(row, name)
        assert (value is None and pd.isna(trained[name])) or value == pytest.approx(trained[name])


def test_a_request_with_words_for_numbers_is_told_which_field() -> None:
    with pytest.raises(ValueError, match="voice_calls"):
        Customer.model_validate({"time": TIME, "customer_id": "a", **CALLER, "voice_calls": "many"})


def test_every_ratio_is_made_of_measured_fields() -> None:
    assert {part for pair in RATIOS.values() for part in pair} <= set(customers.MEASURED)


def test_an_outcome_belongs_to_the_moment_of_its_snapshot() -> None:
    data = {"snapshot_time": TIME.isoformat(), "churned": True}
    events = [_event("a", data, OUTCOME, TIME + pd.Timedelta("91d"))]
    row = OUTCOMES.transform({"events": pd.DataFrame(events)}).iloc[0]
    assert (row["customer_id"], row["time"], row["churned"], row["lineage"]) == ("a", TIME, True, None)


@pytest.mark.parametrize(("data", "problem"), [("not json", "not JSON"), ("[1]", "JSON object")])
def test_damaged_event_data_is_named(data: str, problem: str) -> None:
    with pytest.raises(DataError, match=rf"a-2026.*{problem}"):
        _snapshots(_event("a", data))


@pytest.mark.parametrize("data", [{"churned": True}, {"snapshot_time": TIME.isoformat(), "churned": None}])
def test_an_outcome_without_its_moment_or_its_answer_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="snapshot_time and churned"):
        OUTCOMES.transform({"events": pd.DataFrame([_event("a", data, OUTCOME)])})


def test_the_example_of_the_documentation_is_a_valid_row() -> None:
    example = Customer.model_json_schema()["examples"][0]
    assert Customer.model_validate(example).charge_per_call == pytest.approx(75.15 / 316)
    assert Customer.model_config["extra"] == "forbid"
