"""The two churn sources: files found by their header, mapped to customer events."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features import build
from features.transforms.customers import CUSTOMERS, OUTCOMES
from infra.errors import DataError

IRANIAN = (
    "Call  Failure,Complains,Subscription  Length,Charge  Amount,Seconds of Use,Frequency of use,Frequency of SMS,"
    "Distinct Called Numbers,Age Group,Tariff Plan,Status,Age,Customer Value,Churn"
)
PERIODS = ("day", "eve", "night", "intl")
AMOUNTS = ",".join(f"total_{period}_{what}" for period in PERIODS for what in ("minutes", "calls", "charge"))
MLC = (
    "state,account_length,area_code,international_plan,voice_mail_plan,number_vmail_messages,"
    f"{AMOUNTS},number_customer_service_calls,churn"
)
ALI = "8,0,38,0,4370,71,5,17,3,1,1,30,197.64,0"
SARA = "0,1,39,2,318,5,7,4,2,2,2,25,46.035,1"
KANSAS = "KS,128,area_code_415,no,yes,25,265.1,110,45.07,197.4,99,16.78,244.7,91,11.01,10,3,2.7,1,no"


def _frame(name: str, folder: Path, header: str, *lines: str) -> pd.DataFrame:
    (folder / "any name.csv").write_text("\n".join([header, *lines]) + "\n")
    return build.frame(build.read([(name, folder)]), [CUSTOMERS], OUTCOMES)


def test_iranian_customers_are_mapped_with_units(tmp_path: Path) -> None:
    frame = _frame("iranian_churn", tmp_path, IRANIAN, ALI, SARA).set_index("voice_seconds")
    ali, sara = frame.loc[4370.0], frame.loc[318.0]
    assert (ali["voice_calls"], ali["failed_calls"], ali["complaints"], ali["contract"]) == (71.0, 8.0, 0.0, False)
    assert (sara["account_active"], sara["contract"], sara["churned"], sara["charge_level"]) == (False, True, True, 2.0)
    assert ali["tenure_days"] == pytest.approx(38 * 365.25 / 12)
    assert ali["operator"] == ali["dataset"] == "iranian_churn"
    assert pd.isna(ali["support_calls"])


def test_mlc_customers_are_mapped_with_units(tmp_path: Path) -> None:
    row = _frame("mlc_churn", tmp_path, MLC, KANSAS).iloc[0]
    assert (row["day_seconds"], row["day_calls"]) == pytest.approx((265.1 * 60, 110))
    assert row["charge_usd"] == pytest.approx(45.07 + 16.78 + 11.01 + 2.7)
    assert row["voice_seconds"] == pytest.approx((265.1 + 197.4 + 244.7 + 10) * 60)
    assert (row["international_plan"], row["voicemail_plan"], row["churned"]) == (False, True, False)
    assert row["lineage"] is None


def test_exact_duplicates_are_one_customer_and_contradictions_two(tmp_path: Path) -> None:
    gone = ALI[:-1] + "1"
    frame = _frame("iranian_churn", tmp_path, IRANIAN, ALI, SARA, ALI, gone)
    assert len(frame) == frame["customer_id"].nunique() == 3


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "SOURCE.md").write_text("# notes")
    assert len(_frame("mlc_churn", tmp_path, MLC, KANSAS)) == 1


@pytest.mark.parametrize(
    ("header", "line", "problem"),
    [
        (IRANIAN.replace("Complains", "Complaints"), ALI, "missing column 'complains' .did you mean 'complaints'"),
        (IRANIAN, ALI.replace("4370", "many"), "line 2, column 'seconds of use': 'many' is not a number"),
        (IRANIAN, ALI[:-1] + "maybe", "line 2, column 'churn': 'maybe' is not one of 0, 1"),
        ("a,b", "1,2", "no CSV file with the columns of iranian_churn"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, header: str, line: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        _frame("iranian_churn", tmp_path, header, line)


def _customers(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    table = pd.DataFrame({name: random.integers(0, 5000, rows) for name in " ".join(IRANIAN.split()).split(",")})
    return table.assign(**{"Tariff Plan": 1, "Status": 1, "Complains": 0, "Churn": 0, "Age": 30, "Age Group": 3})


def test_shifted_copies_of_fifty_customers_are_recognised(tmp_path: Path) -> None:
    originals = _customers(50, seed=1)
    shifts = pd.Series({"Seconds of Use": 60, "Frequency of use": 3})
    blocks = [originals.assign(**{name: originals[name] + by * n for name, by in shifts.items()}) for n in range(6)]
    lines = pd.concat(blocks).to_csv(index=False, header=False).splitlines()
    frame = _frame("iranian_churn", tmp_path, IRANIAN, *lines)
    assert frame["lineage"].nunique() == 50
    assert (frame.groupby("lineage")["sms_messages"].nunique() == 1).all()


def test_independent_customers_have_no_lineage(tmp_path: Path) -> None:
    lines = _customers(300, seed=1).to_csv(index=False, header=False).splitlines()
    assert _frame("iranian_churn", tmp_path, IRANIAN, *lines)["lineage"].isna().all()
