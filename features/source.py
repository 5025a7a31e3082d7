"""The contract of a source: one system or data set, read into canonical tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from features.schema import conform
from infra import plugins

# For publishers that give no dates: one fixed moment keeps records joinable and is obviously not live.
NOMINAL = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Batch:
    """Rows of one canonical table (see `features.schema`); columns that are left out are null."""

    table: str
    rows: pa.Table

    def conformed(self) -> pa.Table:
        """The rows with exactly the columns of their table. Raises DataError."""
        return conform(self.table, self.rows)


class Source(ABC):
    """One source a file in `features/sources/`; a data set's source carries the data set's name."""

    @abstractmethod
    def pull(self, where: str) -> Iterator[Batch]:
        """Yield batches from `where`: a folder in the layout of the data set, or a system's address.

        Batches come in any order and of any size; times are UTC; every row's `dataset` is the file's name or `live`.
        Raises DataError naming the file and what would be right.
        """


def load(name: str) -> Source:
    """Return the source named `name`. Raises NotFound with the choices."""
    return plugins.load("features.sources", name, Source)()  # type: ignore[type-abstract]
