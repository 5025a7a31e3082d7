"""Wait until the prediction API serves the version that the registry names, without a restart."""

from __future__ import annotations

import time

from prefect import flow, task

from flows.show import model_link, say, table
from infra.errors import UserError
from serving.client import Client
from serving.messages import ModelStatus
from training import catalog, registry
from training.registry import Version


@flow(flow_run_name="deploy", description=__doc__)
def deploy(models: list[str] | None = None, timeout: float = 60.0) -> dict[str, int]:
    """Wait for `models` (all enabled ones when empty); returns the served version of each.

    Raises UserError naming the model that is not served in time and what the API says about it.
    """
    served = {name: await_version(name, timeout) for name in catalog.enabled(tuple(models or ()))}
    rows = [_row(name, status) for name, status in served.items()]
    table("served-models", rows, "What the prediction API serves now")
    return {name: status.version or 0 for name, status in served.items()}


@task(name="await version", task_run_name="await {name}", tags=["serving"])
def await_version(name: str, timeout: float) -> ModelStatus:
    wanted = _registered(name)
    deadline = time.monotonic() + timeout
    with Client() as client:
        while True:
            status = client.status().models[name]
            if status.ready and status.version == wanted.number:
                say(f"{name} v{status.version} @{status.alias} is served at {status.route}")
                return status
            if time.monotonic() > deadline:
                raise UserError(
                    f"{name}: the API serves {f'v{status.version}' if status.version else 'nothing'} instead of "
                    f"v{wanted.number} after {timeout:.0f} s: {status.problem or 'it gives no reason'}"
                )
            time.sleep(0.5)


def _registered(name: str) -> Version:
    version = registry.current(name, "champion") or registry.current(name, "challenger")
    if version is None:
        raise UserError(f"{name} has no registered version; run `aiops train {name}` first")
    return version


def _row(name: str, status: ModelStatus) -> dict[str, object]:
    return {
        "model": model_link(name, status.version or 0),
        "alias": status.alias,
        "route": status.route,
        "load seconds": f"{status.load_seconds:.2f}" if status.load_seconds is not None else None,
        "synthetic": status.synthetic,
    }
