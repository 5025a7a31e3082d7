"""The failure records of clusters → canonical tables."""

import json
import lzma
from pathlib import Path

import pandas as pd
import pytest

from features import build
from features.transforms.node_failures import NODE_FAILED, OBSERVED, REPAIRED
from infra.errors import DataError

NAME = "lanl_failures_1996_2005"
HEAD = (
    "System,machine type,nodenumz,node install,Prob Started,Prob Fixed,Down Time,"
    "Facilities,Hardware,Human Error,Network,Undetermined,Software,Same Event"
)
LINES = (
    "2,cluster,0,5-Apr,6/21/2005 10:54,6/21/2005 11:00,6,,CPU,,,,,No",
    "2,cluster,1,Nov-96,6/22/2005 9:13,6/21/2005 9:19,6,,,,,,OS,No",
    "2,cluster,1,before tracking,6/23/2005 9:13,6/24/2005 9:19,6,,,,,,,No",
    "3,cluster,,Nov-96,6/23/2005 9:13,6/24/2005 9:19,6,,,,,,OS,No",
)


def _events(folder: Path, *lines: str, head: str = HEAD) -> pd.DataFrame:
    (folder / "failures.csv.xz").write_bytes(lzma.compress("\n".join([head, *lines, ""]).encode()))
    tables = build.read([(NAME, folder)])
    assert len(tables["metrics"]) == 0
    return tables["events"].to_pandas()


def test_a_failure_is_known_with_its_cause_when_it_is_repaired(tmp_path: Path) -> None:
    events = _events(tmp_path, *LINES)
    begun, over = (events[events["type"] == kind].reset_index(drop=True) for kind in (NODE_FAILED, REPAIRED))
    assert begun["subject"].tolist() == over["subject"].tolist() == ["2-0", "2-1", "2-1"]  # one names no node
    assert (over["time"] - begun["time"]).dt.total_seconds().tolist() == [360, 0, 86760]  # never before its begin
    facts = [json.loads(text) for text in over["data"]]
    assert [fact.get("cause") for fact in facts] == ["CPU", "OS", None]
    assert [fact.get("installed") for fact in facts] == ["2005-04-01", "1996-11-01", None]
    assert events["id"].is_unique


def test_a_node_is_observed_until_the_last_failure_of_its_system(tmp_path: Path) -> None:
    events = _events(tmp_path, *LINES)
    until = events[events["type"] == OBSERVED].set_index("subject")["time"]
    assert {node: str(time) for node, time in until.items()} == dict.fromkeys(
        ("2-0", "2-1"), "2005-06-23 09:13:00+00:00"
    )


def test_two_failures_of_one_minute_are_two_events(tmp_path: Path) -> None:
    assert _events(tmp_path, LINES[0], LINES[0])["id"].is_unique


def test_a_time_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"failures.csv.xz, line 3, column 'prob started': 'soon' is not a time"):
        _events(tmp_path, LINES[0], LINES[1].replace("6/22/2005 9:13", "soon"))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="prob fixed"):
        _events(tmp_path, LINES[0], head=HEAD.replace("Prob Fixed", "Fixed"))
