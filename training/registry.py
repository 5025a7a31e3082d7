"""The model registry: what is logged for every version, how it is loaded, where its aliases point (MLflow 3).

The only importer of MLflow. A model is logged one way, whatever its kind: the files that `Model.save` writes, and an
entry of three lines that `mlflow.pyfunc` and `mlflow models serve` run, with our packages beside it, so that neither
needs this checkout. This program itself loads the files natively (`load`): no pyfunc, no pickle.

The server is `MLFLOW_TRACKING_URI` or the stack's own; `sqlite:///file` does without a server and keeps artifacts
below `settings().home`.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from infra.errors import NotFound, UserError
from infra.settings import ROOT, settings
from training import catalog, provenance, signature
from training.model import Model

if TYPE_CHECKING:
    from mlflow import MlflowClient

Alias = Literal["champion", "challenger"]
_DESCRIPTION = 5000  # characters MLflow keeps of a description
_SWITCHES = {  # nothing phones home, and a server that is down is noticed in seconds
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
_ENTRY = """\"\"\"Serves {name}: the model files are the artifact `model`.\"\"\"
import mlflow
from training.registry import served

mlflow.models.set_model(served({name!r}))
"""


@dataclass(frozen=True)
class Version:
    """One registered version of a model."""

    name: str
    number: int
    run_id: str
    created: datetime
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} v{self.number}" + "".join(f" @{alias}" for alias in self.aliases)


@dataclass(frozen=True)
class Record:
    """What is logged with a model: all of it is shown in MLflow's pages."""

    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)  # file name → matplotlib figure
    texts: Mapping[str, str] = field(default_factory=dict)  # file name → content
    card: str = ""  # Markdown: an artifact, and the description of the version


def address() -> str:
    """The tracking server (or database) in force."""
    return os.environ.get("MLFLOW_TRACKING_URI") or settings().url("mlflow")


def require() -> None:
    """Raise UserError unless the registry answers: a training that cannot be registered should not begin."""
    from mlflow.exceptions import MlflowException

    try:
        _client().search_registered_models(max_results=1)
    except MlflowException as error:
        raise UserError(f"the model registry at {address()} does not answer; `aiops up` starts it") from error


def log(model: Model, examples: pd.DataFrame, record: Record) -> Version:
    """Register a fitted model as a new version without an alias.

    `examples`: a few real rows with the columns of the model's Row; they become the input example.
    """
    import mlflow

    name, client = model.name(), _client()
    with tempfile.TemporaryDirectory() as place, _run(name) as run_id:
        folder, entry = Path(place) / "model", Path(place) / "entry.py"
        model.save(folder)
        entry.write_text(_ENTRY.format(name=name))
        example = signature.example(model.spec.row, examples)
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(entry),
            artifacts={"model": str(folder)},
            code_paths=[str(ROOT / package) for package in provenance.PACKAGES],
            pip_requirements=_requirements(model),
            signature=_signature(model),
            input_example=example,
            tags=dict(record.tags),
        )
        _write(record, run_id, info.model_id)
    version = _register(client, name, info, run_id, record)
    return _version(client.get_model_version(name, version))


def load(name: str, alias: Alias = "champion") -> tuple[Model, Version]:
    """The fitted model that `alias` names, loaded natively, and its version. Raises NotFound when there is none."""
    version = current(name, alias)
    if version is None:
        known = [f"{name}@{known}" for v in versions(name) for known in v.aliases]
        raise NotFound("registered model", f"{name}@{alias}", known)
    return load_version(version), version


def load_version(version: Version) -> Model:
    """The fitted model of one version."""
    from mlflow.artifacts import download_artifacts

    _client()
    with tempfile.TemporaryDirectory() as place:
        source = f"models:/{version.name}/{version.number}/artifacts/model"
        folder = Path(download_artifacts(artifact_uri=source, dst_path=place, tracking_uri=address()))
        return catalog.load(version.name).load(folder)


def current(name: str, alias: Alias = "champion") -> Version | None:
    """The version that `alias` names now, or None; one cheap request, made to be polled."""
    from mlflow.exceptions import MlflowException

    try:
        return _version(_client().get_model_version_by_alias(name, alias))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def versions(name: str, most: int = 100) -> list[Version]:
    """The versions of model `name`, newest first."""
    client = _client()
    found = client.search_model_versions(f"name='{name}'", max_results=most, order_by=["version_number DESC"])
    aliases: dict[int, list[str]] = {}
    if found:
        for alias, number in client.get_registered_model(name).aliases.items():
            aliases.setdefault(int(number), []).append(alias)
    return [_version(v, aliases.get(int(v.version), [])) for v in found]


def metrics(version: Version) -> dict[str, float]:
    """The figures logged with a version."""
    return dict(_client().get_run(version.run_id).data.metrics)


