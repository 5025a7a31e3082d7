"""The contract that carries any model from data to action.

    Row      what a model sees: the columns of its views. Written once (in `features/transforms`), used five times:
             the data gate, the Feast feature service, the check before training, the MLflow signature, the HTTP body.
    Answer   what a model says, for each row; `abstained` carries the reason when it is out of its depth.
    Spec     what a model is: name, route, views, labels, targets.
    Model    spec + build() + decode(); fit, predict, explain, save and load are final.

A model is one file in `training/models/`, named as the model, and one entry under `models:` in `aiops.yaml`. Importing
it loads no framework. What a kind of model shares belongs into a learner, never into a hook here.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, final

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from features.view import Columns, View
from infra.errors import DataError, SettingsError, nearest
from training.learner import Learner

Row = Columns
EFFECTS = "contributions"  # column of scores: of each row a mapping, input → signed effect


class Contribution(BaseModel):
    """How much one input moved the answer, in the user's terms."""

    model_config = ConfigDict(frozen=True)
    input: str = Field(description="the input's name")
    value: float | str | None = Field(default=None, description="its value in this row, in the unit of the schema")
    effect: float = Field(description="signed effect on the score")


class Answer(BaseModel):
    """Base of every answer; a model adds its own fields, each of them optional when the model abstains."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    abstained: str | None = Field(default=None, description="why the model gives no answer for this row, or null")
    explanation: list[Contribution] = Field(default=[], description="strongest first; filled on request")


class Options(BaseModel):
    """A model's own keys in `aiops.yaml`, beside `enabled` and `retrain_interval`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Target:
    """A figure of the specification, or an aim of our own, that must hold for `@champion`.

    `metric` is `<dataset>/<name>`, or `<name>` for the mean over data sets; `baseline`: compare with that contender's
    figure times `threshold` instead of with `threshold` itself.
    """

    metric: str
    threshold: float
    direction: Literal["at_least", "at_most"] = "at_least"
    baseline: str | None = None
    source: Literal["specification", "aim"] = "aim"


@dataclass(frozen=True)
class Fold:
    """One split: what may be learnt from, and what is judged. Rows without a label are history, never judged.

    `play`: how a learner that acts and sees what comes of it (a policy, an optimiser) meets the judged rows. It gets
    the fitted learner and the rows without their labels, reveals outcomes one at a time, and returns the scores.
    `together`: the entities are parts of one system and judged together: intervals draw stretches of their common time.
    """

    dataset: str
    train: pd.DataFrame
    test: pd.DataFrame
    play: Callable[[Learner, pd.DataFrame], pd.DataFrame] | None = None
    together: bool = False


@dataclass(frozen=True)
class Spec:
    """What a model is. `route` is below `/api/v3/aiops/`; `datasets` name the reference sets (= their sources)."""

    purpose: str
    algorithm: str
    route: str
    task: Literal["classification", "multiclass", "anomaly", "forecast", "panel", "policy", "ranking"]
    views: tuple[View, ...]
    labels: View
    label: str
    row: type[Row]
    answer: type[Answer]
    datasets: tuple[str, ...]
    targets: tuple[Target, ...]
    headline: str  # the metric shown in summaries; a key of `measure`
    protocol: str  # one sentence: how it is split and judged
    options: type[Options] = Options
    thorough: Mapping[str, Any] = field(default_factory=dict)  # options of the profile `full`; `aiops.yaml` wins
    live: bool = False  # also learns, without labels, from the rows that the watched services stream (data set `live`)
    explains: bool = False  # its answers are made of what moved the score: see `Model.decode`
    limits: str = ""  # what it must not be used for; goes into the model card


