"""Drift from plans, and the walk to a verified repair, with a stand-in of Terraform."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows import cli
from infra.errors import DataError, UserError
from remediation.drift import Drifted, plans, terraform
from remediation.drift.reconcile import Project

QUEUE, ROLE = "aws_sqs_queue.q", "aws_iam_role.r"


def _drift(address: str, before: dict, after: dict | None, **more: Any) -> dict[str, Any]:
    actions = ["delete"] if after is None else ["update"]
    return {
        "address": address,
        "type": address.split(".")[0],
        "change": {"actions": actions, "before": before, "after": after, **more},
    }


def _plan(drift: list[dict], changes: dict[str, list[str]] | None = None, live: dict | None = None) -> dict[str, Any]:
    resources = [{"address": address, "values": values} for address, values in (live or {}).items()]
    return {
        "format_version": "1.2",
        "resource_drift": drift,
        "resource_changes": [{"address": at, "change": {"actions": to}} for at, to in (changes or {}).items()],
        "prior_state": {"values": {"root_module": {"child_modules": [{"resources": resources}]}}},
    }


SLOW = _drift(
    QUEUE, {"delay": 5, "tags": None, "arn": "a"}, {"delay": 0, "tags": {}, "arn": "b", "tags_all": {"x": "y"}}
)
COMPUTED = {
    "provider_schemas": {
        "aws": {"resource_schemas": {"aws_sqs_queue": {"block": {"attributes": {"arn": {"computed": True}}}}}}
    }
}


def test_only_what_somebody_set_is_drift() -> None:
    role = _drift(
        ROLE,
        {"policy": '{"a": 1}', "inline_policy": [], "name": "r"},
        {"policy": '{ "a":1 }', "inline_policy": [{"name": "other"}], "name": "r"},
    )
    found = plans.drifted(_plan([SLOW, role]), plans.computed(COMPUTED))
    assert found == [Drifted(address=QUEUE, attribute="delay", applied="5", live="0")]


def test_what_others_attach_is_drift_only_where_it_is_set_in_place() -> None:
    at = 'module.m["a"].aws_s3_bucket.b'
    entry = _drift("aws_s3_bucket.b", {"versioning": []}, {"versioning": [{"enabled": True}]}) | {"address": at}
    assert plans.drifted(_plan([entry])) == []
    inner = {"resources": [{"address": "aws_s3_bucket.b", "expressions": {"versioning": [{}]}}]}
    written = {"configuration": {"root_module": {"module_calls": {"m": {"module": inner}}}}}
    assert [each.attribute for each in plans.drifted(_plan([entry]) | written)] == ["versioning"]


def test_a_lost_resource_is_drift_and_a_secret_stays_one() -> None:
    secret = _drift(ROLE, {"key": "old"}, {"key": "new"}, after_sensitive={"key": True})
    lost, hidden = plans.drifted(_plan([_drift("a.b", {"x": 1}, None), secret]))
    assert (lost.attribute, lost.live) == ("", None)
    assert (hidden.applied, hidden.live) == ("(sensitive)", "(sensitive)")


class Stand:
    """A Terraform that says what it is told to, plan after plan."""

    says: Iterator[dict[str, Any]]

    def __init__(self, project: Path, home: Path) -> None:
        self.project, self.applied = project, 0
        home.mkdir(parents=True, exist_ok=True)

    def prepare(self) -> None:
        """Nothing to do."""

    def plan(self, name: str) -> tuple[Path, dict[str, Any]]:
        return Path(name), next(self.says)

    def apply(self, plan: Path) -> None:
        self.applied += 1

    def schemas(self) -> dict[str, Any]:
        return COMPUTED

    def state(self) -> str:
        return "{}"

    def configuration(self) -> list[Path]:
        return sorted(self.project.glob("*.tf"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr("remediation.drift.reconcile.Terraform", Stand)
    (tmp_path / "main.tf").write_text("good")
    return Project(tmp_path, tmp_path / "home")


def _says(*told: dict[str, Any]) -> None:
    Stand.says = iter(told)


def test_a_repair_is_verified_by_the_live_values(project: Project) -> None:
    update = {QUEUE: ["update"]}
    _says(_plan([SLOW], update), _plan([], {QUEUE: ["no-op"]}, {QUEUE: {"delay": 5}}))
    done = project.reconcile()
    assert (done.applied, done.verified, done.remaining) == (True, True, ())
    _says(_plan([SLOW], update), _plan([], {}, {QUEUE: {"delay": 0}}))  # taken over instead of put back
    done = project.reconcile()
    assert (done.verified, [each.attribute for each in done.remaining]) == (False, ["delay"])


def test_nothing_is_applied_unasked_or_beyond_the_drift(project: Project) -> None:
    _says(_plan([SLOW], {QUEUE: ["update"]}))
    assert project.detect().applied is False
    _says(_plan([SLOW], {QUEUE: ["update"], ROLE: ["update"]}))
    with pytest.raises(UserError, match=r"would also change aws_iam_role\.r"):
        project.reconcile()
    replaced = _plan([SLOW], {QUEUE: ["delete", "create"]})
    _says(replaced)
    with pytest.raises(UserError, match="destroy and make anew"):
        project.reconcile()
    assert project.terraform.applied == 0  # type: ignore[attr-defined]
    _says(replaced, _plan([], {}, {QUEUE: {"delay": 5}}))
    assert project.reconcile(replace=True).verified
    _says(_plan([]))
    assert project.reconcile().applied is False  # no drift, nothing to do


def test_the_last_good_configuration_comes_back(project: Project) -> None:
    main = project.terraform.project / "main.tf"
    with pytest.raises(UserError, match="no good configuration"):
        project.rollback()
    _says(_plan([]))
    project.detect()
    main.write_text("bad")
    _says(_plan([], {QUEUE: ["update"]}), _plan([]))
    back = project.rollback()
    assert (back.verified, main.read_text()) == (True, "good")
    assert (project.home / "replaced" / "main.tf").read_text() == "bad"
    _says(_plan([]), _plan([]))
    project.rollback()  # once more: what was replaced is not replaced by the good one
    assert (project.home / "replaced" / "main.tf").read_text() == "bad"


def test_a_rollback_destroys_nothing_without_leave(project: Project) -> None:
    main = project.terraform.project / "main.tf"
    _says(_plan([]))
    project.detect()
    main.write_text("more")
    gone = _plan([], {ROLE: ["delete"]})
    _says(gone)
    with pytest.raises(UserError, match="would destroy"):
        project.rollback()
    assert (project.terraform.applied, main.read_text()) == (0, "more")  # type: ignore[attr-defined]
    _says(gone, _plan([]))
    assert project.rollback(replace=True).verified
    assert main.read_text() == "good"


def test_a_secret_is_verified_too_and_a_list_without_one_is_shown(project: Project) -> None:
    secret = _drift(ROLE, {"key": "old"}, {"key": "new"}, after_sensitive={"key": True})
    for live, verified in (("old", True), ("new", False)):
        _says(_plan([secret], {ROLE: ["update"]}), _plan([], {}, {ROLE: {"key": live}}))
        done = project.reconcile()
        assert (done.verified, "new" in done.model_dump_json()) == (verified, False)
    rules = _drift("a.b", {"in": [{"p": 1}], "k": [1]}, {"in": [], "k": []}, before_sensitive={"in": [{}], "k": [True]})
    assert [each.applied for each in plans.drifted(_plan([rules]))] == ['[{"p": 1}]', "(sensitive)"]


def test_without_terraform_it_says_so_and_reads_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terraform.shutil, "which", lambda name: None)
    with pytest.raises(terraform.NoTerraform, match="give a plan as JSON"):
        Project(tmp_path, tmp_path / "home")
    file = tmp_path / "drift.json"
    file.write_text(json.dumps(_plan([SLOW])))
    done = CliRunner().invoke(cli.app, ["drift", str(file)])
    assert done.exit_code == 1
    assert {each["attribute"] for each in json.loads(done.stdout)["drifted"]} == {"arn", "delay"}  # no schema at hand
    file.write_text(json.dumps(_plan([])))
    assert CliRunner().invoke(cli.app, ["drift", str(file)]).exit_code == 0
    file.write_text("{}")
    with pytest.raises(DataError, match="no plan of format 1.x"):
        plans.read(file)
    file.write_text("nothing")
    with pytest.raises(DataError, match="not a readable JSON file"):
        plans.read(file)
