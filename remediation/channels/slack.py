"""Notifications to a Slack channel, by its incoming webhook.

Any server that speaks Slack's protocol will do: the webhook's own host is asked, not Slack's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from infra.errors import SettingsError
from infra.settings import Settings
from remediation.notice import Notice
from remediation.notify import Channel, is_private

if TYPE_CHECKING:
    from apprise.plugins.slack import NotifySlack

_PATH = re.compile(r"/services/([A-Z0-9]+)/([A-Z0-9]+)/([A-Z0-9]+)/?", re.IGNORECASE)


class SlackChannel(Channel):
    key = "slack_webhook"

    def __init__(self, webhook: str, ui: str) -> None:
        """`webhook` is a secret. Raises SettingsError when it has not the form of one."""
        path = _PATH.fullmatch(urlsplit(webhook).path)
        if path is None or not is_private(webhook):
            raise SettingsError(
                f"aiops.notifications.{self.key} is not of the form https://hooks.slack.com/services/T.../B.../...; "
                "copy the address of an incoming webhook from Slack"
            )
        self.ui = ui
        self._service = _service(webhook[: webhook.index("/services/")], *path.groups())

    @classmethod
    def configured(cls, settings: Settings) -> SlackChannel | None:
        webhook = settings.notifications.slack_webhook
        return None if webhook is None else cls(webhook.get_secret_value(), settings.url("prefect"))

    def send(self, notice: Notice) -> None:
        from remediation.channels import _apprise

        # Slack gives <!channel> and <address|text> a meaning, and telemetry is no place to call people from
        title, body = (text.translate({60: "‹", 62: "›"}) for text in (notice.title, notice.body(self.ui)))
        _apprise.send(self._service, title, body)


def _service(host: str, *tokens: str) -> NotifySlack:
    """Apprise's Slack with another address than its own fixed one."""
    from apprise.plugins.slack import NotifySlack

    service = NotifySlack(
        token_a=tokens[0], token_b=tokens[1], token_c=tokens[2], include_image=False, include_footer=False
    )
    service.webhook_url = f"{host}/services"
    return service
