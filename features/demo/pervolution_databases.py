"""Two systems whose run time depends on a few options the same way in every release, with an offset and noise."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

_RELEASES = {"MySQL": 6, "PostgreSQL": 6}
_KNOBS = {
    "MySQL": (("innodbDoubleWrite",), {"bufferPool": (8, 64, 512), "logBuffer": (1, 8, 64), "tempTable": (256, 4096)}),
    "PostgreSQL": (("fsync",), {"sharedBuffers": (64, 128, 256), "workMem": (256, 1024, 4096), "tempBuffers": (2, 8)}),
}


def write(target: Path, random: np.random.Generator) -> None:
    for system, (switches, choices) in _KNOBS.items():
        (target / system).mkdir()
        picks = list(product((0, 1), *choices.values()))
        options = pd.DataFrame({"root": 1}, index=range(len(picks)))
        options[switches[0]] = [pick[0] for pick in picks]
        for place, (name, values) in enumerate(choices.items(), 1):
            for value in values:
                options[f"{name}_{value}"] = [int(pick[place] == value) for pick in picks]
            options[name] = 1
        effects = {column: random.uniform(-0.15, 0.1) for column in options}
        effects[switches[0]] = 0.4
        parts = []
        for release in range(_RELEASES[system]):
            cost = sum(options[name] * effect for name, effect in effects.items())
            seconds = 100 * np.exp(cost + random.normal(0, 0.02, len(options))) * random.uniform(0.8, 1.2)
            parts.append(options.assign(revision=f"{release + 1}.0", performance=seconds, cpu=1.0))
        pd.concat(parts).to_csv(target / system / "measurements.csv", sep=";", index=False)
        first = [f"{name}_{values[0]}" for name, values in choices.items()]
        default = options[(options[first] == 1).all(axis=1) & (options[switches[0]] == 1)]
        default.to_csv(target / system / "defaultConfigurations.csv", sep=";", index=False)
