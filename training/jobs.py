"""Train several models, some at a time, each in a process of its own, so that its memory goes back when it ends."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing.queues import SimpleQueue

from infra.errors import UserError
from infra.logs import record_crash
from training import trainer
from training.evaluate import Progress
from training.trainer import Trained

Steps = SimpleQueue["tuple[str, float] | None"]
MOST = 2  # models at a time: each takes up to about 3 GiB
FIRST = ("threat_detector", "root_cause_analyzer")  # take longest: begun first, all end sooner
_steps: Steps


def train_all(
    names: Sequence[str], seed: int = 0, profile: str = "default", progress: Progress | None = None, jobs: int = 0
) -> list[Trained]:
    """Train `names`, `jobs` at a time (0: one a core, at most two); in order of `names`.

    One that fails does not keep the others from being trained: UserError then names each that failed, and why.
    """
    jobs = min(jobs or min(MOST, len(os.sched_getaffinity(0))), len(names))
    if jobs <= 1:
        return _outcome({name: _tried(name, seed, profile, progress or (lambda what, share: None)) for name in names})
    context = multiprocessing.get_context("spawn")  # threads of torch and Spark do not survive a fork
    queue: Steps = context.SimpleQueue()
    teller = threading.Thread(target=_tell, args=(queue, progress), daemon=True)
    teller.start()
    with ProcessPoolExecutor(jobs, context, _begin, (queue,), max_tasks_per_child=1) as pool:
        order = sorted(names, key=lambda name: name not in FIRST)
        futures: dict[Future[Trained | str], str] = {pool.submit(_child, name, seed, profile): name for name in order}
        found = {futures[done]: done.result() for done in as_completed(futures)}
    queue.put(None)
    teller.join()
    return _outcome({name: found[name] for name in names})


def _outcome(found: dict[str, Trained | str]) -> list[Trained]:
    if failed := [f"{name}: {one}" for name, one in found.items() if isinstance(one, str)]:
        done = ", ".join(name for name, one in found.items() if not isinstance(one, str))
        raise UserError("; ".join(failed) + f" . Trained: {done or 'none'}")
    return [one for one in found.values() if isinstance(one, Trained)]


def _tried(name: str, seed: int, profile: str, progress: Progress) -> Trained | str:
    """What was trained, or what went wrong: many an exception does not survive the way between processes."""
    try:
        return trainer.train(name, seed, profile, progress)
    except UserError as error:
        return str(error)
    except Exception as error:
        return f"unexpected {type(error).__name__}: {error}; the traceback is in {record_crash(error)}"


def _begin(queue: Steps) -> None:
    global _steps
    _steps = queue


def _child(name: str, seed: int, profile: str) -> Trained | str:
    return _tried(name, seed, profile, lambda what, share: _steps.put((what, share)))


def _tell(queue: Steps, progress: Progress | None) -> None:
    while (step := queue.get()) is not None:
        if progress:
            progress(*step)
