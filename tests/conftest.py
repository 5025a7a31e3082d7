"""What all tests share: one thread a process, as the program runs, and what must stay in one process."""

import os
import re
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch (see `infra.parts.environment`)
CONTRACT = re.compile(r".*/test_contract\.py::.*\[(\w+).*\]")
STACK = re.compile(r"tests/integration/test_\w+\.py::")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """What shares a stack or a fitted model runs in one process, in order: one group after another."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return Groups(config, log)


def group(nodeid: str) -> str:
    """The stack of the integration tests, the model of a contract test, else the file."""
    if STACK.match(nodeid):
        return "stack"
    model = CONTRACT.match(nodeid)
    return f"contract {model[1]}" if model else nodeid.partition("::")[0]
