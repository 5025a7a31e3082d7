"""Connections: floods send many to one host, scans reach many services, intruders fail logins and touch files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from features.sources.nsl_kdd import COLUMNS

_ROWS = 4000
_SHARES = {"normal": 0.55, "neptune": 0.15, "smurf": 0.1, "ipsweep": 0.08, "satan": 0.07, "guess_passwd": 0.05}


def write(target: Path, random: np.random.Generator) -> None:
    label = random.choice(list(_SHARES), _ROWS, p=list(_SHARES.values()))
    flood, scan = np.isin(label, ["neptune", "smurf"]), np.isin(label, ["ipsweep", "satan"])
    intruder, benign = label == "guess_passwd", label == "normal"
    login = intruder | (benign & (random.random(_ROWS) < 0.3))
    rows = pd.DataFrame(0, index=range(_ROWS), columns=list(COLUMNS)).astype(object)
    rows["duration"] = np.where(benign | intruder, random.integers(0, 300, _ROWS), 0)
    rows["protocol_type"] = np.where(label == "smurf", "icmp", "tcp")
    rows["service"] = np.select([login, flood, scan], ["telnet", "private", "other"], "http")
    rows["flag"] = np.select([label == "neptune", scan], ["S0", "REJ"], "SF")
    rows["src_bytes"] = np.where(label == "neptune", 0, random.gamma(2, 200, _ROWS).round())
    rows["dst_bytes"] = np.where(benign | intruder, random.gamma(2, 1500, _ROWS).round(), 0)
    rows["logged_in"] = (benign | (login & (random.random(_ROWS) < 0.5))).astype(int)
    rows["num_failed_logins"] = np.where(intruder, random.integers(1, 6, _ROWS), 0)
    rows["num_access_files"] = np.where(intruder, random.poisson(1.0, _ROWS), 0)
    rows["hot"] = np.where(intruder, random.poisson(3.0, _ROWS), random.poisson(0.1, _ROWS))
    rows["count"] = np.where(flood, random.integers(100, 511, _ROWS), random.integers(1, 30, _ROWS))
    rows["srv_count"] = np.where(flood, random.integers(50, 400, _ROWS), random.integers(1, 30, _ROWS))
    for name in (name for name in COLUMNS if name.endswith("_rate")):
        high = (flood & ("serror" in name)) | (scan & (("rerror" in name) | ("diff" in name)))
        rows[name] = np.where(high, random.uniform(0.6, 1, _ROWS), random.uniform(0, 0.3, _ROWS)).round(2)
    rows["dst_host_count"] = random.integers(1, 256, _ROWS)
    rows["dst_host_srv_count"] = random.integers(1, 256, _ROWS)
    rows["label"] = label
    rows.assign(difficulty=20).to_csv(target / "KDDTrain+_20Percent.txt", header=False, index=False)
