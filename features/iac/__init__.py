"""Infrastructure code as it lies in files: what a change is, its facts, and what the policy engine says of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FileChange:
    """One changed file; `before` is None when it is new."""

    path: str
    before: str | None
    after: str
