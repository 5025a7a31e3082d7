"""Drift events of providers: looks on a fixed calendar, history before them, labels after them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features import build
from features.transforms.configuration_drift import DRIFTS, WATCHED
from infra.errors import DataError

HEAD = "provider,resource,detected_utc,event,n_actions,create_date,content_changed,drift\n"
EVENTS = """aws,a,2021-01-01T00:00:00Z,first_seen,5,2020-12-01T00:00:00Z,False,False
aws,a,2021-02-10T00:00:00Z,changed,6,2020-12-01T00:00:00Z,True,True
aws,a,2021-02-20T00:00:00Z,changed,5,2020-12-01T00:00:00Z,True,False
aws,b,2021-03-20T00:00:00Z,first_seen,1,,False,False
aws,b,2021-05-01T00:00:00Z,deleted,1,,False,False
aws,c,2021-08-01T00:00:00Z,first_seen,1,,False,False
"""


def _frame(folder: Path, text: str = EVENTS) -> pd.DataFrame:
    (folder / "events.csv").write_text(HEAD + text)
    return build.frame(build.read([("drift_role_events", folder)]), [WATCHED], DRIFTS)


def test_a_look_knows_only_what_came_before(tmp_path: Path) -> None:
    rows = _frame(tmp_path).set_index("resource").loc["aws/a"].set_index("time").sort_index()
    assert (rows.index[1:] - rows.index[:-1] == pd.Timedelta(days=30)).all()
    first, second, third = (rows.iloc[n] for n in range(3))
    assert first.name == pd.Timestamp("2021-01-03", tz="UTC")
    assert (first["drifts"], first["changes"], first["known_days"], first["actions"]) == (0, 0, 2, 5)
    assert np.isnan(first["days_since_drift"])
    assert first["age_days"] == 33
    assert (first["drifted"], second["drifted"]) == (False, True)
    assert (third["drifts"], third["changes"], third["drifts_30d"], third["drifted"]) == (1, 2, 1, False)
    assert (third["days_since_drift"], third["days_since_change"]) == (22, 12)
    assert third["days_between_drifts"] == 40
    assert rows.iloc[-1]["drifted"] is None  # its 30 days run beyond the archive


def test_a_look_is_labelled_when_its_days_are_over_whatever_came_in_them(tmp_path: Path) -> None:
    end = "aws,d,2021-07-01T00:00:00Z,first_seen,1,,False,False\naws,d,2021-08-10T00:00:00Z,changed,1,,True,True\n"
    rows = _frame(tmp_path, EVENTS + end)
    late = rows[rows["time"] == pd.Timestamp("2021-08-01", tz="UTC")]
    assert set(late["resource"]) >= {"aws/a", "aws/d"}
    assert late["drifted"].isna().all()  # the one that drifted by then, too: else only positive ones were judged


def test_a_resource_is_looked_at_while_it_is_there(tmp_path: Path) -> None:
    rows = _frame(tmp_path)
    times = rows.loc[rows["resource"] == "aws/b", "time"]
    assert [str(each.date()) for each in times] == ["2021-04-03"]
    assert rows.loc[rows["resource"] == "aws/a", "time"].max() == pd.Timestamp("2021-08-01", tz="UTC")


def test_two_parts_make_the_history_of_the_whole(tmp_path: Path) -> None:
    lines = EVENTS.splitlines(keepends=True)
    parts = []
    for name, text in (("early", lines[:3]), ("late", lines[3:])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "events.csv").write_text(HEAD + "".join(text))
        parts.append(("drift_role_events", tmp_path / name))
    both = build.frame(build.read(parts), [WATCHED], DRIFTS)
    (tmp_path / "whole").mkdir()
    pd.testing.assert_frame_equal(both, _frame(tmp_path / "whole"))


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"events.csv, line 2: no provider, resource or time"):
        _frame(tmp_path, "aws,a,yesterday,first_seen,5,,False,False\n")
    (tmp_path / "events.csv").write_text("provider,resource\naws,a\n")
    with pytest.raises(DataError, match="missing columns"):
        build.read([("drift_role_events", tmp_path)])
