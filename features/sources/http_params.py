"""HttpParams (Morzeux, 2016): values of API parameters, benign or an attack.

Benign values come from the web shop of CSIC 2010, attacks from the tools sqlmap, xssya, Vega and FuzzDB. Layout: any
CSV with the columns `payload`, `attack_type` and `label`; `length` follows from the value. The tools fill templates
with random numbers and words, so each value carries its template as `lineage`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from features.source import Batch, Source
from features.sources import _activities, _csv
from features.transforms.activities import LONGEST, NONE

COLUMNS = ("payload", "attack_type", "label")
TYPES = {"norm": NONE, "sqli": "sqli", "xss": "xss", "cmdi": "cmdi", "path-traversal": "path_traversal"}
# in this order; each runs in linear time: no repetition stands within a repetition
_TEMPLATE = (
    (r"0x[0-9a-f]+|\d+", "0"),
    (r"'[a-z0-9]{1,12}'|\"[a-z0-9]{1,12}\"", "q"),
    (r"\bas [a-z]{4}\b", "as w"),
    (r"chr?\(0\)\|\|", ""),
    (r"(?:null,|0,)+", "0,"),
    (r"\s+", " "),
)


class HttpParams(Source):
    """Reads `payload_train.csv` and files with the same header."""

    def pull(self, where: str) -> Iterator[Batch]:
        """Two batches per file. Raises DataError naming file and column."""
        for path, table in _csv.matching(Path(where), COLUMNS, "http_params"):
            threat = _csv.choice(table, "attack_type", path, TYPES)
            value = table["payload"].str.slice(0, LONGEST)
            yield from _activities.batches("http_params", "parameter", value.to_frame("value"), threat, template(value))


def template(values: pd.Series) -> pd.Series:
    """What is left of each value without its numbers, short literals and names made up by the tool."""
    values = values.str.lower()
    for pattern, replacement in _TEMPLATE:
        values = values.str.replace(pattern, replacement, regex=True)
    return values
