"""Labelled failures of microservice systems, reduced to alerts (Xie et al., "TVDiag", ACM TOSEM 2025).

Layout: any folder that holds `label.csv` (columns index, instance, anomaly_type; optional data_type: train or test,
ed_time) and, beside it or in `raw/`, `nodes.json`, `edges.json`, `metrics.json`, `traces.json` and `logs.json`, each an
object from index to a list. The folder's name is the system's. `message` and `service` name the answer: never read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from features.source import NOMINAL, Batch, Source
from features.sources import _incidents
from features.sources._incidents import Case
from features.transforms._alerts import Alert, call_alerts, log_alert, metric_alert
from infra.errors import DataError

NAME = "rca_tvdiag"
KINDS = ("nodes", "edges", "metrics", "traces", "logs")
_NEEDED = ("index", "instance", "anomaly_type")
_SLOW = "PD"  # the publisher's mark of a call that took longer than usual; every other mark is a failure


class RcaTvdiag(Source):
    """Reads the GAIA and SockShop parts, and folders like them."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of events per system. Raises DataError naming file, column and index."""
        found = sorted(Path(where).rglob("label.csv"))
        if not found:
            raise DataError(f"{where}: no label.csv of {NAME} in it, with {', '.join(f'{k}.json' for k in KINDS)}")
        yield from _incidents.nothing("metrics", "logs", "spans")
        for path in found:
            yield _incidents.batch(NAME, _cases(path))


def _cases(path: Path) -> Iterator[Case]:
    labels = pd.read_csv(path, dtype=str, keep_default_na=False)
    if lacking := [name for name in _NEEDED if name not in labels]:
        raise DataError(f"{path}: missing columns {lacking}; {NAME} needs {', '.join(_NEEDED)}")
    content = {kind: _object(path.parent, kind) for kind in KINDS}
    for label in labels.to_dict("records"):
        index = label["index"]
        if absent := [f"{kind}.json" for kind in KINDS if index not in content[kind]]:
            raise DataError(f"{path}: index {index!r} is not in {', '.join(absent)}")
        try:
            yield _case(path.parent.name, label, {kind: content[kind][index] for kind in KINDS})
        except (ValueError, TypeError, IndexError) as error:
            raise DataError(f"{path}: the records of index {index!r} are not as expected: {error}") from None


def _case(system: str, label: Mapping[Any, str], raw: dict[str, Any]) -> Case:
    # an index is only unique inside a file; with the content it stays the same in every folder
    mark = hashlib.sha256(json.dumps([label["index"], raw], sort_keys=True).encode()).hexdigest()[:10]
    nodes = list(raw["nodes"])
    calls = sorted({(int(a), int(b)) for a, b in raw["edges"] if a != b})
    alerts = [alert for alert in _alerts(raw) if alert.node in nodes]
    cause = {
        "root_cause": label["instance"],
        "fault": label["anomaly_type"].strip("[]"),
        "part": label.get("data_type") or None,
    }
    data = {"system": system, "nodes": nodes, "calls": calls, "alerts": alerts}
    return Case(f"{system}-{label['index']}-{mark}", _time(label.get("ed_time", "")), data, cause)


def _alerts(raw: dict[str, Any]) -> Iterator[Alert]:
    """Metrics: instance, (host,) metric, way; traces: caller, callee, operation, mark; logs: instance, template."""
    for node, *_, metric, way in raw["metrics"]:
        yield metric_alert(node, metric, way)
    for caller, callee, operation, mark in raw["traces"]:
        yield from call_alerts(caller, callee, operation, slow=mark == _SLOW, outcome="" if mark == _SLOW else mark)
    for node, template in raw["logs"]:
        yield log_alert(node, template)


def _time(end: str) -> datetime:
    """The end of the failure: the publisher gives the system's local time, which is taken as UTC."""
    return datetime.fromisoformat(end).replace(tzinfo=UTC) if end else NOMINAL


def _object(folder: Path, kind: str) -> dict[str, Any]:
    places = (folder / f"{kind}.json", folder / "raw" / f"{kind}.json")
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise DataError(f"{places[0]} is missing; {NAME} needs {', '.join(f'{each}.json' for each in KINDS)}")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold an object from index to records")
    return content
