"""Real faults for the workload: a process killed, stopped, leaking memory or answering slowly."""

from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request

from infra.errors import NotFound, UserError
from remediation.workload.control import InstanceState, Workload

KINDS = {"killed": 0.0, "hung": 0.0, "leaking": 64.0, "slow": 0.6}  # default amount: MiB/s, seconds


def inject(workload: Workload, kind: str, service: str, amount: float | None = None) -> InstanceState:
    """Put a fault into the running instance of `service`; raises UserError when it does not run."""
    if kind not in KINDS:
        raise NotFound("fault", kind, KINDS)
    state = workload.state(f"{service}-0")
    if state.pid is None or not state.alive:
        raise UserError(f"{state.instance} does not run; start the workload first: python -m remediation.workload up")
    if kind in ("killed", "hung"):
        os.kill(state.pid, signal.SIGKILL if kind == "killed" else signal.SIGSTOP)
        return state
    route = "leak" if kind == "leaking" else "slow"
    host = workload.settings.stack.host
    url = f"http://{host}:{state.port}/debug/{route}?amount={KINDS[kind] if amount is None else amount}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=5):
            return state
    except urllib.error.HTTPError:
        raise UserError(f"{state.instance} takes no faults; start the workload with AIOPS_FAULTS=1") from None
