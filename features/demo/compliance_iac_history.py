"""Three repositories add resources; one without the attribute that a policy asks for breaks that policy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

_CHANGES, _START = 1500, datetime(2021, 1, 1, tzinfo=UTC)
# framework, type as in the facts, entity as in the rules, policy, title, fact that keeps it
_RULES = (
    (
        "terraform",
        "resource.aws_s3_bucket",
        "aws_s3_bucket",
        "CKV_D_1",
        "Ensure the bucket is versioned",
        "versioning=true",
    ),
    ("terraform", "resource.aws_s3_bucket", "aws_s3_bucket", "CKV_D_2", "Ensure the bucket is logged", "logging=true"),
    (
        "terraform",
        "resource.aws_ebs_volume",
        "aws_ebs_volume",
        "CKV_D_3",
        "Ensure the volume is encrypted",
        "encrypted=true",
    ),
    ("cloudformation", "AWS::SQS::Queue", "AWS::SQS::Queue", "CKV_D_4", "Ensure the queue is encrypted", "KmsKey=REF"),
    ("kubernetes", "Deployment", "Deployment", "CKV_D_5", "Image pull policy should be Always", "pull=s:Always"),
)
_PLAIN = ("name=STR", "tags=MAP", "count=n2", "region=REF")


def write(target: Path, random: np.random.Generator) -> None:
    rules = pd.DataFrame(_RULES, columns=["framework", "type", "entity", "check_id", "policy", "keeps"])
    rules.assign(applies_to="resource")[["check_id", "applies_to", "entity", "policy", "framework"]].to_csv(
        target / "policies.csv", index=False
    )
    rows = [_change(number, rules, random) for number in range(_CHANGES)]
    pd.DataFrame(rows).to_parquet(target / "iac_changes.parquet", index=False)


def _change(number: int, rules: pd.DataFrame, random: np.random.Generator) -> dict[str, object]:
    kind = str(random.choice(rules["type"].unique()))
    mine = rules[rules["type"] == kind]
    grows = random.random() < 0.3
    needed = dict(zip(mine["check_id"], mine["keeps"], strict=True))
    kept = {fact for fact in needed.values() if random.random() < 0.6}
    facts = [kind, *(f"{kind}.{fact}" for fact in sorted(kept) if grows)] if grows else []
    facts += [f"{kind}.{fact}" for fact in random.choice(_PLAIN, 2, replace=False)]
    introduced = [f"{policy}:1" for policy, fact in needed.items() if grows and fact not in kept]
    repository, before = f"demo/{'abc'[number % 3]}", int(random.integers(0, 4))
    return {
        "repo": repository,
        "commit": f"{number:040x}",
        "commit_time_utc": (_START + timedelta(hours=5 * number)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "path": f"stack-{random.integers(40)}.tf",
        "framework": mine["framework"].iloc[0],
        "change": "M" if before else "A",
        "lines_before": 20 * before,
        "lines_added": len(facts) + int(random.integers(0, 5)),
        "lines_removed": int(random.integers(0, 5)),
        "passed_before": before,
        "files_in_commit": int(random.integers(1, 6)),
        **{f"{who}_prev_{what}": 0 for who in ("file", "author", "repo") for what in ("changes", "violating")},
        "facts_added": ";".join(sorted(facts)),
        "facts_removed": "",
        "types_before": f"{kind}:{before}" if before else "",
        "types_after": f"{kind}:{before + grows}" if before + grows else "",
        "failed_before": "",
        "introduced": ";".join(introduced),
    }
