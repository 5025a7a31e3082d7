"""What all tests share: one thread a process, as the program runs, and what must stay in one process."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch (see `infra.parts.environment`)
CONTRACT = "test_contract.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name the group of each test for `--dist loadgroup`: what shares a stack or a fitted model runs in one process."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    """The folder of the integration tests, the model of a contract test, else the file."""
    if item.path.parent.name == "integration":
        return "integration"
    model = getattr(item, "callspec", None) and item.callspec.params.get("name")  # type: ignore[attr-defined]
    return f"contract {model}" if item.path.name == CONTRACT and model else str(item.path)
