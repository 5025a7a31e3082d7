"""What a run shows in the Prefect UI: log lines, tables and links. Nothing that must be right hangs on it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger

from infra.settings import settings


def say(text: str) -> None:
    """One line of progress, in the run's log."""
    get_run_logger().info(text)


def table(key: str, rows: Sequence[Mapping[str, object]], description: str) -> None:
    """A table artifact; `key` names its history across runs."""
    cells = [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    create_table_artifact(table=cells, key=_key(key), description=description)


def page(key: str, markdown: str) -> None:
    """A Markdown artifact."""
    create_markdown_artifact(markdown, key=_key(key))


def model_link(name: str, version: int) -> str:
    """Markdown link to a registered version in MLflow's pages."""
    return f"[{name} v{version}]({settings().url('mlflow')}/#/models/{name}/versions/{version})"


def _key(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
