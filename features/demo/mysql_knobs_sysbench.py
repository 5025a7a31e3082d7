"""Random configurations of a few knobs, a throughput that follows two of them, and the default among the rows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

_ROWS = 480
_DEFAULTS = {"innodb_log_file_size": 50331648, "innodb_thread_concurrency": 0, "tmp_table_size": 16777216}


def write(target: Path, random: np.random.Generator) -> None:
    rows = pd.DataFrame({name: random.uniform(0, 1e9, _ROWS).round() for name in _DEFAULTS})
    rows["innodb_doublewrite"] = random.integers(0, 2, _ROWS)
    rows["general_log"] = 0
    for place in range(0, _ROWS, 60):
        rows.loc[place, list(_DEFAULTS)] = list(map(float, _DEFAULTS.values()))
        rows.loc[place, "innodb_doublewrite"] = 1
    speed = 0.9 * rows["innodb_log_file_size"] / 1e9 - 0.5 * (rows["innodb_thread_concurrency"] / 1e9 - 0.5) ** 2
    rows["tps"] = 280 * np.exp(speed - 0.2 * rows["innodb_doublewrite"] + random.normal(0, 0.03, _ROWS))
    rows.to_csv(target / "SYSBENCH_demo.csv")
    described: dict[str, dict[str, object]] = {name: {"default": value} for name, value in _DEFAULTS.items()}
    described |= {"innodb_doublewrite": {"default": "ON"}, "general_log": {"default": "OFF"}}
    (target / "SYSBENCH_shap.json").write_text(json.dumps(described))
