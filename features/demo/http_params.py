"""Parameter values: names, numbers and addresses against injections made from a handful of templates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

_ROWS = 3000
_WORDS = ("casa", "verde", "calle", "mayor", "lopez", "garcia", "madrid", "puente", "alto", "norte", "rio", "santa")
_ATTACKS = {
    "sqli": ("{n}' or '{n}'='{n}", "{n}) union select null,{n}--", "{n} and sleep({m})", "{n}';drop table t{n}--"),
    "xss": ("<script>alert({n})</script>", '"><img src=x onerror=alert({n})>', "<b onclick=run({n})>{m}</b>"),
    "path-traversal": ("../../../{n}/passwd", "..\\..\\windows\\{n}.ini", "/etc/{n}/../../shadow{m}"),
    "cmdi": (";cat /etc/{n}", "|ping -c {n} host{m}", "`id {n}`"),
}


def write(target: Path, random: np.random.Generator) -> None:
    kinds = random.choice(["norm", *_ATTACKS], _ROWS, p=[0.7, 0.18, 0.05, 0.04, 0.03])
    rows = pd.DataFrame({"payload": [_value(kind, random) for kind in kinds], "attack_type": kinds})
    rows["length"] = rows["payload"].str.len()
    rows["label"] = np.where(kinds == "norm", "norm", "anom")
    rows.to_csv(target / "payload_train.csv", index=False)


def _value(kind: str, random: np.random.Generator) -> str:
    if kind == "norm":
        words = " ".join(random.choice(_WORDS, random.integers(1, 4)))
        return f"{words} {random.integers(10**6)}" if random.random() < 0.7 else f"{random.integers(10**9)}"
    template = _ATTACKS[kind][random.integers(len(_ATTACKS[kind]))]
    return template.format(n=random.integers(10_000), m=random.integers(10_000))
