"""Notifications by e-mail, through the SMTP server of `notifications.smtp_url`."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from infra.errors import SettingsError
from infra.settings import Settings
from remediation.notice import Notice
from remediation.notify import Channel

MODES = {"smtp": ("insecure", 25), "smtp+starttls": ("starttls", 587), "smtps": ("ssl", 465)}


class EmailChannel(Channel):
    key = "email_recipients"

    def __init__(self, recipients: str, sender: str, server: str, ui: str) -> None:
        """`server` may hold a password. Raises SettingsError for a wrong address or server."""
        from apprise.utils.parse import is_email

        self.recipients = [one.strip() for one in recipients.split(",") if one.strip()]
        for address in (*self.recipients, sender):
            if not is_email(address):  # it would be left out in silence
                raise SettingsError(f"aiops.notifications: {address!r} is no e-mail address; separate them by commas")
        self.sender, self.ui, self._server = sender, ui, urlsplit(server)
        if self._server.scheme not in MODES or not self._server.hostname:
            choices = ", ".join(f"{scheme}://" for scheme in MODES)
            raise SettingsError(f"aiops.notifications.smtp_url is no host:port behind one of: {choices}")
        if self._server.password and self._server.scheme == "smtp" and self._server.hostname != "127.0.0.1":
            raise SettingsError("aiops.notifications.smtp_url would send a password in the clear; use smtps://")

    @classmethod
    def configured(cls, settings: Settings) -> EmailChannel | None:
        told = settings.notifications
        if told.email_recipients is None:
            return None
        return cls(told.email_recipients, told.email_sender, told.smtp_url.get_secret_value(), settings.url("prefect"))

    def send(self, notice: Notice) -> None:
        from apprise.plugins.email import NotifyEmail

        from remediation.channels import _apprise

        mode, port = MODES[self._server.scheme]
        service = NotifyEmail(
            host=self._server.hostname,
            smtp_host=self._server.hostname,
            port=self._server.port or port,
            user=unquote(self._server.username or ""),
            password=unquote(self._server.password or ""),
            secure_mode=mode,
            from_addr=self.sender,
            targets=self.recipients,
            # a repetition has the same id, and all about one incident can be filtered together
            headers={"X-Notice": notice.id, "X-Incident": notice.incident},
            format="text",
        )
        _apprise.send(service, notice.title, notice.body(self.ui))
