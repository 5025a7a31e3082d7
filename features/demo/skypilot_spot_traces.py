"""Zones in which spot machines come and go; states last for hours, and one zone is nearly always full."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

_GAP, _TICKS = 195, 5000
_LASTS = {"us-east-1a": (0.01, 0.03), "us-east-1c": (0.02, 0.01), "us-west-2b": (0.01, 0.004)}  # chance to come, to go


def write(target: Path, random: np.random.Generator) -> None:
    folder = target / "availability" / "1-node" / "aws-02-15-2023"
    folder.mkdir(parents=True)
    for zone, (come, go) in _LASTS.items():
        state, states = 0, []
        for chance in random.random(_TICKS):
            state = int(chance >= go) if state else int(chance < come)
            states.append(state)
        content = {"metadata": {"gap_seconds": _GAP}, "data": states}
        (folder / f"{zone}_v100_1.json").write_text(json.dumps(content))
