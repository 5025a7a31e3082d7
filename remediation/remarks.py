"""What the settings ask for and do not get, in sentences: said at the start and by `aiops status`."""

from __future__ import annotations

from infra import plugins
from infra.settings import Settings
from remediation import notify, vocabulary
from remediation.action import ACTIONS


def remarks(settings: Settings) -> list[str]:
    """One sentence for the channels that are off, and one for the actions without a file.

    Raises SettingsError for a wrong value of either.
    """
    found = []
    if off := notify.silent(settings):
        keys = ", ".join(f"{name} ({key})" for name, key in off.items())
        found.append(f"Notifications are off, for want of their key in `notifications`: {keys}.")
    if missing := vocabulary.missing(settings.remediation, plugins.names(ACTIONS)):
        found.append(f"Actions that are not installed, and so are never taken: {', '.join(missing)}.")
    return found
