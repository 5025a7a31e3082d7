"""How many injected drifts are found, put back and verified: `python -m tests.performance.bench_drift`.

A project of 14 resource types against a local AWS API, 22 changes behind its back. False are drifts that were not
injected, before (on the untouched project) and after the injection.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from remediation.drift.reconcile import Project
from tests import drift_lab
from tests.drift_cases import CASES


def main() -> None:
    if why := drift_lab.missing():
        print(json.dumps({"skipped": why}))
        return
    with tempfile.TemporaryDirectory() as name, drift_lab.lab(Path(name) / "project") as lab:
        lab.write(CASES)
        project = Project(lab.folder, Path(name) / "home")
        clean = project.detect()
        injected = {(case.address, attribute) for case in CASES for attribute in case.changes}
        for case in CASES:
            for change in case.changes.values():
                change(lab.client)
        start = time.monotonic()
        done = project.reconcile()
        found = {(each.address, each.attribute) for each in done.drifted}
        left = {(each.address, each.attribute) for each in done.remaining}
        figures = {
            "types": len({case.address.split(".")[0] for case in CASES}),
            "injected": len(injected),
            "detected": len(injected & found),
            "reverted": len((injected & found) - left),
            "verified": done.verified,
            "false_before": [f"{each.address}.{each.attribute}" for each in clean.drifted],
            "false_after": sorted(".".join(each) for each in found - injected),
            "missed": sorted(".".join(each) for each in injected - found),
            "not_reverted": sorted(".".join(each) for each in left),
            "note": done.note,
            "seconds": round(time.monotonic() - start, 1),
        }
        print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
