"""The history of infrastructure changes: files by their columns, rules by policy, rates from earlier changes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features import build
from features.demo import compliance_iac_history as demo
from features.sources.compliance_iac_history import rules
from features.transforms.iac_changes import IAC_CHANGES, IAC_OUTCOMES, IacChange
from infra.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    demo.write(tmp_path, np.random.default_rng(0))
    return tmp_path


def _frame(folder: Path) -> pd.DataFrame:
    return build.frame(build.read([("compliance_iac_history", folder)]), [IAC_CHANGES], IAC_OUTCOMES)


def _rewrite(folder: Path, **columns: object) -> Path:
    file = folder / "iac_changes.parquet"
    pd.read_parquet(file).assign(**columns).to_parquet(file)
    return file


def test_a_row_becomes_a_change_and_its_outcome(folder: Path) -> None:
    raw, frame = pd.read_parquet(folder / "iac_changes.parquet"), _frame(folder)
    assert len(frame) == len(raw)
    broken = raw[raw["introduced"] != ""].iloc[0]
    row = frame[frame["change_id"] == f"{broken['repo']}@{broken['commit'][:12]}:{broken['path']}"].iloc[0]
    assert row["introduced"] == ";".join(item.rpartition(":")[0] for item in broken["introduced"].split(";"))
    assert list(row["facts_added"]) == broken["facts_added"].split(";")
    assert list(row["facts_removed"]) == []
    assert row["time"] == pd.Timestamp(broken["commit_time_utc"])


def test_rates_are_pulled_towards_the_base_rate(folder: Path) -> None:
    _rewrite(folder, author_prev_changes=5, author_prev_violating=5, file_prev_changes=0, file_prev_violating=0)
    row = _frame(folder).iloc[0]
    assert row["author_violation_rate"] == pytest.approx((5 + 5 * 0.1) / 10)
    assert row["file_violation_rate"] == pytest.approx(0.1)


def test_nothing_of_the_outcome_is_an_input() -> None:
    assert not {"introduced", "fixed", "violation"} & set(IacChange.model_fields)


def test_rules_name_types_as_the_facts_do(folder: Path) -> None:
    found = rules(folder)
    assert found["CKV_D_1"] == {
        "title": "Ensure the bucket is versioned",
        "kinds": ["terraform:resource.aws_s3_bucket"],
    }
    assert found["CKV_D_4"]["kinds"] == ["cloudformation:AWS::SQS::Queue"]


def test_bad_files_are_named(folder: Path, tmp_path: Path) -> None:
    file = _rewrite(folder, commit_time_utc="yesterday")
    with pytest.raises(DataError, match="commit_time_utc"):
        _frame(folder)
    pd.DataFrame({"repo": ["a"]}).to_parquet(file)
    with pytest.raises(DataError, match=r"iac_changes.parquet: missing columns.*commit"):
        _frame(folder)
    file.write_text("no parquet")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        _frame(folder)
    (folder / "policies.csv").write_text("check_id,entity\n")
    with pytest.raises(DataError, match="missing columns"):
        rules(folder)
    (folder / "policies.csv").unlink()
    with pytest.raises(DataError, match="holds no policies"):
        rules(folder)
