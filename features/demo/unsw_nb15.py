"""Flows of two periods: attacks are long, lopsided and lossy; from half of the file on the benign traffic is slower."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from features.sources.unsw_nb15 import NUMBERS

_ROWS = 4000
_TYPES = {"Normal": 0.6, "Generic": 0.15, "Exploits": 0.15, "Fuzzers": 0.1}


def write(target: Path, random: np.random.Generator) -> None:
    kind = random.choice(list(_TYPES), _ROWS, p=list(_TYPES.values()))
    attack, late = kind != "Normal", np.arange(_ROWS) >= _ROWS / 2
    slow = np.where(attack, 3.0, np.where(late, 1.5, 1.0))
    rows = pd.DataFrame({name: random.gamma(2, 2, _ROWS).round(3) for name in NUMBERS})
    rows["dur"] = (random.gamma(2, 0.3, _ROWS) * slow).round(6)
    rows["sbytes"] = (random.gamma(2, 400, _ROWS) * np.where(kind == "Exploits", 5, 1)).round()
    rows["dbytes"] = (random.gamma(2, 900, _ROWS) * np.where(kind == "Fuzzers", 0.1, 1)).round()
    rows["spkts"], rows["dpkts"] = random.poisson(12 * slow), random.poisson(10 * slow)
    rows["sloss"] = random.poisson(np.where(attack, 4, 0.5))
    rows["sttl"], rows["dttl"] = np.where(attack | late, 254, 31), np.where(attack | late, 252, 29)
    rows["sinpkt"] = (random.gamma(2, 20, _ROWS) * slow).round(3)
    rows["is_sm_ips_ports"] = 0
    rows["proto"] = np.where(random.random(_ROWS) < 0.2, "udp", "tcp")
    rows["service"] = np.where(kind == "Generic", "dns", random.choice(["-", "http", "dns"], _ROWS))
    rows["state"] = np.where(rows["proto"] == "udp", "CON", "FIN")
    rows = rows.assign(id=np.arange(1, _ROWS + 1), attack_cat=kind, label=attack.astype(int))
    packed = {"method": "zip", "archive_name": "UNSW_NB15_training-set.csv"}
    rows.to_csv(target / "UNSW_NB15_training-set.zip", index=False, compression=packed)
