"""The three sources of labelled activities: files found, mapped to OCSF records, and what is said of damaged ones."""

from pathlib import Path

import pandas as pd
import pytest

from features import build
from features.sources.http_params import template
from features.sources.nsl_kdd import COLUMNS
from features.sources.unsw_nb15 import NUMBERS
from features.transforms.activities import ACTIVITIES, LONGEST, VERDICTS
from infra.errors import DataError

FTP = "5,tcp,ftp,SF,30,200" + ",0" * 5 + ",1" + ",0" * 10 + ",1" * 19  # a login without anything sensitive
FLOOD = "0,tcp,private,S0,0,0" + ",0" * 16 + ",1" * 19
FLOW = ["id", "proto", "service", "state", *NUMBERS, "attack_cat", "label"]


def _frame(name: str, folder: Path) -> pd.DataFrame:
    return build.frame(build.read([(name, folder)]), [ACTIVITIES], VERDICTS)


def _flows(folder: Path, *rows: tuple[int, float, str], name: str = "UNSW.csv") -> pd.DataFrame:
    values = [[at, "tcp", "-", "FIN", *[size] * len(NUMBERS), kind, 0] for at, size, kind in rows]
    table = pd.DataFrame(values, columns=FLOW).assign(is_sm_ips_ports=0)
    packed = {"method": "zip", "archive_name": "inside.csv"} if name.endswith(".zip") else None
    table.to_csv(folder / name, index=False, encoding="utf-8-sig", compression=packed)
    return _frame("unsw_nb15", folder)


def test_a_login_is_told_as_connection_and_as_session(tmp_path: Path) -> None:
    assert len(FTP.split(",")) == len(FLOOD.split(",")) == len(COLUMNS) - 1
    (tmp_path / "KDDTest+.txt").write_text(f"{FTP},warezclient,21\n{FLOOD},neptune,21\n")
    (tmp_path / "README.txt").write_text("a note, with commas, and\nlines, of other, lengths, than these\n")
    rows = _frame("nsl_kdd", tmp_path).set_index(["kind", "threat"])
    assert set(rows.index) == {
        ("connection", "r2l/warezclient"),
        ("connection", "dos/neptune"),
        ("session", "r2l/warezclient"),
    }
    session, flood = rows.loc[("session", "r2l/warezclient")], rows.loc[("connection", "dos/neptune")]
    assert (session["duration_s"], session["bytes_in"], session["logged_in"], session["service"]) == (5, 200, 1, "ftp")
    assert pd.isna(session["count"])
    assert session["protocol"] is None
    assert (flood["protocol"], flood["state"], flood["count"], flood["bytes_out"]) == ("tcp", "S0", 1, 0)


@pytest.mark.parametrize("without", [0, 1])
def test_the_difficulty_may_be_there_and_is_never_read(tmp_path: Path, without: int) -> None:
    (tmp_path / "part.txt").write_text(FLOOD + ",neptune" + ("" if without else ",3") + "\n")
    assert "difficulty" not in _frame("nsl_kdd", tmp_path)


def test_equal_flows_are_one_and_an_attack_outweighs(tmp_path: Path) -> None:
    frame = _flows(tmp_path, (1, 7.0, "Normal"), (2, 7.0, "Exploits"), (3, 8.0, "Normal"), (9, 8.0, "Normal"))
    assert frame["threat"].tolist() == ["exploits", "none"]
    assert (frame["time"] - pd.Timestamp("2000-01-01", tz="UTC")).dt.total_seconds().tolist() == [1, 3]
    assert frame["activity_id"].is_unique
    assert frame.loc[0, ["packets_out", "bytes_in", "handshake_s"]].tolist() == [7, 7, 7]


def test_the_publishers_zip_is_read(tmp_path: Path) -> None:
    assert len(_flows(tmp_path, (1, 1.0, "Normal"), (2, 2.0, "Backdoor"), name="UNSW_NB15_training-set.zip")) == 2


def test_values_are_kept_as_they_are_and_carry_their_template(tmp_path: Path) -> None:
    values = ["null", "", "calle 5", "1' and 77=77--", "1' and 12=12--", "x" * (LONGEST + 5)]
    table = pd.DataFrame({"payload": values, "length": 1, "attack_type": ["norm"] * 3 + ["sqli"] * 2 + ["norm"]})
    table.assign(label="norm").to_csv(tmp_path / "payload_test.csv", index=False)
    frame = _frame("http_params", tmp_path).set_index("value")
    assert set(frame.index) == {*values[:5], "x" * LONGEST}
    assert frame.loc[values[3], "lineage"] == frame.loc[values[4], "lineage"]
    assert frame.loc["calle 5", "lineage"] != frame.loc["null", "lineage"]


def test_templates_differ_in_words_and_not_in_numbers_and_made_up_names() -> None:
    same = template(pd.Series(["-4407') as hofy where 20=20", "-1') as abcd where 3=3", "0x7171') as zzzz where 1=1"]))
    assert same.iloc[0] == same.iloc[1]
    assert template(pd.Series(["select a"])).iloc[0] != template(pd.Series(["select b"])).iloc[0]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("nsl_kdd", f"{FLOOD},never_heard_of,3\n", "line 2, column 'label': 'never_heard_of'|column 'label'"),
        ("nsl_kdd", FLOOD.replace("S0,0", "S0,many") + ",neptune,3\n", "column 'src_bytes': 'many' is not a number"),
        ("nsl_kdd", "a,b\n", "no text file with the 42 columns of nsl_kdd"),
        ("http_params", "payload,attack_type,label\nx,strange,anom\n", "column 'attack_type': 'strange'"),
        ("unsw_nb15", "a,b\n1,2\n", "no CSV file with the columns of unsw_nb15"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, name: str, text: str, problem: str) -> None:
    (tmp_path / ("part.csv" if name != "nsl_kdd" else "part.txt")).write_text(text)
    with pytest.raises(DataError, match=problem):
        _frame(name, tmp_path)


def test_a_broken_zip_is_named(tmp_path: Path) -> None:
    (tmp_path / "flows.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"flows\.zip is not a readable CSV file"):
        _frame("unsw_nb15", tmp_path)
