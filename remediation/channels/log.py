"""Notifications into the process's log; always on, so that nothing goes untold."""

from __future__ import annotations

import logging

from infra.settings import Settings
from remediation.notice import Notice
from remediation.notify import Channel

logger = logging.getLogger("aiops.remediation")


class LogChannel(Channel):
    def __init__(self, ui: str) -> None:
        self.ui = ui

    @classmethod
    def configured(cls, settings: Settings) -> LogChannel:
        return cls(settings.url("prefect"))

    def send(self, notice: Notice) -> None:
        said = "; ".join(f"{label.lower()}: {text}" for label, text in notice.lines(self.ui).items())
        logger.warning("%s (%s)", notice.title, " ".join(said.split()))
