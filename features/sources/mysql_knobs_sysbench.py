"""MySQL 5.7 on SYSBENCH (Zhang et al., PVLDB 2022): 20 knobs and the throughput they gave, in the order measured.

Layout: any CSV with a column `tps` and knobs whose defaults are `DEFAULTS`, or in a publisher's `*_shap.json`. The
rows come from several tuning sessions, in order, and levels drift between them: four contiguous parts are four tasks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from features.source import Batch, Source
from features.sources import _measurements
from infra.errors import DataError

NAME = "mysql_knobs_sysbench"
NOISE = 0.035  # of the 25 rows that are the default
PARTS = 4
DEFAULTS = {
    "max_heap_table_size": 16777216,
    "tmp_table_size": 16777216,
    "innodb_doublewrite": 1,
    "query_prealloc_size": 8192,
    "innodb_thread_concurrency": 0,
    "innodb_io_capacity_max": 400,
    "log_output": 0,
    "general_log": 0,
    "max_length_for_sort_data": 1024,
    "innodb_buffer_pool_size": 13958643712,
    "innodb_lru_scan_depth": 1024,
    "transaction_alloc_block_size": 8192,
    "expire_logs_days": 0,
    "max_allowed_packet": 4194304,
    "key_cache_age_threshold": 300,
    "innodb_adaptive_max_sleep_delay": 150000,
    "innodb_log_file_size": 50331648,
    "query_cache_limit": 1048576,
    "innodb_stats_transient_sample_pages": 8,
    "innodb_ft_total_cache_size": 640000000,
}  # of MySQL 5.7, as the publisher gives them; log_output 0 is FILE
WORDS = {"OFF": 0.0, "ON": 1.0, "FILE": 0.0}


class MysqlKnobsSysbench(Source):
    """The baseline of every part is the mean over all rows that are the default: there are few."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch a part. Raises DataError naming the file."""
        folder = Path(where)
        described = sorted(folder.rglob("*_shap.json"))
        tables = [path for path in sorted(folder.rglob("*.csv")) if "tps" in path.open().readline()]
        if not tables:
            raise DataError(f"{folder}: no CSV with a column tps of {NAME} in it")
        defaults: dict[str, float] = dict(DEFAULTS)
        for path in described:
            for name, entry in json.loads(path.read_text()).items():
                defaults[name] = WORDS.get(str(entry["default"]), entry["default"])
        for path in tables:
            yield from _parts(path, pd.read_csv(path, index_col=0), defaults)


def _parts(path: Path, table: pd.DataFrame, defaults: dict[str, float]) -> Iterator[Batch]:
    knobs = table.drop(columns="tps")
    if unknown := [name for name in knobs if name not in defaults]:
        raise DataError(f"{path}: no default is known for column {unknown[0]!r}")
    numbers = table.apply(pd.to_numeric, errors="coerce")
    if len(wrong := numbers.columns[~np.isfinite(numbers).all()]):
        raise DataError(f"{path}, column {wrong[0]!r}: every cell must be a number")
    wanted = np.array([float(defaults[str(name)]) for name in knobs])
    default = pd.Series((knobs.to_numpy() == wanted).all(axis=1), knobs.index)
    if not default.any():
        raise DataError(f"{path}: no row is the default, so no gain over it can be told")
    base = table[default].mean().to_frame().T
    for number, part in enumerate(np.array_split(np.arange(len(table)), PARTS), 1):
        rows = pd.concat([base, table.iloc[part][~default.iloc[part].to_numpy()]], ignore_index=True)
        yield _measurements.batch(
            NAME,
            f"{path.stem} part {number}",
            path.stem,
            rows.drop(columns="tps"),
            rows["tps"],
            rows.index.to_series() == 0,
            higher_is_better=True,
            noise=NOISE,
        )
