"""Server telemetry published by InterFusion (Li et al., KDD 2021): pickled arrays → metric points and CloudEvents.

Layout below a folder, for each machine: `<machine>_train.pkl` (rows × metrics, no labels), `<machine>_test.pkl`,
`<machine>_test_label.pkl` (0/1 a row), and `<machine>.txt` with lines `first-end:metric,metric` (rows of the test
part counted from 0, metrics from 1) naming the metrics that operators blame. Each file may be absent.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from features.schema import TABLES
from features.source import NOMINAL, Batch
from features.sources import _events
from features.sources._events import Event
from features.transforms.windows import ANOMALY, BLAMED, REVIEWED
from infra.errors import DataError

ALONE = timedelta(days=30)  # where a test part begins whose training part is not beside it
# what pickled arrays are made of, as Python 2 and 3 and numpy 1 and 2 write them
_ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")} | {
    (f"numpy.{core}.{module}", name)
    for core in ("core", "_core")
    for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
}


@dataclass(frozen=True)
class Layout:
    """What one data set has of its own."""

    dataset: str
    step: timedelta
    metrics: int
    end_counts: bool  # whether row `end` of a line `first-end:metrics` still belongs to the anomaly

    def pull(self, where: str) -> Iterator[Batch]:
        """Points and events of every machine below folder `where`. Raises DataError naming the file."""
        folder = Path(where)
        trains = {path.name.removesuffix("_train.pkl"): path for path in sorted(folder.rglob("*_train.pkl"))}
        tests = {path.name.removesuffix("_test.pkl"): path for path in sorted(folder.rglob("*_test.pkl"))}
        if not trains and not tests:
            raise DataError(f"{folder}: no <machine>_train.pkl or <machine>_test.pkl of {self.dataset} in it")
        yield Batch("events", TABLES["events"].empty_table())  # also where nothing is labelled
        for machine in sorted({*trains, *tests}):
            begin = NOMINAL if machine in trains else NOMINAL + ALONE
            if machine in trains:
                rows = self._matrix(trains[machine])
                yield self._points(machine, rows, begin)
                begin += len(rows) * self.step
            if machine in tests:
                rows = self._matrix(tests[machine])
                yield self._points(machine, rows, begin)
                yield from self._events(folder, machine, tests[machine], len(rows), begin)

    def _matrix(self, path: Path) -> np.ndarray:
        rows = _array(path)
        if rows.ndim != 2 or rows.shape[1] != self.metrics:
            raise DataError(f"{path}: {rows.shape} values; {self.dataset} has rows of {self.metrics} metrics")
        return rows.astype("float64")

    def _points(self, machine: str, rows: np.ndarray, begin: datetime) -> Batch:
        """One point a row and metric; texts as dictionaries, because every word is there a million times."""
        length, width = rows.shape
        first, step = np.datetime64(begin.replace(tzinfo=None), "us"), np.timedelta64(self.step)
        times = np.repeat(first + np.arange(length) * step, width)
        columns = {
            "time": pa.array(times, pa.timestamp("us", tz="UTC")),
            "metric_name": _words([metric(number) for number in range(1, width + 1)], np.tile(range(width), length)),
            "value": pa.array(rows.ravel()),
        }
        constant = {"dataset": self.dataset, "service_name": self.dataset, "instance_id": machine, "unit": "1"}
        columns |= {name: _words([word], np.zeros(len(times))) for name, word in constant.items()}
        return Batch("metrics", pa.table(columns))

    def _events(self, folder: Path, machine: str, test: Path, length: int, begin: datetime) -> Iterator[Batch]:
        """The period that operators went through, each anomaly in it, and the metrics they blame."""
        label = test.with_name(f"{machine}_test_label.pkl")
        if not label.is_file():
            return
        flags = _array(label).ravel() > 0
        if len(flags) != length:
            raise DataError(f"{label}: {len(flags)} labels for the {length} rows of {test.name}; one a row is right")
        edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
        told: list[tuple[str, int, int, list[str]]] = [(REVIEWED, 0, length - 1, [])]
        told += [(ANOMALY, int(a), int(b) - 1, []) for a, b in zip(edges[::2], edges[1::2], strict=True)]
        for path in sorted(folder.rglob(f"{machine}.txt")):
            told += [(BLAMED, *line) for line in _blamed(path, length, self)]
        yield self._told(machine, begin, told)

    def _told(self, machine: str, begin: datetime, told: list[tuple[str, int, int, list[str]]]) -> Batch:
        events = []
        for number, (kind, first, last, metrics) in enumerate(told):
            start, end = begin + first * self.step, begin + last * self.step
            data = {"begin": start.isoformat(), "end": end.isoformat(), "metrics": metrics}
            events.append(Event(end, f"{machine}-{number}", kind, machine, data))
        return _events.batch(self.dataset, events)


def metric(number: int) -> str:
    """The name given to the anonymous metric in column `number` (from 1)."""
    return f"metric_{number:02d}"


def _array(path: Path) -> np.ndarray:
    """The array pickled in `path`, by an unpickler that can make nothing but numpy arrays."""
    try:
        with path.open("rb") as file:
            found = _ArrayUnpickler(file).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, ImportError, IndexError) as error:
        raise DataError(f"{path}: not a pickled numpy array ({error})") from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiub":
        raise DataError(f"{path}: holds {type(found).__name__}, not an array of numbers")
    return found


class _ArrayUnpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="latin1")  # written by Python 2

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no part of a numpy array")
        return super().find_class(module, name)


def _blamed(path: Path, length: int, layout: Layout) -> Iterator[tuple[int, int, list[str]]]:
    """(first row, last row, metrics) of each line."""
    for number, line in enumerate(path.read_text().split(), 1):
        span, _, names = line.partition(":")
        try:
            first, end = map(int, span.split("-"))
            columns = [int(name) for name in names.split(",")]
        except ValueError:
            raise DataError(f"{path}, line {number}: {line!r} is not `first-end:metric,metric`") from None
        last = end if layout.end_counts else end - 1
        if not (0 <= first <= last < length and all(1 <= column <= layout.metrics for column in columns)):
            raise DataError(f"{path}, line {number}: {line!r} is outside of {length} rows or {layout.metrics} metrics")
        yield first, last, [metric(column) for column in columns]


def _words(words: list[str], codes: np.ndarray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype("int32")), pa.array(words, pa.string()))
