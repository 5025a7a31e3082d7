"""An event that comes again: whether soon, when, and of which kind, from an entity's events so far."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import pandas as pd

from infra.errors import DataError, nearest
from training.learner import Learner
from training.learners.backoff import FEW, BackOff, Events, index
from training.learners.binary import BinaryLearner
from training.learners.boosted import LightTrees
from training.learners.linear import Logistic
from training.learners.rate import GroupRate
from training.learners.sequences import Floats

KINDS: dict[str, type[BinaryLearner]] = {"boosted": LightTrees, "logistic": Logistic, "rate": GroupRate}
WINDOWS = (1, 3, 7, 30, 90, 365)  # days
LATE = 0.8  # rows after this share of the time give the rate of false alarms
RATES = np.concatenate([np.linspace(0.001, 0.1, 60), np.linspace(0.1, 1, 40)[1:]])
DAY = pd.Timedelta(days=1)
CHUNK = 50_000
OTHER = ""


class Recurrence(Learner):
    """A binary learner of `kind` says whether the event comes within the label's time, `BackOff` of which kind it is.

    Columns named by the arguments: `entity`, its `group` and `age`, and the lists `ages` (days since each event) and
    `kinds`, oldest first. The kind of a row's next event is read off the entity's next row, so it needs no label.
    `blank`: the kind that says nothing. `fixed`: strengths of `BackOff` that are not to be chosen.

    `predict` gives `probability`, `false_alarm_rate` (share of later rows without the event that score as high, by a
    learner of the earlier ones), `days`, `days_low`, `days_high` (median and 80 % interval of the days to the event in
    this group, should it come within `horizon`), `known` (a group with enough rows), `component` (the likeliest kind)
    and `component_probability`.
    """

    FILE = "recurrence.json"

    def __init__(
        self,
        entity: str,
        group: str,
        age: str,
        ages: str,
        kinds: str,
        kind: str = "boosted",
        options: Mapping[str, Any] | None = None,
        blank: str = OTHER,
        fixed: Mapping[str, float] | None = None,
        horizon: int = 14,
        seed: int = 0,
    ) -> None:
        if kind not in KINDS:
            raise DataError(f"no kind of learner {kind!r}{nearest(kind, KINDS)}; kinds: {', '.join(KINDS)}")
        self.config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self.config["options"] = dict(options or {})
        self.entity, self.group, self.ages, self.kinds = entity, group, ages, kinds
        self.inputs = {f"within_{days}": ages for days in WINDOWS} | {"before": ages, "events": ages, "same": kinds}
        self.inputs |= {"last_kind": kinds, "group": group, "age": age, "weekday": "weekday"}
        self.inner = self._binary()
        self.next = BackOff(1, 1)
        self.state: dict[str, Any] = {}

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        frame = frame.sort_values([self.entity, "time"], kind="stable").reset_index(drop=True)
        counts = frame.loc[frame[label].notna(), self.group].value_counts()
        named = pd.Series([kind for cell in frame[self.kinds] for kind in cell[-1:]], dtype=object).value_counts()
        kinds = sorted(set(named.index[named >= FEW]) - {self.config["blank"]})
        self.state = {"groups": sorted(counts.index[counts >= FEW]), "kinds": [OTHER, *kinds]}
        self._fit_next(frame)
        known = frame[frame[label].notna()]
        rows, truth = self._numbers(known), known[label].to_numpy(dtype=np.float64)
        self._fit_alarms(rows, truth, known["time"])
        self.inner = self._binary().fit(rows.assign(target=truth), "target")
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        starts = range(0, max(len(frame), 1), CHUNK)
        return pd.concat([self._scores(frame.iloc[start : start + CHUNK]) for start in starts])

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Those of the binary learner, summed over the numbers made of each input."""
        effects = self.inner.contributions(self._numbers(frame))
        return effects.T.groupby(lambda name: self.inputs[name]).sum().T

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        content = {"config": self.config, "state": self.state, "chosen": self.next.chosen}
        (folder / self.FILE).write_text(json.dumps(content, indent=1))
        save_file(self.next.arrays(), folder / "counts.safetensors")
        (folder / "inner").mkdir(exist_ok=True)
        self.inner.save(folder / "inner")

    @classmethod
    def load(cls, folder: Path) -> Self:
        from safetensors.numpy import load_file

        content, arrays = json.loads((folder / cls.FILE).read_text()), load_file(folder / "counts.safetensors")
        learner = cls(**content["config"])
        learner.state, learner.next = content["state"], learner._back_off(content["state"])
        learner.next.chosen = content["chosen"]
        learner.next.group, learner.next.pairs = arrays["group"], arrays["pairs"]
        learner.inner = KINDS[learner.config["kind"]].load(folder / "inner")
        return learner

    # -- which kind ---------------------------------------------------------------------------------------------------

    def _fit_next(self, frame: pd.DataFrame) -> None:
        """`frame` in the order of entity and time."""
        days = ((frame["time"] - frame["time"].min()) / DAY).to_numpy(dtype=float)
        row = np.flatnonzero((frame[self.entity] == frame[self.entity].shift(-1)).to_numpy())
        kinds = [self._first_new(frame, here, days[here + 1] - days[here]) for here in row.tolist()]
        target = index(self.state["kinds"], kinds, 0)
        used = target > 0
        if not used.any():
            raise DataError(f"{self.kinds}: no kind comes {FEW} times in these rows; more history is needed to learn")
        self.next = self._back_off(self.state).fit(self._events(frame.iloc[row[used]]), target[used], days[row[used]])
        after = days[row + 1] - days[row]
        soon = pd.Series(np.where(after <= self.config["horizon"], after, np.nan)).dropna()
        group = frame[self.group].iloc[row].reset_index(drop=True)[soon.index]
        quantiles = [0.5, 0.1, 0.9]
        by_group = {name: part.quantile(quantiles).tolist() for name, part in soon.groupby(group) if len(part) >= FEW}
        self.state["days"] = {OTHER: soon.quantile(quantiles).fillna(1.0).tolist(), **by_group}

    def _first_new(self, frame: pd.DataFrame, row: int, gap: float) -> str:
        """The first kind in the row after `row` that is not in `row` yet."""
        kinds, ages = (cast(Any, frame[name].iat[row + 1]) for name in (self.kinds, self.ages))
        new = np.flatnonzero(np.asarray(ages, dtype=float) < gap - 1e-6)
        return str(kinds[new[0]]) if len(new) else OTHER

    def _back_off(self, state: dict[str, Any]) -> BackOff:
        return BackOff(len(state["kinds"]), len(state["groups"]) + 1, self.config["fixed"])

    def _events(self, frame: pd.DataFrame) -> Events:
        kinds = [index(self.state["kinds"], cell, 0) for cell in frame[self.kinds]]
        ages = [np.asarray(cell, dtype=float) for cell in frame[self.ages]]
        return Events(index(self.state["groups"], frame[self.group], len(self.state["groups"])), kinds, ages)

    # -- whether and when ---------------------------------------------------------------------------------------------

    def _binary(self) -> BinaryLearner:
        return KINDS[self.config["kind"]](
            list(self.inputs), folds=0, seed=self.config["seed"], **self.config["options"]
        )

    def _numbers(self, frame: pd.DataFrame) -> pd.DataFrame:
        events = self._events(frame)
        count = len(frame)
        row = np.repeat(np.arange(count), [len(ages) for ages in events.ages])
        ages = np.concatenate([*events.ages, np.empty(0)])
        numbers: dict[str, Any] = {f"within_{days}": np.bincount(row[ages < days], minlength=count) for days in WINDOWS}
        last, same = (
            events.last(),
            [float((kinds == kinds[-1]).mean()) if len(kinds) else 0.0 for kinds in events.kinds],
        )
        numbers |= {
            "before": np.array([cell[-2] if len(cell) > 1 else np.nan for cell in events.ages]),
            "events": np.bincount(row, minlength=count),
            "same": np.array(same),
            "last_kind": last,
            "group": events.group,
            "age": pd.to_numeric(frame[self.inputs["age"]], errors="coerce").to_numpy(dtype=float, na_value=np.nan),
            "weekday": pd.to_datetime(frame["time"], utc=True).dt.dayofweek.to_numpy(),
        }
        return pd.DataFrame(numbers, index=frame.index).astype("float64")

    def _fit_alarms(self, rows: pd.DataFrame, truth: Floats, times: pd.Series) -> None:
        """The scores of given false-alarm rates, from late rows scored by a learner of the early ones."""
        early = (times <= times.sort_values().iloc[int(LATE * (len(times) - 1))]).to_numpy()
        if len(np.unique(truth[early])) < 2 or not (truth[~early] == 0).any():
            raise DataError(f"{len(truth)} labelled rows are too few: the early and the late ones need both labels")
        learner = self._binary().fit(rows[early].assign(target=truth[early]), "target")
        healthy = learner.predict(rows[~early])["probability"].to_numpy()[truth[~early] == 0]
        self.state["scores"] = np.quantile(healthy, 1 - RATES).tolist()

    def _scores(self, frame: pd.DataFrame) -> pd.DataFrame:
        probability = self.inner.predict(self._numbers(frame))["probability"].to_numpy()
        kinds = self.next.predict(self._events(frame))
        times = np.array([self.state["days"].get(name, self.state["days"][OTHER]) for name in frame[self.group]])
        scores: dict[str, Any] = {
            "probability": probability,
            "false_alarm_rate": np.interp(probability, self.state["scores"][::-1], RATES[::-1]),
            "known": frame[self.group].isin(self.state["groups"]).to_numpy(),
            "component": np.array(self.state["kinds"], dtype=object)[kinds.argmax(axis=1)],
            "component_probability": kinds.max(axis=1),
        }
        scores |= dict(zip(("days", "days_low", "days_high"), times.reshape(-1, 3).T, strict=True))
        return pd.DataFrame(scores, index=frame.index)
