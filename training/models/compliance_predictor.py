"""CompliancePredictor: will a change to infrastructure code break a policy, which ones, and what mends it.

Asked before the change lands. The policy engine knows for sure, and `aiops predict compliance_predictor DIFF` lets it
confirm; the model also answers where the engine is not installed, and says why in terms of the change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from features import datasets
from features.sources import compliance_iac_history
from features.transforms.iac_changes import IAC_CHANGES, IAC_OUTCOMES, RATES, IacChange
from training import checks, metrics
from training.learner import Learner
from training.learners.rate_ranker import RateRanker
from training.learners.rule_ranker import RuleRanker
from training.model import Answer, Fold, Model, Options, Row, Spec, Target

NUMBERS = ("new_file", "lines_before", "lines_added", "lines_removed", "passed_before", "files_in_commit", *RATES)
ORIGINS = (0.7, 0.8, 0.9)  # shares of the changes after which everything earlier is learnt from
TOP = 5
FIX_BASIS = "the policies' own titles (checkov 3.3.30); the engine names line and guideline when it confirms"


class ComplianceOptions(Options):
    """`risk_above`: risk from which a change is called a violation; null: the best F1 of changes not learnt from."""

    risk_above: float | None = Field(default=None, ge=0, le=1)
    policies: int = Field(default=TOP, ge=1, le=20)
    policy_above: float = Field(default=0.05, ge=0, le=1)


class AffectedPolicy(BaseModel):
    """A policy that the change may newly break."""

    model_config = ConfigDict(frozen=True)
    policy: str = Field(description="the policy's id")
    title: str
    probability: float = Field(ge=0, le=1, description="that this change newly breaks it")
    resources: list[str] = Field(description="resource types of the file that the policy applies to")


class RecommendedFix(BaseModel):
    """What to do in the change before it lands."""

    model_config = ConfigDict(frozen=True)
    policy: str
    fix: str


class ComplianceAnswer(Answer):
    """How likely the change is to break a policy, which ones, and what to do."""

    violation_risk: float | None = Field(
        default=None, ge=0, le=1, description="calibrated chance of at least one newly broken policy"
    )
    violation: bool | None = Field(default=None, description="whether the risk reaches the threshold")
    affected_policies: list[AffectedPolicy] = Field(default=[], description="most likely first")
    recommended_fixes: list[RecommendedFix] = Field(
        default=[], description="for a change called a violation, in the order of the policies"
    )
    fixes_basis: str = Field(default=FIX_BASIS, description="where the fixes come from")


class CompliancePredictor(Model):
    """LightGBM over pairs of a change and a policy that applies to what the file holds."""

    spec = Spec(
        purpose="which policies a change to infrastructure code will break, before it lands",
        algorithm="LightGBM over (change, policy) pairs; a change's risk is that of at least one newly broken policy",
        route="predict/compliance",
        task="classification",
        views=(IAC_CHANGES,),
        labels=IAC_OUTCOMES,
        label="introduced",
        row=IacChange,
        answer=ComplianceAnswer,
        datasets=(compliance_iac_history.DATASET,),
        targets=(
            Target("compliance_iac_history/roc_auc", 0.90, source="specification"),
            Target("compliance_iac_history/pr_auc", 0.80),
            Target("compliance_iac_history/policy_recall_at_5", 0.75),
            Target("compliance_iac_history/pr_auc", 1.0, baseline="strong"),
            Target("compliance_iac_history_repository/roc_auc", 0.90),
        ),
        headline="compliance_iac_history/pr_auc",
        protocol=(
            "three rolling origins, after 70, 80 and 90 % of the changes by commit time: everything earlier is learnt "
            "from, what comes until the next is judged; `_repository`: one repository judged, the others learnt from; "
            "calibration and threshold on parts in time inside the training part; policy_recall_at_5: mean share of a "
            "violating change's newly broken policies among the first five named (best possible: "
            "policy_recall_at_5_best)"
        ),
        options=ComplianceOptions,
        limits=(
            "The specified 90 % is held against ROC-AUC: with one violation in eleven changes accuracy says nothing. "
            "A repository that brings a framework of which no change was learnt (bank-of-anthos brings Kubernetes, "
            "aws-cf-templates CloudFormation) is judged all the same in `_repository`, while the served model abstains "
            "there. The judged rows know how often earlier changes of the file, author and repository violated and how "
            "many checks passed before; a lone diff (`aiops predict`) tells none of these, and what that costs was not "
            "measured. Old code was judged by today's rules, each file alone: policies over several files and module "
            "variables are unknown. It does not replace the policy engine, which decides."
        ),
    )
    options: ComplianceOptions

    def build(self, seed: int = 0) -> Learner:
        return RuleRanker(_rules(), NUMBERS, "framework", seed=seed)

    def baselines(self, seed: int = 0) -> dict[str, Learner]:
        trees = {"features": list(NUMBERS), "seed": seed}
        return {
            "naive": RateRanker(_rules(), "framework", "rule", {"limits": {"new_file": 1}, "seed": seed}),
            "strong": RateRanker(_rules(), "framework", "light", trees),
        }

    def folds(self, frame: pd.DataFrame, seed: int = 0) -> Iterator[Fold]:
        for name, rows in frame.groupby("dataset", sort=True):
            rows = rows.sort_values(["time", "change_id"], kind="stable").reset_index(drop=True)
            origins = [rows["time"].iloc[int(share * len(rows))] for share in ORIGINS]
            ends = [*origins[1:], rows["time"].max() + pd.Timedelta(seconds=1)]
            for begin, end in zip(origins, ends, strict=True):
                judged = (rows["time"] >= begin) & (rows["time"] < end)
                yield _fold(str(name), rows[rows["time"] < begin], rows[judged])
            for repository in sorted(rows["repository"].unique()):
                mine = rows["repository"] == repository
                if (rows.loc[mine, "introduced"] != "").sum() >= TOP:
                    yield _fold(f"{name}_repository", rows[~mine], rows[mine])

    def given(self, train: pd.DataFrame, everything: pd.DataFrame) -> Iterator[Fold]:
        """As for every model; a copy of a change that was learnt from is no test."""
        for fold in super().given(train, everything):
            yield _fold(fold.dataset, fold.train, fold.test)

    def measure(self, fold: Fold, scores: pd.DataFrame) -> dict[str, float]:
        judged = fold.test["introduced"].notna().to_numpy()
        introduced, known = fold.test.loc[judged, "introduced"], scores[judged]
        truth = (introduced != "").to_numpy(dtype=float)
        figures = metrics.classification(truth, known["probability"], known["threshold"].iloc[0])
        broken = [set(text.split(";")) for text in introduced if text]
        named = [ranked[:TOP] for ranked, hit in zip(known["ranked"], truth, strict=True) if hit]
        recalls = [len(each & set(top)) / len(each) for each, top in zip(broken, named, strict=True)]
        best = [min(TOP, len(each)) / len(each) for each in broken]
        return figures | {"policy_recall_at_5": _mean(recalls), "policy_recall_at_5_best": _mean(best)}

    def decode(self, scores: pd.DataFrame, rows: Sequence[Row]) -> list[Answer]:
        changes = (cast(IacChange, row) for row in rows)
        return [self._answer(score, row) for (_, score), row in zip(scores.iterrows(), changes, strict=True)]

    def _answer(self, score: pd.Series, row: IacChange) -> ComplianceAnswer:
        if not score["known"]:
            return ComplianceAnswer(abstained=f"no changes of framework {row.framework!r} were in the training data")
        threshold = score["threshold"] if self.options.risk_above is None else self.options.risk_above
        violation = bool(score["probability"] >= threshold)
        likely = zip(score["ranked"], score["chances"], strict=True)
        affected = [
            self._affected(name, chance, row)
            for name, chance in list(likely)[: self.options.policies]
            if chance >= self.options.policy_above
        ]
        fixes = [RecommendedFix(policy=each.policy, fix=_fix(each)) for each in affected] if violation else []
        return ComplianceAnswer(
            violation_risk=float(score["probability"]),
            violation=violation,
            affected_policies=affected,
            recommended_fixes=fixes,
        )

    def _affected(self, name: str, chance: float, row: IacChange) -> AffectedPolicy:
        rule = cast(RuleRanker, self.learner).rules[name]
        types = [text.rpartition(":")[0] for text in row.types_after]
        resources = sorted({each for each in types if f"{row.framework}:{each}" in rule["kinds"]})
        return AffectedPolicy(policy=name, title=rule["title"], probability=float(chance), resources=resources)


def _rules() -> dict[str, dict[str, object]]:
    """The rules of the policy engine, from the data set; a trained model carries them with it."""
    return compliance_iac_history.rules(datasets.fetch(compliance_iac_history.DATASET))


def _fold(name: str, train: pd.DataFrame, test: pd.DataFrame) -> Fold:
    """Judged changes whose content was learnt from are left out: commits picked onto another branch."""
    inputs = [each for each in IacChange.model_fields if each not in ("time", "change_id")]
    new = ~np.isin(checks.content(test[inputs]), checks.content(train[inputs]))
    return Fold(name, train.reset_index(drop=True), test[new].reset_index(drop=True))


def _fix(affected: AffectedPolicy) -> str:
    return f"{affected.title.rstrip('.')} ({', '.join(affected.resources)})"


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
