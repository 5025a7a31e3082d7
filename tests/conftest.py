"""What all tests share: one thread a process, as the program runs (see `infra.parts.environment`)."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch
