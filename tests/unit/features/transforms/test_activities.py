import json
from typing import Any

import pandas as pd
import pytest

from features.transforms.activities import (
    ACTIVITIES,
    LONGEST,
    VERDICT,
    VERDICTS,
    Activity,
)
from infra.errors import DataError

TIME = pd.Timestamp("2026-01-01", tz="UTC")


def _record(uid: str, unmapped: dict[str, Any] | str, time: pd.Timestamp = TIME, **standard: Any) -> dict[str, Any]:
    text = unmapped if isinstance(unmapped, str) else json.dumps(unmapped)
    empty = {"protocol_name": None, "bytes_in": None, "bytes_out": None}
    return {"dataset": "test", "time": time, "metadata_uid": uid, "unmapped": text, **empty, **standard}


def _rows(*records: dict[str, Any]) -> pd.DataFrame:
    return ACTIVITIES.transform({"network": pd.DataFrame(list(records))}).set_index("activity_id")


def _verdict(subject: str, threat: str, observed: pd.Timestamp = TIME) -> dict[str, Any]:
    data = json.dumps({"observed": observed.isoformat(), "threat": threat})
    return {
        "dataset": "test",
        "time": TIME,
        "id": f"{subject}-{threat}",
        "subject": subject,
        "data": data,
        "type": VERDICT,
    }


def test_standard_fields_and_the_unmapped_become_columns_and_the_rest_is_null() -> None:
    rows = _rows(
        _record("a", {"kind": "flow", "ttl_out": 31, "other": 1}, protocol_name="tcp", bytes_in=5),
        _record("b", {"kind": "parameter", "value": "x" * (LONGEST + 1)}),
    )
    assert set(rows.columns) | {"activity_id"} == {"dataset", *Activity.model_fields}
    assert rows.loc["a", ["kind", "protocol", "bytes_in", "ttl_out"]].tolist() == ["flow", "tcp", 5.0, 31.0]
    assert rows.loc["a", "value"] is None
    assert len(rows.loc["b", "value"]) == LONGEST
    assert pd.isna(rows.loc["b", "bytes_in"])


def test_each_activity_has_the_same_row_whoever_else_is_there_and_in_any_order() -> None:
    records = [_record(name, {"kind": "flow", "ttl_out": n}) for n, name in enumerate("abc")]
    together = _rows(*records)
    pd.testing.assert_frame_equal(together, _rows(*records[::-1]))
    for record in records:
        pd.testing.assert_frame_equal(_rows(record), together.loc[[record["metadata_uid"]]])


def test_an_activity_seen_again_is_the_first_one() -> None:
    rows = _rows(_record("a", {"kind": "flow"}, TIME + pd.Timedelta("1h")), _record("a", {"kind": "flow"}))
    assert rows["time"].tolist() == [TIME]


def test_of_several_verdicts_an_attack_counts_at_the_first_time() -> None:
    later = TIME + pd.Timedelta("1h")
    events = [_verdict("a", "none"), _verdict("a", "dos/smurf", later), _verdict("b", "none", later)]
    rows = VERDICTS.transform({"events": pd.DataFrame(events)}).set_index("activity_id")
    assert rows["threat"].to_dict() == {"a": "dos/smurf", "b": "none"}
    assert rows["time"].to_dict() == {"a": TIME, "b": later}
    assert rows["lineage"].isna().all()


@pytest.mark.parametrize(("text", "problem"), [("not json", "not JSON"), ("[1]", "JSON object")])
def test_damaged_data_is_named(text: str, problem: str) -> None:
    with pytest.raises(DataError, match=rf"'a'.*{problem}"):
        _rows(_record("a", text))


def test_a_verdict_without_a_threat_is_refused() -> None:
    event = {**_verdict("a", "none"), "data": json.dumps({"observed": TIME.isoformat()})}
    with pytest.raises(DataError, match="observed and threat"):
        VERDICTS.transform({"events": pd.DataFrame([event])})


def test_the_example_of_the_documentation_is_a_valid_row() -> None:
    assert Activity.model_validate(Activity.model_json_schema()["examples"][0]).kind == "parameter"
