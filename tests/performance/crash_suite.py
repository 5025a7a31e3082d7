"""The crash suite over the kernel: `python -m tests.performance.crash_suite [--histories N] [--first SEED]`.

Plays seeded histories of `tests.crash_lab` and prints what went wrong, with its seed, and what was covered; ends with 1
where anything did. `--minutes` ends it earlier, with what was played until then.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.crash_lab import History

EVERY = 20.0  # seconds between two lines of progress


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    options = parser.parse_args()
    memory = Path("/dev/shm")
    begin = said = time.monotonic()
    totals: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    for seed in range(options.first, options.first + options.histories):
        if time.monotonic() - begin > options.minutes * 60:
            break
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            history = History(Path(folder), seed)
            problems = history.run()
        for problem in problems:
            print(f"seed {seed}: {problem}", flush=True)
        begun, done = len(history.oracle.started), len(history.oracle.effects)
        totals.update(histories=1, problems=len(problems), begun=begun, effects=done)
        passed, killed = passed + history.passed, killed + history.killed
        if time.monotonic() - said > EVERY:
            said = time.monotonic()
            rate = totals["histories"] / (said - begin)
            print(f"{totals['histories']} of {options.histories}, {rate:.1f} a second", file=sys.stderr, flush=True)
    figures = {
        **totals,
        "boundaries": passed.total(),
        "kills": killed.total(),
        "never_killed_at": sorted(passed.keys() - killed.keys()),
        "seconds": round(time.monotonic() - begin, 1),
    }
    print(json.dumps(figures, indent=1))
    return 1 if totals["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
