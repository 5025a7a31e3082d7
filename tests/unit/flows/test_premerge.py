"""The check before a merge: the model's answer, the engine's word, the exit code and SARIF."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from features.iac import checkov
from flows import cli, premerge
from infra.errors import DataError, UserError
from serving import client
from training.models.compliance_predictor import AffectedPolicy, ComplianceAnswer

OPEN = 'resource "aws_s3_bucket" "a" {\n  bucket = "x"\n}\n'
POLICY = "CKV_AWS_18"
ENGINE = f"""#!{sys.executable}
import json, pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("-d") + 1])
found = [
    {{"file_path": "/" + file.relative_to(folder).as_posix(), "check_id": name, "check_name": "Ensure logging",
      "resource": "aws_s3_bucket.a", "file_line_range": [1, 3], "guideline": None}}
    for file in sorted(folder.rglob("main.tf")) for name in ("{POLICY}", "CKV2_AWS_1")
    if "logging" not in file.read_text()
]
print(json.dumps([{{"results": {{"failed_checks": found}}}}]))
"""


def _answers(risk: float) -> Any:
    affected = AffectedPolicy(policy=POLICY, title="Ensure logging", probability=0.7, resources=["x"])
    return lambda name, rows, explain=False: SimpleNamespace(
        version=3,
        answers=[
            ComplianceAnswer(violation_risk=risk, violation=risk > 0.5, affected_policies=[affected]) for _ in rows
        ],
    )


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "main.tf").write_text(OPEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setattr(client, "predict", _answers(0.2))
    return tmp_path


@pytest.fixture
def engine(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = repository / "engine"
    program.write_text(ENGINE)
    program.chmod(0o755)
    monkeypatch.setenv("AIOPS_CHECKOV", str(program))
    return program


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIOPS_CHECKOV", raising=False)
    monkeypatch.setattr(checkov, "ROOT", Path("/nonexistent"))
    monkeypatch.setattr(checkov.shutil, "which", lambda name: None)


def _run(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(cli.app, ["predict", "compliance_predictor", *arguments])
    return done.exit_code, json.loads(done.stdout) if done.stdout.startswith("{") else {}


def test_a_confirmed_policy_fails_the_merge_whatever_the_risk(engine: Path) -> None:
    sarif = engine.parent / "out.sarif"
    code, report = _run("main.tf", "--sarif", str(sarif))
    assert code == 1
    [found] = report["files"][0]["confirmed"]
    assert (found["policy"], found["resource"], found["line"]) == (POLICY, "aws_s3_bucket.a", 1)
    content = json.loads(sarif.read_text())
    assert content["version"] == "2.1.0"
    [result] = content["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == (POLICY, "error")
    assert result["properties"] == {"confirmed": True, "predictedProbability": 0.7}
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "main.tf"
    assert content["runs"][0]["tool"]["driver"]["rules"][0]["id"] == POLICY


def test_what_was_broken_before_is_no_finding(engine: Path) -> None:
    change = '--- a/main.tf\n+++ b/main.tf\n@@ -2 +2 @@\n-  bucket = "x"\n+  bucket = "y"\n'
    (engine.parent / "c.diff").write_text(change)
    code, report = _run("c.diff")
    assert (code, report["files"][0]["confirmed"], report["unconfirmed"]) == (0, [], None)


def test_without_an_engine_it_says_so(repository: Path, absent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    code, report = _run("main.tf")
    assert (code, report["files"][0]["confirmed"]) == (0, None)
    assert "nothing was confirmed: checkov is not on this machine; `make checkov`" in report["unconfirmed"]
    assert _run("main.tf", "--fail-above", "0.1")[0] == 1
    monkeypatch.setattr(client, "predict", _answers(0.9))
    assert _run("main.tf", "--sarif", "out.sarif")[0] == 1
    run = json.loads((repository / "out.sarif").read_text())["runs"][0]
    assert run["results"][0]["level"] == "warning"
    assert "nothing was confirmed" in run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"]


def test_what_nobody_judged_does_not_pass(repository: Path, absent: None, monkeypatch: pytest.MonkeyPatch) -> None:
    mute = SimpleNamespace(version=3, answers=[ComplianceAnswer(abstained="no changes of this framework")])
    monkeypatch.setattr(client, "predict", lambda name, rows, explain=False: mute)
    assert _run("main.tf")[0] == 1


def test_what_is_wrong_is_named(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (engine.parent / "notes.tf").write_text("# nothing\n")
    with pytest.raises(DataError, match="nothing to ask about"):
        premerge.check("compliance_predictor", Path("notes.tf"))
    engine.write_text("#!/bin/sh\necho no use >&2\nexit 2\n")
    with pytest.raises(UserError, match="ended with code 2: no use"):
        premerge.check("compliance_predictor", Path("main.tf"))
    engine.write_text("#!/bin/sh\nsleep 9\n")
    monkeypatch.setattr(checkov, "TIMEOUT", 0.2)
    with pytest.raises(UserError, match="did not end within"):
        checkov.scan([premerge.FileChange("main.tf", None, OPEN)], timeout=0.2)
    monkeypatch.setenv("AIOPS_CHECKOV", "/nonexistent")
    with pytest.raises(DataError, match="is not a program"):
        checkov.find()
    assert CliRunner().invoke(cli.app, ["predict", "x", "rows.json", "--fail-above", "0.5"]).exit_code != 0


@pytest.mark.integration
def test_the_real_engine_confirms_what_a_new_bucket_breaks(repository: Path) -> None:
    try:
        checkov.find()
    except checkov.NoEngine as error:
        pytest.skip(str(error))
    report = premerge.check("compliance_predictor", Path("main.tf"))
    assert report.files[0].confirmed
    found = {each.policy: each for each in report.files[0].confirmed}
    assert found[POLICY].resource == "aws_s3_bucket.a"
    assert not any(name.startswith("CKV2_") for name in found)
    assert report.blocks(None)
