"""IncidentClassifier: what an incident is about, how grave it reads, and which past incidents are like it.

Only the first message is read: a triage cannot see the later ones. Severity is no model: in a time split the first
message tells it worse than the majority class (providers change their scales, and grade at the end), so that a policy
reads it from words that name it, and says nothing otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, cast

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from features.transforms.incident_reports import INCIDENT_CLASSES, INCIDENT_REPORTS, IncidentReport
from infra.errors import DataError
from training import checks, metrics_multiclass
from training.learner import Learner
from training.learners.segmented import Segmented
from training.learners.text import CLASS
from training.learners.text_pool import TextsWithIndex
from training.model import Answer, Fold, Model, Options, Row, Spec, Target
from training.severity import BASIS, POLICY, Severity, SeverityRule, graded

CONTENT = ["taxonomy", "title", "description", "logs", "metrics"]
INPUTS: dict[str, Any] = {"texts": ["title", "description"], "lists": ["logs", "metrics"]}
JUDGED = 0.3  # share of the labelled incidents, the newest, that are judged
SEVERAL = "Multiple Products"
NEAREST = 5
# what somebody who knows the products would grep for; GitHub's components are called by their own names
KEYWORDS = {
    "ai": ["machine learning", "ai platform", "vertex", "dialogflow"],
    "analytics": ["dataflow", "dataproc", "pub/sub", "composer", "kinesis", "athena"],
    "compute": ["compute engine", "kubernetes", "app engine", "functions", "cloud run", "instance", "ec2", "lambda"],
    "database": ["sql", "bigquery", "bigtable", "database", "rds"],
    "management": ["console", "cloudwatch", "alarm"],
    "network": ["network", "dns", "load balanc", "vpn", "interconnect", "connectivity", "cloudfront", "route 53"],
    "others": ["support", "stackdriver", "monitoring", "logging", "workspaces", "chime"],
    "security": ["iam", "identity", "secret", "certificate", "authentication"],
    "storage": ["storage", "firestore", "memorystore", "spanner", "datastore", "filestore", "s3"],
}


class IncidentOptions(Options):
    """`fewest_words`: known to training, below which it abstains. `severity_policy`: the first rule that fits counts.

    `tuned_layers`: of BERT's six, how many learn; more cost more (see `training/learners/bert.py`).
    """

    fewest_words: int = Field(default=3, ge=1)
    severity_policy: tuple[SeverityRule, ...] = POLICY
    tuned_layers: int = Field(default=1, ge=1, le=6)


class Likely(BaseModel):
    """A category and its probability."""

    model_config = ConfigDict(frozen=True)
    category: str
    probability: float = Field(ge=0, le=1)


class Similar(BaseModel):
    """An incident that was opened before."""

    model_config = ConfigDict(frozen=True)
    incident_id: str
    opened: datetime
    text: str = Field(description="the beginning of its first message")
    category: str | None = Field(description="null: never said")
    similarity: float = Field(description="cosine of the embeddings, 1: the same")


class IncidentAnswer(Answer):
    """What the incident is about, how grave it reads, and what it is like."""

    category: str | None = Field(default=None, description="the most probable category of the taxonomy")
    confidence: float | None = Field(default=None, ge=0, le=1, description="calibrated probability of `category`")
    alternatives: list[Likely] = Field(default=[], description="the next categories, most probable first")
    severity: Severity | None = Field(default=None, description="null: the first message names none")
    severity_because: str | None = Field(default=None, description="the phrase that the policy found")
    severity_basis: str = Field(default=BASIS, description="where the severity comes from")
    similar_incidents: list[Similar] = Field(default=[], description="opened before this one, most similar first")
    evidence: list[str] = Field(default=[], description="the inputs that were read")


class IncidentClassifier(Model):
    """Fine-tuned BERT and TF-IDF, pooled; embeddings in an index; severity by policy."""

    spec = Spec(
        purpose="what an incident is about, how grave it reads, and which past incidents are like it",
        algorithm=(
            "BERT (pretrained MiniLM-L6, last layer and head fine-tuned) pooled with TF-IDF + logistic regression by "
            "past-only evidence, calibrated; similar incidents by exact inner product of its embeddings (faiss)"
        ),
        route="analyze/incident",
        task="multiclass",
        views=(INCIDENT_REPORTS,),
        labels=INCIDENT_CLASSES,
        label="category",
        row=IncidentReport,
        answer=IncidentAnswer,
        datasets=("cloud_incidents", "github_incidents"),
        targets=(
            Target("cloud_incidents/accuracy_google", 0.92, source="specification"),
            Target("github_incidents/accuracy", 0.92, source="specification"),
            Target("cloud_incidents/accuracy_google", 1.0, baseline="strong"),
            Target("github_incidents/accuracy", 1.0, baseline="strong"),
            Target("cloud_incidents/ece", 0.05, "at_most"),
            Target("github_incidents/ece", 0.05, "at_most"),
            Target("cloud_incidents/similar_at_5", 0.75),
        ),
        headline="cloud_incidents/accuracy_google",
        protocol=(
            "copies of one incident are one; of incidents with the same words the first counts; only the first message "
            f"is read; the newest {JUDGED:.0%} of the labelled incidents are judged, all older ones learnt from; "
            "weight of the parts and calibration by the newest quarter of the older ones; incidents of several "
            "products have no category; similar_at_5: an incident of the same service among the five most similar; "
            "severity_*: the policy against the provider's final grade, where it says one, beside the commonest grade "
            "of the past"
        ),
        options=IncidentOptions,
        thorough={"tuned_layers": 6},
        limits=(
            "Categories of cloud incidents are the annotators' for the service on whose page the incident was posted. "
            "A first message that names no product ('an issue affecting multiple services') cannot be told from "
            "others; Google's rewritten headlines, which name it, are hindsight and not read. Severity is a policy "
            "that agrees badly with the providers' final grades: see severity_accuracy beside severity_majority. No "
            "published incident has logs or metrics attached: they are read as words, and their effect was not "
            "measured. English only."
        ),
    )
    options: IncidentOptions

    def build(self, seed: int = 0) -> Learner:
        own = {"entity": "incident_id", "nearest": NEAREST, "tuned": self.options.tuned_layers, "seed": seed}
        return Segmented("taxonomy", "texts_with_index", INPUTS | own)

    def baselines(self, seed: int = 0) -> dict[str, Learner]:
        return {
            "naive": Segmented("taxonomy", "keywords", {**INPUTS, "keywords": KEYWORDS, "seed": seed}),
            "strong": Segmented("taxonomy", "tfidf", {**INPUTS, "seed": seed}),
            "bert": Segmented("taxonomy", "bert", {**INPUTS, "tuned": self.options.tuned_layers, "seed": seed}),
        }

    def folds(self, frame: pd.DataFrame, seed: int = 0) -> Iterator[Fold]:
        for name, rows in frame.groupby("dataset", sort=True):
            rows = _distinct(rows)
            times = rows.loc[rows["category"].notna(), "time"].sort_values()
            if times.empty:
                raise DataError(f"{name}: no incident has a category; nothing can be learnt or judged")
            newer = rows["time"] >= times.iloc[int((1 - JUDGED) * len(times))]
            judged = rows[newer & rows["category"].notna()]
            yield Fold(str(name), rows[~newer].reset_index(drop=True), judged.reset_index(drop=True))

    def given(self, train: pd.DataFrame, everything: pd.DataFrame) -> Iterator[Fold]:
        """As for every model; an incident whose words were learnt from, or are judged already, is no test."""
        for fold in super().given(train, everything):
            test = fold.test[~np.isin(checks.content(fold.test[CONTENT]), checks.content(fold.train[CONTENT]))]
            yield Fold(fold.dataset, fold.train, _distinct(test))

    def measure(self, fold: Fold, scores: pd.DataFrame) -> dict[str, float]:
        names = [name for name in map(str, scores) if name.startswith(CLASS)]
        judged = (fold.test["category"].notna() & scores[names].notna().any(axis=1)).to_numpy()
        if not judged.any():
            raise DataError(f"{fold.dataset}: no row could be judged; the training part must hold the same taxonomy")
        test, given = fold.test[judged], scores[judged]
        figures = {"answered": float(judged.sum() / fold.test["category"].notna().sum())}
        providers = sorted(test["provider"].dropna().unique())
        parts = {"": test["category"].notna(), **{f"_{name}": test["provider"] == name for name in providers}}
        for suffix, part in parts.items() if len(providers) > 1 else [("", parts[""])]:
            where = part.to_numpy()
            found = metrics_multiclass.classification(
                test.loc[where, "category"].to_list(), given.loc[where, names].fillna(0.0), [n[2:] for n in names]
            )
            figures |= {f"{name}{suffix}": value for name, value in found.items()}
        return figures | _similar(fold.train, test, given) | self._severity(fold.train, test)

    def decode(self, scores: pd.DataFrame, rows: Sequence[Row]) -> list[Answer]:
        reports = (cast(IncidentReport, row) for row in rows)
        return [self._answer(score, row) for (_, score), row in zip(scores.iterrows(), reports, strict=True)]

    def _answer(self, score: pd.Series, row: IncidentReport) -> IncidentAnswer:
        part = cast(Segmented, self._fitted()).parts.get(row.taxonomy)
        if part is None:
            return IncidentAnswer(abstained=f"no incidents of taxonomy {row.taxonomy!r} were in the training data")
        if score["words"] < self.options.fewest_words:
            return IncidentAnswer(
                abstained=f"{score['words']:.0f} words known from training; {self.options.fewest_words} are needed"
            )
        names = [f"{CLASS}{name}" for name in cast(TextsWithIndex, part).classes]
        ranked = score[names].astype(float).sort_values(ascending=False, kind="stable")
        likely = [Likely(category=str(name)[2:], probability=float(value)) for name, value in ranked.items()]
        severity, because = graded(self.options.severity_policy, row.title, row.description)
        return IncidentAnswer(
            category=likely[0].category,
            confidence=likely[0].probability,
            alternatives=likely[1:4],
            severity=severity,
            severity_because=because,
            similar_incidents=_recalled(cast(TextsWithIndex, part), score),
            evidence=[name for name in CONTENT[1:] if getattr(row, name)],
        )

    def _severity(self, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
        """The policy against the final grades, and how often the past's commonest grade of each provider is right."""
        texts = zip(test["title"], test["description"], strict=True)
        said = [graded(self.options.severity_policy, *pair)[0] for pair in texts]
        final = test["severity"].notna().to_numpy()
        answered = np.array([one is not None for one in said]) & final
        right = np.array(said, dtype=object) == test["severity"].to_numpy()
        common = train.groupby("provider")["severity"].agg(lambda grades: grades.mode().iloc[0])
        majority = (test["provider"].map(common) == test["severity"]).to_numpy()
        return {
            "severity_accuracy": _share(right[answered]),
            "severity_majority": _share(majority[answered]),
            "severity_answered": _share(answered[final]),
        }