class Model(ABC):
    """Base of the models. Subclasses write `spec`, `build`, `baselines`, `folds`, `measure`, `decode`: nothing else."""

    spec: ClassVar[Spec]

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        self.options = _options(self.name(), self.spec.options, options or {})
        self.learner: Learner | None = None

    @classmethod
    @final
    def name(cls) -> str:
        """The file's name."""
        return cls.__module__.rsplit(".", 1)[-1]

    # -- what a model file writes -------------------------------------------------------------------------------------

    @abstractmethod
    def build(self, seed: int = 0) -> Learner:
        """The learner of this model, unfitted."""

    @abstractmethod
    def baselines(self, seed: int = 0) -> dict[str, Learner]:
        """`naive`: a rule anybody would try first; `strong`: a strong simple model. Same frames, same folds."""

    @abstractmethod
    def folds(self, frame: pd.DataFrame, seed: int = 0) -> Iterator[Fold]:
        """The splits of the protocol over a labelled frame of all the model's data sets (column `dataset`).

        Cheap to fit models may give many; `training.benchmark` runs this for each seed.
        """

    @abstractmethod
    def measure(self, fold: Fold, scores: pd.DataFrame) -> dict[str, float]:
        """The reported metrics of `scores` (what a learner's predict gave for `fold.test`)."""

    @abstractmethod
    def decode(self, scores: pd.DataFrame, rows: Sequence[Row]) -> list[Answer]:
        """Turn scores (one row per row, same order) into answers; policies (severity, actions) are applied here.

        Where the spec `explains`, the learner's contributions are in the column `EFFECTS`.
        """

    def given(self, train: pd.DataFrame, everything: pd.DataFrame) -> Iterator[Fold]:
        """The folds when a user names both parts: learn from `train`, judge the labelled rows that only the other has.

        `everything` is built from both folders together, so that history runs across their border. Unlabelled rows of
        the test folder stay in `test` as history.
        """
        key = ["dataset", self.spec.labels.entity, "time"]
        seen = pd.MultiIndex.from_frame(train[key])
        test = everything[~pd.MultiIndex.from_frame(everything[key]).isin(seen)]
        for dataset, part in test.groupby("dataset", sort=True):
            yield Fold(str(dataset), train, part.reset_index(drop=True))

    # -- what every model shares --------------------------------------------------------------------------------------

    @final
    def fit(self, frame: pd.DataFrame, seed: int = 0) -> Self:
        """Fit the model's learner on all of `frame`."""
        self.learner = self.build(seed).fit(frame, self.spec.label)
        return self

    @final
    def predict(self, rows: Sequence[Row | Mapping[str, Any]], explain: bool = False, top: int = 5) -> list[Answer]:
        """One answer per row. Raises DataError naming the row and the field of bad input."""
        checked = [self.check(row, number) for number, row in enumerate(rows)]
        if not checked:
            return []
        frame, learner = to_frame(checked), self._fitted()
        scores = learner.predict(frame)
        effects = learner.contributions(frame) if explain or self.spec.explains else None
        if effects is not None and self.spec.explains:
            told = pd.Series([effect.to_dict() for _, effect in effects.iterrows()], scores.index, dtype=object)
            scores = scores.assign(**{EFFECTS: told})
        answers = self.decode(scores, checked)
        if not explain or effects is None:
            return answers
        return [
            answer if answer.abstained else answer.model_copy(update={"explanation": _strongest(effect, row, top)})
            for answer, (_, effect), row in zip(answers, effects.iterrows(), checked, strict=True)
        ]

    @classmethod
    @final
    def check(cls, row: Row | Mapping[str, Any], number: int = 0) -> Row:
        """`row` as this model's Row. Raises DataError naming the field, what was wrong and what would be right."""
        if isinstance(row, cls.spec.row):
            return row
        try:
            return cls.spec.row.model_validate(row)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'row'}: {e['msg']}" for e in error.errors())
            raise DataError(f"{cls.name()}, row {number}: {problems}") from None

    @final
    def save(self, folder: Path) -> None:
        """Write the fitted model below `folder` (made when absent): `model.json` and the learner's own files."""
        learner = self._fitted()
        (folder / "learner").mkdir(parents=True, exist_ok=True)
        learner.save(folder / "learner")
        kind = f"{type(learner).__module__}:{type(learner).__qualname__}"
        content = {"model": self.name(), "learner": kind, "options": self.options.model_dump(mode="json")}
        (folder / "model.json").write_text(json.dumps(content, indent=1))

    @classmethod
    @final
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        content = json.loads((folder / "model.json").read_text())
        if content["model"] != cls.name():
            raise DataError(f"{folder} holds model {content['model']!r}, not {cls.name()!r}")
        model = cls(content["options"])
        model.learner = _learner(content["learner"]).load(folder / "learner")
        return model

    def _fitted(self) -> Learner:
        if self.learner is None:
            raise DataError(f"{self.name()} is not fitted yet; call fit or load first")
        return self.learner


def to_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows → frame with one column per field."""
    return pd.DataFrame([dict(row) for row in rows])


def _options(model: str, kind: type[Options], values: Mapping[str, Any]) -> Options:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        known = sorted(kind.model_fields)
        texts = (
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}{nearest(str(e['loc'][0]), known)}" for e in error.errors()
        )
        raise SettingsError(
            f"aiops.models.{model}: {'; '.join(texts)}; known keys: {', '.join(known) or '(none)'}"
        ) from None


def _learner(path: str) -> type[Learner]:
    """The learner class `module:name`; only classes of `training.learners` are accepted."""
    import importlib

    module, _, name = path.partition(":")
    if not module.startswith("training.learners."):
        raise DataError(f"{path!r} is not a learner of this program")
    found = getattr(importlib.import_module(module), name, None)
    if not (isinstance(found, type) and issubclass(found, Learner)):
        raise DataError(f"{path!r} is not a learner of this program")
    return found


def _strongest(effects: pd.Series, row: Row, top: int) -> list[Contribution]:
    ordered = effects.dropna().sort_values(key=abs, ascending=False)[:top]
    return [
        Contribution(input=str(name), value=_shown(getattr(row, str(name), None)), effect=float(effect))
        for name, effect in ordered.items()
        if effect
    ]


def _shown(value: Any) -> float | str | None:
    if isinstance(value, list):
        value = value[-1] if value else None  # sequences are oldest first: show the newest
    if isinstance(value, bool):
        return str(value).lower()
    return value if value is None or isinstance(value, (str, float)) else float(value)
