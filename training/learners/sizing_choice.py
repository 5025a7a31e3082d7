"""The learnt policy or the plain rule, whichever served machines better that neither had learnt from.

Decided for each resource, inside `fit`, on the training rows alone: workloads are dealt into `parts`; each part is
judged in the later half of the time by learners that saw the other parts in the earlier half. The rule (the peak of a
moving day × 1.1, as in Rzadca et al., "Autopilot", EuroSys 2020) stays unless the policy saves at least `worth` of the
capacity more at equal violations: the policy changes requests several times as often.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from infra.errors import DataError
from training import metrics_sizing
from training.learner import Learner
from training.learners.sizing import Sizing
from training.learners.sizing_policy import RULE, SizingPolicy

KINDS: dict[str, type[Sizing]] = {"rule": Sizing, "policy": SizingPolicy}


class SizingChoice(Learner):
    """`predict` and `contributions` as of `Sizing`; resources with the same winner are set together."""

    FILE = "choice.json"

    def __init__(
        self,
        budget: float = 0.5,
        band: float = 0.1,
        worth: float = 0.01,
        parts: int = 3,
        resources: Sequence[str] = ("cpu", "memory"),
        seed: int = 0,
    ) -> None:
        self.budget, self.band, self.worth, self.parts, self.seed = budget, band, worth, parts, seed
        self.resources = list(resources)
        self.saved: dict[str, dict[str, float]] = {}  # kind → figures of the held out machines
        self.chosen: dict[str, Sizing] = {}

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        self.saved = self._held_out(frame[frame[label].notna()], label)
        kinds: dict[str, list[str]] = {}
        for resource in self.resources:
            kinds.setdefault(self._winner(resource), []).append(resource)
        self.chosen = {}
        for kind, resources in kinds.items():
            places = [self.resources.index(resource) for resource in resources]
            own = frame.assign(**{label: frame[label].map(lambda items, at=places: self._pieces(items, at))})
            self.chosen[kind] = self._make(kind, resources).fit(own, label)
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([part.predict(frame) for part in self.chosen.values()], axis=1)

    def replayed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """As of `Sizing`."""
        return pd.concat([part.replayed(frame) for part in self.chosen.values()], axis=1)

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([part.contributions(frame) for part in self.chosen.values()], axis=1)

    def _winner(self, resource: str) -> str:
        """Where nothing could be held out, the rule."""
        name = f"{resource}_saved_at_equal_violations"
        better = self.saved and self.saved["policy"][name] - self.saved["rule"][name] >= self.worth
        return "policy" if better else "rule"

    def _held_out(self, rows: pd.DataFrame, label: str) -> dict[str, dict[str, float]]:
        """Of each kind, the figures on all workloads, each judged by a learner that had not seen it."""
        names = np.random.default_rng(self.seed).permutation(np.sort(rows["workload"].unique()))
        if rows.empty:
            raise DataError(f"{label}: no row has a measured use to learn from")
        if len(names) < self.parts or rows["time"].nunique() < 2:
            return {}
        late = rows["time"] > rows["time"].quantile(0.5)
        judged: list[pd.DataFrame] = []
        scores: dict[str, list[pd.DataFrame]] = {kind: [] for kind in KINDS}
        for part in np.array_split(names, self.parts):
            out = rows["workload"].isin(part)
            learnt, test = rows[~out & ~late], rows[out & late].reset_index(drop=True)
            if learnt.empty or test.empty:
                continue
            judged.append(test)
            for kind in KINDS:
                fitted = self._make(kind, self.resources).fit(learnt, label)
                scores[kind].append(fitted.replayed(test.drop(columns=label)))
        if not judged:
            return {}
        truth = pd.concat(judged, ignore_index=True)
        return {
            kind: metrics_sizing.sizing(truth, pd.concat(found, ignore_index=True), label, self.resources, RULE)
            for kind, found in scores.items()
        }

    def _make(self, kind: str, resources: list[str]) -> Sizing:
        if kind == "policy":
            return SizingPolicy(self.budget, self.band, resources=resources, seed=self.seed)
        return autopilot(self.band, resources)

    def _pieces(self, items: Any, places: list[int]) -> Any:
        """Of a row's use (one resource after the other), that of the resources at `places`."""
        if items is None or np.ndim(items) == 0:
            return items
        return np.reshape(items, (len(self.resources), -1))[places].ravel()

    def save(self, folder: Path) -> None:
        config = {name: getattr(self, name) for name in ("budget", "band", "worth", "parts", "resources", "seed")}
        content = {"config": config, "saved": self.saved, "kinds": list(self.chosen)}
        (folder / self.FILE).write_text(json.dumps(content, indent=1))
        for kind, part in self.chosen.items():
            (folder / kind).mkdir(exist_ok=True)
            part.save(folder / kind)

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / cls.FILE).read_text())
        learner = cls(**content["config"])
        learner.saved = content["saved"]
        learner.chosen = {kind: KINDS[kind].load(folder / kind) for kind in content["kinds"]}
        return learner


def autopilot(band: float = 0.1, resources: Sequence[str] = ("cpu", "memory")) -> Sizing:
    """The moving-window rule."""
    return Sizing({"peak_24h": 1.1}, band=band, resources=resources)
