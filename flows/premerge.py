"""The check of a change before it is merged: the model's risk and policies, then what the policy engine confirms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from features.iac import FileChange, changes, checkov, diff
from features.transforms.iac_changes import IacChange
from infra.errors import DataError

SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


class Confirmed(BaseModel):
    """A newly broken policy that the engine found."""

    model_config = ConfigDict(frozen=True)
    policy: str
    resource: str
    line: int
    fix: str = Field(description="the policy's title, with the engine's guideline where it gives one")


class Checked(BaseModel):
    """One changed file: the model's answer, and the engine's."""

    model_config = ConfigDict(frozen=True)
    path: str
    answer: dict[str, Any]
    confirmed: list[Confirmed] | None = Field(description="null: the engine did not look")


class Report(BaseModel):
    """What the check found. `unconfirmed`: why nothing could be confirmed, or null."""

    model_config = ConfigDict(frozen=True)
    model: str
    version: str
    files: list[Checked]
    unconfirmed: str | None

    def blocks(self, above: float | None) -> bool:
        """Whether a policy is confirmed, a risk is `above` (null: a change that the model calls a violation), or a file
        was looked at by neither: what nobody judged has not passed.
        """
        risky = (
            each.answer.get("violation") if above is None else (each.answer.get("violation_risk") or 0.0) > above
            for each in self.files
        )
        unseen = any(each.confirmed is None and each.answer.get("abstained") for each in self.files)
        return unseen or any(each.confirmed for each in self.files) or any(risky)

    def sarif(self) -> dict[str, Any]:
        """The findings as SARIF 2.1.0 (OASIS): confirmed ones are errors, predicted ones warnings."""
        results = [result for each in self.files for result in _results(each)]
        titles = {result["ruleId"]: result["message"]["text"] for result in results}
        rules = [{"id": name, "shortDescription": {"text": text}} for name, text in sorted(titles.items())]
        driver = {"name": f"aiops {self.model}", "version": self.version, "rules": rules}
        notes = [{"level": "warning", "message": {"text": self.unconfirmed}}] if self.unconfirmed else []
        run = {
            "tool": {"driver": driver},
            "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": notes}],
            "results": results,
        }
        return {"version": "2.1.0", "$schema": SARIF, "runs": [run]}


def check(name: str, place: Path, explain: bool = False, root: Path | None = None) -> Report:
    """Ask model `name` about the changes at `place` (see `features.iac.diff`), and let the engine confirm.

    Raises DataError when there is no infrastructure code in it, and what asking the API raises.
    """
    from serving import client

    root = root or Path.cwd()
    found = changes.rows(diff.read(place, root), root.name)
    if not found:
        raise DataError(f"{place}: no Terraform, CloudFormation or Kubernetes file is changed; nothing to ask about")
    files = [change for change, _ in found]
    confirmed, before, why = _engine(files)
    rows = _with_failures(found, files, root, before)
    answers = client.predict(name, rows, explain=explain)
    checked = [
        Checked(
            path=file.path,
            answer=answer.model_dump(mode="json"),
            confirmed=None if confirmed is None else [_told(each) for each in confirmed if each.path == file.path],
        )
        for file, answer in zip(files, answers.answers, strict=True)
    ]
    return Report(model=name, version=str(answers.version), files=checked, unconfirmed=why)


def _engine(
    files: list[FileChange],
) -> tuple[list[checkov.Failure] | None, list[checkov.Failure] | None, str | None]:
    """What is newly broken and what was before; or None and why the engine did not look."""
    try:
        before, after = checkov.scan(files)
    except checkov.NoEngine as error:
        return None, None, f"nothing was confirmed: {error}"
    return checkov.introduced(before, after), before, None


def _with_failures(
    found: list[tuple[FileChange, IacChange]],
    files: list[FileChange],
    root: Path,
    before: list[checkov.Failure] | None,
) -> list[IacChange]:
    if before is None:
        return [row for _, row in found]
    return [row for _, row in changes.rows(files, root.name, checkov.by_path(before))]


def _told(failure: checkov.Failure) -> Confirmed:
    fix = failure.title + (f" ({failure.guideline})" if failure.guideline else "")
    return Confirmed(policy=failure.policy, resource=failure.resource, line=failure.line, fix=fix)


def _results(checked: Checked) -> list[dict[str, Any]]:
    predicted = {each["policy"]: each for each in checked.answer.get("affected_policies", ())}
    found = [
        _result(checked.path, each.policy, "error", f"{each.fix}: {each.resource}", each.line, predicted, True)
        for each in checked.confirmed or ()
    ]
    if checked.confirmed is not None:  # the engine has looked: what it does not confirm is no finding
        return found
    return [
        _result(checked.path, name, "warning", each["title"], 1, predicted, False) for name, each in predicted.items()
    ]


def _result(
    path: str, policy: str, level: str, text: str, line: int, predicted: dict[str, Any], confirmed: bool
) -> dict[str, Any]:
    place = {"artifactLocation": {"uri": path}, "region": {"startLine": line}}
    chance = predicted.get(policy, {}).get("probability")
    return {
        "ruleId": policy,
        "level": level,
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
        "properties": {"confirmed": confirmed, "predictedProbability": chance},
    }
