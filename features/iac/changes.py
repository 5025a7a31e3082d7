"""Changed files → rows of `features.transforms.iac_changes.IacChange`, as the learnt history was made."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath

import yaml

from features.iac import FileChange, documents, terraform
from features.transforms.iac_changes import IacChange
from infra.errors import DataError

MOST = 300  # facts kept of each side, as in the history
_READERS: dict[str, Callable[[str], tuple[list[str], Counter[str]]]] = {
    "terraform": terraform.read,
    "cloudformation": documents.cloudformation,
    "kubernetes": documents.kubernetes,
}
_BLOCK = re.compile(r"^\s*(resource|module|data|provider)\b.*\{", re.MULTILINE)
_KEYS = [re.compile(rf"^{key}\s*:", re.MULTILINE) for key in ("apiVersion", "kind")]


def framework(path: str, text: str) -> str | None:
    """terraform, cloudformation, kubernetes, or None when it is none of them."""
    suffix = PurePosixPath(path).suffix
    if suffix == ".tf":
        return "terraform" if _BLOCK.search(text) else None
    if suffix not in (".yaml", ".yml", ".json", ".template"):
        return None
    if "AWS::" in text and "Resources" in text:
        return "cloudformation"
    plain = suffix in (".yaml", ".yml") and "{{" not in text
    return "kubernetes" if plain and all(key.search(text) for key in _KEYS) else None


def rows(
    changes: Sequence[FileChange], repository: str, failed: Mapping[str, Counter[str]] | None = None
) -> list[tuple[FileChange, IacChange]]:
    """Each change of infrastructure code with its row; other files are passed over.

    `failed`: path → failures by policy of the old content, where a policy engine has looked. Raises DataError naming
    the file that does not parse.
    """
    now = datetime.now(UTC)
    found = [(change, kind) for change in changes if (kind := framework(change.path, change.after))]
    return [(change, _row(change, kind, repository, now, len(changes), failed)) for change, kind in found]


def _row(
    change: FileChange,
    kind: str,
    repository: str,
    now: datetime,
    files: int,
    failed: Mapping[str, Counter[str]] | None,
) -> IacChange:
    before = change.before if change.before is not None and framework(change.path, change.before) == kind else ""
    try:
        (old, old_types), (new, new_types) = (_READERS[kind](text) for text in (before, change.after))
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
        raise DataError(f"{change.path} cannot be read as {kind}: {' '.join(str(error).split())}") from None
    lines = [Counter(line.strip() for line in text.splitlines()) for text in (before, change.after)]
    return IacChange(
        time=now,
        change_id=f"{repository}:{change.path}",
        repository=repository,
        framework=kind,
        new_file=change.before is None,
        lines_before=len(before.splitlines()),
        lines_added=(lines[1] - lines[0]).total(),
        lines_removed=(lines[0] - lines[1]).total(),
        facts_added=sorted(Counter(new) - Counter(old))[:MOST],
        facts_removed=sorted(Counter(old) - Counter(new))[:MOST],
        types_before=_counts(old_types),
        types_after=_counts(new_types),
        failed_before=None if failed is None else _counts(failed.get(change.path, Counter())),
        files_in_commit=files,
    )


def _counts(counter: Counter[str]) -> list[str]:
    return [f"{name}:{count}" for name, count in sorted(counter.items())]
