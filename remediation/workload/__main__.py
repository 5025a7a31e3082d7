"""`python -m remediation.workload up | down | run | status | fault KIND SERVICE [AMOUNT]`.

`run` is for a supervisor: it starts the workload (or adopts a running one), stays, and stops it on SIGTERM. It restarts
nothing: repairs are the business of remediation.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from infra.errors import UserError
from infra.settings import settings
from remediation.workload.control import SERVICES, Workload
from remediation.workload.faults import KINDS, inject
from remediation.workload.inventory import LocalInventory


def main() -> int:
    parser = argparse.ArgumentParser(prog="remediation.workload", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "down", "run", "status"):
        commands.add_parser(name)
    fault = commands.add_parser("fault")
    fault.add_argument("kind", choices=sorted(KINDS))
    fault.add_argument("service", choices=SERVICES)
    fault.add_argument("amount", type=float, nargs="?", help="MiB/s of a leak, seconds of slowness")
    options = parser.parse_args()
    try:
        workload = Workload(settings())
        if options.command == "fault":
            state = inject(workload, options.kind, options.service, options.amount)
            print(f"{state.instance} (pid {state.pid}) is {options.kind}")
        else:
            commands_by_name: dict[str, Callable[[Workload], None]] = {
                "up": up,
                "down": down,
                "run": run,
                "status": status,
            }
            commands_by_name[options.command](workload)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def up(workload: Workload) -> None:
    """Start and wait until every part answers."""
    workload.up()
    wait_healthy(LocalInventory(workload.settings))
    status(workload)


def wait_healthy(inventory: LocalInventory, seconds: float = 20.0) -> None:
    """Return when all instances are ready; raises UserError with the log of the first that is not."""
    deadline = time.monotonic() + seconds
    while True:
        bad = [name for name, look in inventory.observe().items() if not look.ready]
        if not bad:
            return
        if time.monotonic() > deadline:
            tail = inventory.workload.log_tail(bad[0])
            raise UserError(f"{', '.join(bad)} not ready after {seconds:.0f} s; the log of {bad[0]} ends: {tail}")
        time.sleep(0.1)


def down(workload: Workload) -> None:
    """Stop all of it."""
    workload.down()


def run(workload: Workload) -> None:
    """Stay until SIGTERM or SIGINT, reaping what ends meanwhile."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # handlers, not a mask: the children would inherit a mask
        signal.signal(number, lambda *_: ended.set())
    workload.up()
    while not ended.wait(0.5):
        with suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
    workload.down()


def status(workload: Workload) -> None:
    for name, look in LocalInventory(workload.settings).observe().items():
        state = workload.state(name)
        condition = "ready" if look.ready else "not ready" if look.responding else "hung" if look.alive else "down"
        print(f"{name:12} generation {state.generation:<3} pid {state.pid or '-':<8} port {state.port:<6} {condition}")


if __name__ == "__main__":
    sys.exit(main())
