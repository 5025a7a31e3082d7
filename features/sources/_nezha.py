"""What the sources of Nezha's files share (Yu et al., ESEC/FSE 2023): the layout, the faults, the metrics of a pod."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Literal

import pandas as pd

from infra.errors import DataError

LASTS = timedelta(minutes=3)  # of a fault; the publisher gives no ends, its effects show in the three minutes after
METRIC = re.compile(r"(\d{4}-\d\d-\d\d)/metric/(.+)_metric\.csv$")  # date, pod
_NO_METRIC = re.compile(r"^(Time|TimeStamp|PodName|Node.*|Syscall.*)$")  # of the host, or bursts without a level
_UNIT = r"\((.*)\)"  # at the end of a metric's name
_UNITS = {"m": "m{cpu}", "%": "%", "Mi": "MiBy", "s": "s", "Ops": "{operation}/s"}


@dataclass(frozen=True)
class Fault:
    """One injected fault."""

    incident: str
    time: datetime
    pod: str
    kind: str


def days(folder: Path, source: str) -> dict[str, list[Fault]]:
    """Date → its faults, for each list below `folder`. Raises DataError when there is none."""
    lists = sorted(folder.rglob("*-fault_list.json"))
    if not lists:
        raise DataError(f"{folder}: no <date>-fault_list.json of {source} in it")
    return {path.name[:10]: faults(path) for path in lists}


def service(pod: str) -> str:
    """The service that a pod belongs to: its name without the suffixes, which change with every restart."""
    return pod.rsplit("-", 2)[0]


def faults(path: Path) -> list[Fault]:
    try:
        listed = [fault for faults in json.loads(path.read_text()).values() for fault in faults]
        times = [datetime.fromisoformat(fault["inject_time"]).replace(tzinfo=UTC) for fault in listed]
        found = [
            Fault(f"nezha-{at:%Y%m%dT%H%M%S}", at, fault["inject_pod"], fault["inject_type"])
            for at, fault in zip(times, listed, strict=True)
        ]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path} is no list of faults with inject_time, inject_pod and inject_type: {error!r}"
        ) from None
    return sorted(found, key=lambda fault: fault.time)


def files(folder: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Every file below `folder`, also of those inside archives, with its path; one is open at a time."""
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(".tar.gz"):
            try:
                with tarfile.open(path, "r:gz") as archive:
                    for member in archive:
                        if (stream := archive.extractfile(member)) is not None:
                            yield member.name, stream
            except (tarfile.TarError, EOFError, OSError) as error:
                raise DataError(f"{path} is not a readable archive: {error}") from None
        elif path.suffix == ".csv":
            with path.open("rb") as stream:
                yield path.as_posix(), stream


def table(name: str, stream: IO[bytes], needed: list[str], damaged: Literal["error", "skip"] = "error") -> pd.DataFrame:
    try:
        found = pd.read_csv(stream, on_bad_lines=damaged)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{name} is not a readable CSV file: {error}") from None
    if lacking := [column for column in needed if column not in found]:
        raise DataError(f"{name}: missing columns {lacking}; it has {', '.join(found.columns)}")
    return found


def times(table: pd.DataFrame) -> pd.Series:
    """When each row was measured, to the second: by `Time` where there is one (`TimeStamp` is years off for some)."""
    if "Time" not in table:
        return pd.to_datetime(table["TimeStamp"], unit="s", utc=True)
    return pd.to_datetime(table["Time"].str.slice(0, 19), utc=True, errors="coerce")


def values(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that are metrics of the pod, as numbers, and `time`."""
    names = [name for name in table if not _NO_METRIC.match(str(name))]
    return table[names].apply(pd.to_numeric, errors="coerce").assign(time=times(table))


def points(wide: pd.DataFrame) -> pd.DataFrame:
    """Rows of `values` → time, metric_name, value, unit; one row for each value that is known."""
    rows = wide.melt("time", var_name="metric_name", value_name="value").dropna()
    return rows.assign(unit=rows["metric_name"].str.extract(_UNIT)[0].map(_UNITS))
