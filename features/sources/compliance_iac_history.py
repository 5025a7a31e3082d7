"""Infrastructure-as-code histories: what each commit changed in each file, and which checks it newly failed.

Layout: any `*.parquet` with the columns of `COLUMNS` (one row a changed file of a commit), and `policies*.csv`, the
engine's rules. A row becomes two CloudEvents at the commit's time: the change, and what the engine found in it.
`fixed` and the contents' ids are never read; of `introduced` only the outcome event knows.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.schema import TIME
from features.source import Batch, Source
from features.sources import _events
from features.transforms.iac_changes import CHANGE, SCANNED
from infra.errors import DataError

DATASET = "compliance_iac_history"
KEY = ("repo", "commit", "commit_time_utc", "path")
LISTS = ("facts_added", "facts_removed", "types_before", "types_after", "failed_before")
COUNTS = (
    "lines_before",
    "lines_added",
    "lines_removed",
    "passed_before",
    "files_in_commit",
    *(f"{who}_prev_{what}" for who in ("file", "author", "repo") for what in ("changes", "violating")),
)
COLUMNS = (*KEY, "framework", "change", *COUNTS, *LISTS, "introduced")
RULES = ("check_id", "applies_to", "entity", "policy", "framework")
_ROWS = 2000  # rows in one batch: a wide change has 600 facts


class ComplianceIacHistory(Source):
    """Reads `iac_changes_dev.parquet` and files with the same columns."""

    def pull(self, where: str) -> Iterator[Batch]:
        """Batches of change and outcome events. Raises DataError naming the file and the column."""
        for path in sorted(Path(where).rglob("*.parquet")):
            rows = _read(path)
            for start in range(0, len(rows), _ROWS):
                yield Batch("events", _told(rows.slice(start, _ROWS), path))


def rules(folder: Path) -> dict[str, dict[str, Any]]:
    """Policy id → `title` and `kinds` ("framework:resource type") of the engine's rules below `folder`.

    Raises DataError when there is no file of rules, or it lacks a column.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("policies*.csv")):
        with path.open(newline="") as stream:
            reader = csv.DictReader(stream)
            if missing := [name for name in RULES if name not in (reader.fieldnames or ())]:
                raise DataError(f"{path}: missing columns {missing}; rules have the columns {', '.join(RULES)}")
            for row in reader:
                rule = found.setdefault(row["check_id"], {"title": row["policy"], "kinds": []})
                rule["kinds"].append(f"{row['framework']}:{_kind(row)}")
    if not found:
        raise DataError(f"{folder} holds no policies*.csv; it lists the rules with columns {', '.join(RULES)}")
    return found


def _kind(row: dict[str, str]) -> str:
    """The type as the changes name it: Terraform's blocks with their keyword in front."""
    if row["framework"] != "terraform" or row["applies_to"] == "module":
        return row["entity"]
    return f"{row['applies_to']}.{row['entity']}"


def _read(path: Path) -> pa.Table:
    try:
        schema = pq.read_schema(path)
        if missing := [name for name in COLUMNS if name not in schema.names]:
            raise DataError(f"{path}: missing columns {missing}; a history of changes has {', '.join(COLUMNS)}")
        rows = pq.read_table(path, columns=list(COLUMNS))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from None
    for name in (*KEY, "framework", "change"):
        if rows[name].null_count:
            raise DataError(f"{path}: {rows[name].null_count} rows have no {name}; every row needs one")
    return rows


def _told(rows: pa.Table, path: Path) -> pa.Table:
    try:
        times = pc.cast(rows["commit_time_utc"], TIME)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}, column commit_time_utc: {error}; expected ISO 8601 in UTC") from None
    changes, outcomes, subjects = [], [], []
    for row in rows.to_pylist():
        subjects.append(f"{row['repo']}@{row['commit'][:12]}:{row['path']}")
        outcomes.append({"introduced": sorted(_names(row["introduced"]))})
        facts = {name: _items(row[name]) for name in LISTS}
        counts = {name: row[name] for name in COUNTS}
        about = {"repository": row["repo"], "framework": row["framework"], "new_file": row["change"] == "A"}
        changes.append({**about, **counts, **facts})
    parts = []
    for kind, data in ((CHANGE, changes), (SCANNED, outcomes)):
        ids = [f"{subject}-{_events.word(kind)}" for subject in subjects]
        parts.append(_events.table(DATASET, times.combine_chunks(), ids, kind, subjects, data))
    return pa.concat_tables(parts)


def _items(text: str | None) -> list[str]:
    return [item for item in (text or "").split(";") if item]


def _names(text: str | None) -> list[str]:
    """`check:count;…` → the checks."""
    return [item.rpartition(":")[0] for item in _items(text)]
