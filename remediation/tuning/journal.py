"""The way back, on disk: what was set before a tuning run changed anything, kept until the run has put things right.

One file a server, written and flushed before the first change, removed after the last. A run that was killed leaves
it; the next run on that server, or `aiops tune --restore`, restores from it first. A lock that dies with its process
keeps a second run of this machine off the same server.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.errors import DataError

State = Mapping[str, Any]


class Journal:
    """`<folder>/<name>.json`; `name` says which server it is."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else of this machine tunes this server meanwhile. Raises DataError when somebody does."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(f"{self.path.stem} is being tuned by another process; wait for its end") from None
            yield

    def write(self, state: State) -> None:
        """On disk when this returns; whole or not at all."""
        fresh = self.path.with_suffix(".new")
        with fresh.open("w") as file:
            json.dump(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        _flush(self.path.parent)

    def read(self) -> State | None:
        """What a run that was cut off left; None when none was."""
        if not self.path.exists():
            return None
        found: State = json.loads(self.path.read_text())
        return found

    def remove(self) -> None:
        """Everything is as it should be."""
        self.path.unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    """A new name is durable only when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
