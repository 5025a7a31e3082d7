"""Notifications into the process's log; always on, so that nothing goes untold."""

from __future__ import annotations

import logging

from infra.settings import Settings
from remediation.notify import Channel, Notice

logger = logging.getLogger("aiops.remediation")


class LogChannel(Channel):
    @classmethod
    def configured(cls, settings: Settings) -> LogChannel:
        return cls()

    def send(self, notice: Notice) -> None:
        logger.warning("%s: %s", notice.incident, notice.text)
