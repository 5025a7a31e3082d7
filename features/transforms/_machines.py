"""The size of a machine by the naming rules of the clouds: vCPU and memory in GiB.

Only families whose names tell both are known: AWS C, M and R from the fifth generation on and T; GCP standard,
highmem and highcpu; Azure D and E from v3 on and F v2. All others give None: they can be priced, not placed.
"""

from __future__ import annotations

import re
from functools import lru_cache

_AWS = re.compile(r"(t|c|m|r)(\d)[a-z]*\.(nano|micro|small|medium|(\d*)x?large)")
_AWS_RATIO = {"c": 2.0, "m": 4.0, "r": 8.0}
_AWS_BURST = {"nano": (2, 0.5), "micro": (2, 1.0), "small": (2, 2.0), "medium": (2, 4.0), "large": (2, 8.0)}
_GCP = re.compile(r"(n1|n2|n2d|e2|c2|c2d|c3|t2d|t2a)-(standard|highmem|highcpu)-(\d+)")
_GCP_RATIO = {"standard": 4.0, "highmem": 8.0, "highcpu": 1.0}
_GCP_OTHER = {
    ("n1", "standard"): 3.75,
    ("n1", "highmem"): 6.5,
    ("n1", "highcpu"): 0.9,
    ("c2d", "highcpu"): 2.0,
    ("c3", "highcpu"): 2.0,
}
_AZURE = re.compile(r"Standard_(D|E|F)(\d+)(?:-(\d+))?([a-z]*)_v(\d)")
_AZURE_RATIO = {"D": 4.0, "E": 8.0, "F": 2.0}
_AZURE_FIRST = {"D": 3, "E": 3, "F": 2}  # versions before count differently


@lru_cache(maxsize=65_536)
def size(cloud: str, machine: str) -> tuple[float, float] | None:
    """vCPU and GiB of a machine type, None where its name does not tell."""
    return {"aws": _aws, "gcp": _gcp, "azure": _azure}.get(cloud, lambda name: None)(machine)


def _aws(name: str) -> tuple[float, float] | None:
    if not (found := _AWS.fullmatch(name)):
        return None
    family, generation, kind, times = found[1], int(found[2]), found[3], found[4]
    cores = 2.0 if kind == "large" else 4.0 * int(times or 1)
    if family == "t":
        return _AWS_BURST.get(kind) or (cores, 4 * cores)
    if generation < 5:
        return None
    if kind == "medium":
        return 1.0, _AWS_RATIO[family]
    if not kind.endswith("large"):
        return None
    return cores, _AWS_RATIO[family] * cores


def _gcp(name: str) -> tuple[float, float] | None:
    if not (found := _GCP.fullmatch(name)):
        return None
    cores = float(found[3])
    return cores, cores * _GCP_OTHER.get((found[1], found[2]), _GCP_RATIO[found[2]])


def _azure(name: str) -> tuple[float, float] | None:
    found = _AZURE.fullmatch(name)
    if not found or int(found[5]) < _AZURE_FIRST[found[1]]:
        return None
    full = float(found[2])
    ratio = 2.0 if found[1] == "D" and "l" in found[4] else _AZURE_RATIO[found[1]]
    return float(found[3] or full), full * ratio
