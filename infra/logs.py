"""Where an unexpected error is written down in full, so that the user sees one sentence and the traceback is kept."""

from __future__ import annotations

import logging
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

from infra.errors import UserError
from infra.settings import ROOT, settings


def record_crash(error: BaseException) -> Path:
    """Append `error` with its traceback to `<home>/logs/aiops.log` (5 MB, one older file kept); return that file."""
    file = _home() / "logs" / "aiops.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(file, maxBytes=5_000_000, backupCount=1)
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    trace = (type(error), error, error.__traceback__)
    handler.emit(logging.LogRecord("aiops", logging.ERROR, "", 0, "aiops %s", (" ".join(sys.argv[1:]),), trace))
    handler.close()
    return file


def _home() -> Path:
    try:
        return settings().home
    except UserError:  # the settings are what is broken
        return ROOT / ".aiops"