def _distinct(rows: pd.DataFrame) -> pd.DataFrame:
    """In order of time, the first incident of those with the same words."""
    rows = rows.sort_values(["time", "incident_id"], kind="stable")
    repeated = pd.Series(checks.content(rows[CONTENT])).duplicated().to_numpy()
    return rows[~repeated].reset_index(drop=True)


def _similar(train: pd.DataFrame, test: pd.DataFrame, scores: pd.DataFrame) -> dict[str, float]:
    """How often an incident of the same service is among the most similar; incidents of several products left out.

    NaN for a contender that names no similar incidents.
    """
    if "similar" not in scores:
        return {f"similar_at_{NEAREST}": float("nan")}
    services = dict(zip(train["incident_id"].astype(str), train["service"], strict=True))
    rows = [
        any(services[one] == service for one in similar)
        for service, similar in zip(test["service"], scores["similar"], strict=True)
        if isinstance(service, str) and service != SEVERAL
    ]
    return {f"similar_at_{NEAREST}": _share(np.array(rows))}


def _recalled(part: TextsWithIndex, score: pd.Series) -> list[Similar]:
    found = []
    for name, similarity in zip(score["similar"], score["similarity"], strict=True):
        past = part.recall(name)
        found.append(
            Similar(
                incident_id=name,
                opened=past["time"],
                text=past["text"],
                category=past["label"],
                similarity=similarity,
            )
        )
    return found


def _share(hits: np.ndarray[Any, Any]) -> float:
    return float(hits.mean()) if len(hits) else float("nan")
