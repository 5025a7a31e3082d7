"""What the user sees: results on stdout, progress and errors on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from rich.console import Console


@lru_cache
def out() -> Console:
    """The console of results. In a pipe its lines are as long as they need to be."""
    return _console(stderr=False)


@lru_cache
def err() -> Console:
    """The console of progress and errors."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=200)


@contextmanager
def progress(task: str) -> Iterator[Callable[[str, str], None]]:
    """Yield `tell(subject, text)`: each call prints a line; a terminal also shows a spinner with the last one."""
    console = err()
    with console.status(task) as spinner:

        def tell(subject: str, text: str) -> None:
            console.print(f"{subject:<16} {text}", markup=False)
            spinner.update(f"{subject}: {text}")

        yield tell


def steps(tell: Callable[[str, str], None]) -> Callable[[str, float], None]:
    """The progress `(what, share of the work)` of training, told as `tell(share, what)` once for each new step."""
    last = ""

    def step(what: str, share: float) -> None:
        nonlocal last
        if what != last:
            last = what
            tell(f"{share:.0%}", what)

    return step


def fail(sentence: str, code: int) -> NoReturn:
    """Print one sentence and leave with `code`."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(code)
