"""Changes to infrastructure code: what one commit changes in one file, as facts, and which policies it newly breaks.

Changes arrive as CloudEvents of type `CHANGE`, what the policy engine found as type `SCANNED`. A fact is
`type.path=value class` (`resource.aws_s3_bucket.acl=s:private`); `features.iac` makes the same facts from files, so
that a change that has not landed yet is asked about in the form that was learnt.
"""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
from pydantic import ConfigDict
from pydantic.config import JsonDict

from features.transforms import _events
from features.view import Columns, Frames, View, column

CHANGE = "io.iacdharma.iac.change"
SCANNED = "io.iacdharma.iac.scanned"
LISTS = ("facts_added", "facts_removed", "types_before", "types_after")
NEEDED = ("repository", "framework", "new_file", *LISTS)
COUNTS = ("lines_before", "lines_added", "lines_removed", "passed_before", "files_in_commit")
# share of earlier changes that violated, pulled towards 10 % by this many changes: few changes say little
RATES = {
    "file_violation_rate": ("file", 1),
    "author_violation_rate": ("author", 5),
    "repository_violation_rate": ("repo", 10),
}
BASE_RATE = 0.1
_EXAMPLE: JsonDict = {
    "time": "2026-01-01T00:00:00Z",
    "change_id": "shop@4f2a91c0d3e7:storage.tf",
    "repository": "shop",
    "framework": "terraform",
    "new_file": False,
    "lines_before": 40,
    "lines_added": 4,
    "lines_removed": 0,
    "facts_added": ["resource.aws_s3_bucket", "resource.aws_s3_bucket.bucket=s:invoices"],
    "facts_removed": [],
    "types_before": ["resource.aws_s3_bucket:1"],
    "types_after": ["resource.aws_s3_bucket:2"],
}


class IacChange(Columns):
    """What one commit changes in one file of infrastructure code; null: not known."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})
    change_id: str = column("the change: repository@commit:path", min_length=1)
    repository: str = column("where the file lives", min_length=1)
    framework: str = column("terraform, cloudformation or kubernetes", min_length=1)
    new_file: bool = column("whether the file did not exist before")
    lines_before: float = column("lines of the file before", "{line}", ge=0)
    lines_added: float = column("lines that only the new content has", "{line}", ge=0)
    lines_removed: float = column("lines that only the old content has", "{line}", ge=0)
    facts_added: list[str] = column("facts (type.path=value class) that only the new content has")
    facts_removed: list[str] = column("facts that only the old content has")
    types_before: list[str] = column("resource types of the old content, type:count")
    types_after: list[str] = column("resource types of the new content, type:count")
    failed_before: list[str] | None = column("policies that the old content breaks, id:count", default=None)
    passed_before: float | None = column("checks that the old content passes", "{check}", ge=0, default=None)
    files_in_commit: float | None = column("files changed together", "{file}", ge=0, default=None)
    file_violation_rate: float | None = column(
        "share of the file's earlier changes that violated", ge=0, le=1, default=None
    )
    author_violation_rate: float | None = column("the same of the author's", ge=0, le=1, default=None)
    repository_violation_rate: float | None = column("the same of the repository's", ge=0, le=1, default=None)


class IacOutcome(Columns):
    """Which policies the change newly breaks, as the policy engine finds after it landed."""

    change_id: str = column("the change: repository@commit:path", min_length=1)
    introduced: str = column("ids of the policies with more failures than before, joined by ';'; empty: none")


def changes(frames: Frames) -> pd.DataFrame:
    """Change events → one row per change with the columns of `IacChange` and `dataset`. Raises DataError."""
    events, data = _read(frames)
    rows = events[["dataset", "time"]].assign(change_id=events["subject"])
    for name in NEEDED:
        rows[name] = data.get(name)
    rows["new_file"] = rows["new_file"].astype(bool)
    rows["failed_before"] = data.get("failed_before")
    for name in COUNTS:
        rows[name] = _number(data, name)
    for name, (who, weight) in RATES.items():
        known, violating = _number(data, f"{who}_prev_changes"), _number(data, f"{who}_prev_violating")
        rows[name] = (violating + weight * BASE_RATE) / (known + weight)
    return rows.reset_index(drop=True)


def outcomes(frames: Frames) -> pd.DataFrame:
    """Outcome events → one row per change with the columns of `IacOutcome` and `dataset`. Raises DataError."""
    events, data = _read(frames)
    rows = events[["dataset", "time"]].assign(change_id=events["subject"])
    rows["introduced"] = [";".join(sorted(names)) for names in data.get("introduced", ())]
    return rows.reset_index(drop=True)


def _read(frames: Frames) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The newest event of each change and its data, same index."""
    events = frames["events"].sort_values(["subject", "time", "id"]).drop_duplicates(["subject", "time"], keep="last")
    data = [
        _events.content(event, ("introduced",) if event.type == SCANNED else NEEDED, filled=True)
        for event in events.itertuples()
    ]
    return events, pd.DataFrame(data, index=events.index)


def _number(data: pd.DataFrame, name: str) -> pd.Series:
    values = data[name] if name in data else pd.Series(None, index=data.index, dtype=object)
    return pd.to_numeric(values).astype("float64")


IAC_CHANGES = View(
    name="iac_changes",
    entity="change_id",
    columns=IacChange,
    reads={"events": {"type": (CHANGE,)}},
    keys={"events": "subject"},
    transform=changes,
    ttl=timedelta(days=1),
    description="What one commit changes in one file of infrastructure code.",
)

IAC_OUTCOMES = View(
    name="iac_outcomes",
    entity="change_id",
    columns=IacOutcome,
    reads={"events": {"type": (SCANNED,)}},
    keys={"events": "subject"},
    transform=outcomes,
    ttl=timedelta(days=1),
    online=False,
    description="Labels: which policies a change newly breaks.",
)
