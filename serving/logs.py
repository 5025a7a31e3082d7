"""Logs as one JSON object a line: time, level, logger, event, the request's trace id, the event's own fields."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from serving.access import TRACE


class JsonLines(logging.Formatter):
    """A record as one line; whatever a client sent is escaped, so that it cannot forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if trace := TRACE.get():
            line["trace_id"] = trace
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line | getattr(record, "fields", {}), default=str)


def configure(level: str) -> None:
    """Send the logs of this process, libraries included, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every poll of the registry otherwise
