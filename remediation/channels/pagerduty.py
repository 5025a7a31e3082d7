"""Alerts in PagerDuty, one an incident: what happens triggers it, and the incident's end resolves it.

By httpx and not by Apprise, which sends neither `dedup_key` nor `resolve` (each message would be an alert of its own
that somebody has to close) and knows no other address than PagerDuty's. Protocol: Events API v2.
"""

from __future__ import annotations

from typing import Any

import httpx

from infra.errors import SettingsError
from infra.settings import Settings
from remediation.notice import Notice
from remediation.notify import Channel, Undelivered, is_private

TIMEOUT = 15.0  # seconds
_LONGEST = 1024  # characters of a summary


class PagerDutyChannel(Channel):
    key = "pagerduty_key"

    def __init__(self, key: str, url: str, ui: str) -> None:
        """`key` is the secret integration key. Raises SettingsError for an address that would send it in the clear."""
        if not is_private(url):
            raise SettingsError(f"aiops.notifications.pagerduty_url: {url!r} is no https address")
        self._key, self._url, self.ui = key, f"{url.rstrip('/')}/v2/enqueue", ui

    @classmethod
    def configured(cls, settings: Settings) -> PagerDutyChannel | None:
        told = settings.notifications
        if told.pagerduty_key is None:
            return None
        return cls(told.pagerduty_key.get_secret_value(), told.pagerduty_url, settings.url("prefect"))

    def send(self, notice: Notice) -> None:
        try:
            answer = httpx.post(self._url, json=self._event(notice), timeout=TIMEOUT)
        except httpx.HTTPError as error:
            raise Undelivered(f"PagerDuty cannot be reached: {type(error).__name__}") from None
        if answer.status_code != httpx.codes.ACCEPTED:
            said = answer.text[:200].replace(self._key, "…")
            raise Undelivered(f"PagerDuty answers {answer.status_code}: {' '.join(said.split())}")

    def _event(self, notice: Notice) -> dict[str, Any]:
        event = {"routing_key": self._key, "dedup_key": notice.incident}
        if notice.over:
            return {**event, "event_action": "resolve"}
        payload = {
            "summary": notice.title[:_LONGEST],
            "source": notice.instance,
            "component": notice.service,
            "severity": "warning" if notice.approval else "critical",
            "class": notice.event.partition(":")[0],
            "custom_details": notice.lines(self.ui),
        }
        return {**event, "event_action": "trigger", "client": "aiops", "client_url": self.ui, "payload": payload}