def last_trained(name: str) -> datetime | None:
    """When the newest version of model `name` was registered (UTC), or None."""
    newest = versions(name, 1)
    return newest[0].created if newest else None


def promote(version: Version, alias: Alias, tags: Mapping[str, str]) -> Version:
    """Point `alias` at `version` and tag it. A new champion is a challenger no longer."""
    client = _client()
    for key, value in tags.items():
        client.set_model_version_tag(version.name, str(version.number), key, value[:_DESCRIPTION])
    client.set_registered_model_alias(version.name, alias, str(version.number))
    promoted = _version(client.get_model_version(version.name, str(version.number)))
    if alias == "champion" and "challenger" in promoted.aliases:
        client.delete_registered_model_alias(version.name, "challenger")
        promoted = _version(client.get_model_version(version.name, str(version.number)))
    return promoted


def served(name: str) -> Any:
    """The `mlflow.pyfunc.PythonModel` of model `name`: a frame of rows in, a frame of answers out."""
    from mlflow.pyfunc import PythonModel

    class Served(PythonModel):
        """Answers as the program's own API does; `params={"explain": True}` adds the explanations."""

        def load_context(self, context: Any) -> None:
            self.model = catalog.load(name).load(Path(context.artifacts["model"]))

        def predict(
            self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
        ) -> pd.DataFrame:
            rows = signature.records(model_input)
            answers = self.model.predict(rows, explain=bool((params or {}).get("explain")))
            return pd.DataFrame([answer.model_dump(mode="json") for answer in answers])

    return Served()


# -- MLflow's side ----------------------------------------------------------------------------------------------------


@lru_cache
def _prepare() -> None:
    """Before MLflow's first call: the switches, and Feast's entry point left out.

    Feast's wheel registers a request-header provider; with it every REST call imports Feast and torch (10 CPU seconds).
    """
    import logging

    for key, value in _SWITCHES.items():
        os.environ.setdefault(key, value)
    from mlflow.utils import plugins

    found = plugins._get_entry_points
    plugins._get_entry_points = lambda group: [  # a header we do not need, for an import we cannot afford
        point for point in found(group) if not (group == "mlflow.request_header_provider" and "feast" in point.value)
    ]
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)


def _client() -> MlflowClient:
    _prepare()
    import mlflow

    if mlflow.get_tracking_uri() != address():
        mlflow.set_tracking_uri(address())
        mlflow.set_registry_uri(address())
    return mlflow.MlflowClient()


@contextmanager
def _run(name: str) -> Iterator[str]:
    import mlflow

    client = _client()
    if client.get_experiment_by_name(name) is None:
        local = None if address().startswith("http") else (settings().home / "mlflow" / name).resolve().as_uri()
        client.create_experiment(name, artifact_location=local)
    mlflow.set_experiment(name)
    with mlflow.start_run(run_name=f"{name} {datetime.now(UTC):%Y-%m-%d %H:%M:%S}") as run:
        yield run.info.run_id


def _write(record: Record, run_id: str, model_id: str) -> None:
    import mlflow

    mlflow.log_params(dict(record.params))
    mlflow.log_metrics(
        {_key(name): value for name, value in record.metrics.items() if value == value}, model_id=model_id
    )
    mlflow.set_tags(dict(record.tags))
    for file, figure in record.figures.items():
        mlflow.log_figure(figure, file)
    for file, text in {**record.texts, **({"model_card.md": record.card} if record.card else {})}.items():
        mlflow.log_text(text, file)
    if record.card:
        mlflow.set_tag("mlflow.note.content", record.card[:_DESCRIPTION])


def _register(client: MlflowClient, name: str, info: Any, run_id: str, record: Record) -> str:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=catalog.load(name).spec.purpose)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {key: value[:_DESCRIPTION] for key, value in record.tags.items()}
    card = record.card[:_DESCRIPTION]
    made = client.create_model_version(
        name, info.model_uri, run_id, tags=tags, description=card, model_id=info.model_id
    )
    return str(made.version)


def _version(found: Any, aliases: list[str] | None = None) -> Version:
    created = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    names = tuple(sorted(found.aliases if aliases is None else aliases))
    return Version(found.name, int(found.version), found.run_id, created, names, dict(found.tags))


def _signature(model: Model) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema

    rows, answers = (Schema.from_json(json.dumps(signature.columns(c))) for c in (model.spec.row, model.spec.answer))
    return ModelSignature(rows, answers, ParamSchema([ParamSpec("explain", DataType.boolean, default=False)]))


def _requirements(model: Model) -> list[str]:
    learner = type(model.learner).__module__
    return provenance.requirements([type(model).__module__, learner, __name__])


def _key(name: str) -> str:
    """`name` with the characters MLflow allows in a metric's name."""
    return "".join(c if c.isalnum() or c in "_-. :/" else {"%": "pct", "@": "_at_"}.get(c, "_") for c in name)
