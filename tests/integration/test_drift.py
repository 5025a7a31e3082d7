"""Drift of a real Terraform project: found, put back, verified, and rolled back to the last good configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediation.drift.reconcile import Project
from tests import drift_lab
from tests.drift_cases import CASES

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]  # each call starts the AWS provider: 5 CPU-s


def test_drift_is_found_put_back_and_verified(tmp_path: Path) -> None:
    if why := drift_lab.missing():
        pytest.skip(why)
    queue, limit = (
        next(case for case in CASES if case.address == address)
        for address in ("aws_sqs_queue.orders", "aws_ssm_parameter.limit")
    )
    with drift_lab.lab(tmp_path / "project") as lab:
        lab.write([queue, limit])
        project = Project(lab.folder, tmp_path / "home")
        clean = project.detect()
        assert (clean.drifted, clean.planned, clean.applied) == ((), (), False)
        queue.changes["visibility_timeout_seconds"](lab.client)
        limit.changes["value"](lab.client)
        done = project.reconcile()
        found = {(each.address, each.attribute) for each in done.drifted}
        assert found == {(queue.address, "visibility_timeout_seconds"), (limit.address, "value")}
        assert (done.applied, done.verified, done.remaining) == (True, True, ())
        main = lab.folder / "main.tf"
        good = main.read_text()
        main.write_text(good.replace("delay_seconds = 5", "delay_seconds = 50"))
        lab.terraform("apply", "-auto-approve")
        back = project.rollback()
        assert main.read_text() == good
        assert (back.applied, back.verified) == (True, True)
