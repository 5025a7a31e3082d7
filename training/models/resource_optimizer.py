"""ResourceOptimizer: the requests and limits a workload needs, from what it used, as Kubernetes writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from features.transforms.rightsizing import USAGE_AHEAD, USAGE_HISTORY, Usage
from training import metrics_sizing
from training.learner import Learner
from training.learners.sizing import Sizing
from training.learners.sizing_choice import SizingChoice, autopilot
from training.learners.sizing_policy import RULE, SizingPolicy
from training.model import Answer, Fold, Model, Options, Row, Spec, Target

RESOURCES = ("cpu", "memory")
LEARNT_HOURS = 144  # of history in rows that are learnt from or judged: the rule of seven days needs them
JUDGED = 0.4  # share of the workloads
CUT = 0.5  # share of the time that is learnt from
MIB = 2**20


class ResourceOptions(Options):
    """`violation_budget`: share of the seven-day rule's violations that the policy may spend; less saves less.

    `worth`: share of the capacity that the policy must save beyond the moving window to be used, for each resource.
    """

    worth: float = Field(default=0.01, ge=0)
    violation_budget: float = Field(default=0.5, gt=0, le=2)
    band: float = Field(default=0.1, ge=0, lt=1)  # how much too large a request may be before it is lowered
    limit_over_request: float = Field(default=1.0, ge=1)  # of CPU; memory limits equal requests: it cannot be throttled
    least_cpu: float = Field(default=0.01, gt=0)  # cores
    least_memory: float = Field(default=16 * MIB, gt=0)  # bytes
    min_history_hours: int = Field(default=48, ge=24)


class Resources(BaseModel):
    """Quantities as Kubernetes writes them."""

    model_config = ConfigDict(frozen=True)
    cpu: str = Field(description='for example "250m"')
    memory: str = Field(description='for example "512Mi"')


class ResourceAnswer(Answer):
    """What to set now, what it saves, and how often use is expected above it."""

    requests: Resources | None = None
    limits: Resources | None = None
    changed: bool | None = Field(default=None, description="whether this differs from the present requests")
    cpu_saved: float | None = Field(default=None, description="cores less than the present request, else the capacity")
    memory_saved: float | None = Field(default=None, description="bytes less than the present request, or the capacity")
    cpu_saved_share: float | None = Field(default=None, description="share of the present request, or of the capacity")
    memory_saved_share: float | None = Field(default=None, description="share of the present request or the capacity")
    cpu_violation_rate: float | None = Field(
        default=None, ge=0, le=1, description="expected share of five-minute samples above the request"
    )
    memory_violation_rate: float | None = Field(default=None, ge=0, le=1, description="as of CPU")


class ResourceOptimizer(Model):
    """For each resource a policy by the cross-entropy method or a moving window, as machines held out decide.

    Both decide each hour; the seven-day rule that they are compared with decides once a day.
    """

    spec = Spec(
        purpose="CPU and memory requests and limits that fit what a workload uses",
        algorithm=(
            "reinforcement learning (cross-entropy policy search in a gymnasium environment of replayed use) or a "
            "moving window of a day, for each resource whichever served held out machines better"
        ),
        route="optimize/resources",
        task="policy",
        views=(USAGE_HISTORY,),
        labels=USAGE_AHEAD,
        label="ahead",
        row=Usage,
        answer=ResourceAnswer,
        datasets=("bitbrains_rnd",),
        targets=(
            Target("bitbrains_rnd/cpu_saved", 0.60, source="specification"),
            Target("bitbrains_rnd/memory_saved", 0.60, source="specification"),
            Target("bitbrains_rnd/cpu_saved_at_equal_violations", 1.0, baseline="strong"),
            Target("bitbrains_rnd/memory_saved_at_equal_violations", 1.0, baseline="strong"),
            Target("bitbrains_rnd/cpu_violations_at_equal_savings", 1.0, "at_most", baseline="strong"),
            Target("bitbrains_rnd/memory_violations_at_equal_savings", 1.0, "at_most", baseline="strong"),
        ),
        headline="bitbrains_rnd/saved_at_equal_violations",
        protocol=(
            "learn from 60 % of the machines in the first half of the month, judge the others in the second half, hour "
            "by hour, each decision from what was known then and with the contender's own earlier request; one draw of "
            "machines a seed; strong: p99 of 7 days × 1.15, set daily (`rule_hourly`: each hour); naive: the peak of 7 "
            "days; `policy`, `autopilot`: the model's two candidates, for all resources; `at_equal_…`: all requests "
            "times one number, so that violations (savings) are those of the strong rule"
        ),
        options=ResourceOptions,
        limits=(
            "On the reference set machines held out of training mostly choose the moving window for CPU, as the policy "
            "adds nothing, and the policy for memory. It pays for that with changes: requests change about twelve "
            "times a day (twice where only the moving window is chosen; the seven-day rule decides daily and changes "
            "less than once), and each change may restart a workload: use it where requests can be resized in place. "
            "Judged by replay: what a smaller request would have throttled was not replayed, and memory use is what "
            "the hypervisor sees as active, so real memory savings are smaller. Sudden growth without a precedent in "
            "seven days cannot be foreseen: the request rises in the next hour. Use above the capacity counts as all "
            "of it. The one number that makes violations (savings) equal is fitted on the judged rows: it serves to "
            "compare and cannot be known in advance. Not for workloads whose memory must never be exceeded: give these "
            "their own floor."
        ),
    )
    options: ResourceOptions

    def build(self, seed: int = 0) -> Learner:
        options = self.options
        return SizingChoice(options.violation_budget, options.band, options.worth, resources=RESOURCES, seed=seed)

    def baselines(self, seed: int = 0) -> dict[str, Learner]:
        return {
            "naive": Sizing({"peak": 1.0}),
            "strong": Sizing({"p99": RULE}, hour=0),
            "rule_hourly": Sizing({"p99": RULE}),
            "autopilot": autopilot(),
            "policy": SizingPolicy(self.options.violation_budget, self.options.band, seed=seed),
        }

    def folds(self, frame: pd.DataFrame, seed: int = 0) -> Iterator[Fold]:
        frame = frame[frame["history_hours"] >= LEARNT_HOURS]
        for dataset, rows in frame.groupby("dataset", sort=True):
            names = np.sort(rows["workload"].unique())
            drawn = np.random.default_rng(seed).permutation(names)[: max(1, round(JUDGED * len(names)))]
            times = np.sort(rows["time"].unique())
            late, judged = rows["time"] >= times[int(CUT * (len(times) - 1))], rows["workload"].isin(drawn)
            train, test = (rows[part].reset_index(drop=True) for part in (~judged & ~late, judged & late))
            yield Fold(str(dataset), train, test, metrics_sizing.replay)

    def given(self, train: pd.DataFrame, everything: pd.DataFrame) -> Iterator[Fold]:
        """As for every model; a machine on both sides is learnt from only before it is judged."""
        for fold in super().given(train, everything):
            begin = fold.test.groupby("workload")["time"].min()
            before = fold.train["time"] < fold.train["workload"].map(begin).fillna(pd.Timestamp.max.tz_localize("UTC"))
            enough = [part[part["history_hours"] >= LEARNT_HOURS] for part in (fold.train[before], fold.test)]
            learnt, judged = (part.reset_index(drop=True) for part in enough)
            yield replace(fold, train=learnt, test=judged, play=metrics_sizing.replay)

    def measure(self, fold: Fold, scores: pd.DataFrame) -> dict[str, float]:
        return metrics_sizing.sizing(fold.test, scores, self.spec.label, RESOURCES, RULE)

    def decode(self, scores: pd.DataFrame, rows: Sequence[Row]) -> list[Answer]:
        return [self._answer(score, row) for (_, score), row in zip(scores.iterrows(), rows, strict=True)]

    def _answer(self, score: pd.Series, row: Any) -> ResourceAnswer:
        if row.history_hours is None or row.history_hours < self.options.min_history_hours:
            reason = f"{row.history_hours or 0:g} hours of history; {self.options.min_history_hours} are needed"
            return ResourceAnswer(abstained=reason, explanation=[])
        cpu = min(max(score["cpu_limit"], self.options.least_cpu), row.cpu_capacity)
        memory = min(max(score["memory_limit"], self.options.least_memory), row.memory_capacity)
        before_cpu, before_memory = row.cpu_request or row.cpu_capacity, row.memory_request or row.memory_capacity
        return ResourceAnswer(
            abstained=None,
            explanation=[],
            requests=Resources(cpu=cpu_quantity(cpu), memory=memory_quantity(memory)),
            limits=Resources(
                cpu=cpu_quantity(min(cpu * self.options.limit_over_request, row.cpu_capacity)),
                memory=memory_quantity(memory),
            ),
            changed=row.cpu_request is None or row.memory_request is None
            or not np.allclose([cpu, memory], [before_cpu, before_memory], rtol=1e-6),
            cpu_saved=float(before_cpu - cpu),
            memory_saved=float(before_memory - memory),
            cpu_saved_share=float(1 - cpu / before_cpu),
            memory_saved_share=float(1 - memory / before_memory),
            cpu_violation_rate=float(score["cpu_risk"]),
            memory_violation_rate=float(score["memory_risk"]),
        )  # fmt: skip


def cpu_quantity(cores: float) -> str:
    """Cores in millicores, rounded up: `0.2501` is `251m`."""
    return f"{max(1, int(np.ceil(round(cores * 1000, 6))))}m"


def memory_quantity(size: float) -> str:
    """Bytes in mebibytes, rounded up: `536870913` is `513Mi`."""
    return f"{max(1, int(np.ceil(size / MIB)))}Mi"
