"""What the channels that go through Apprise share: one send, its reason when it fails, and silence about secrets."""

from __future__ import annotations

import logging
import threading

from apprise.plugins import NotifyBase

from remediation.notify import Undelivered

# below warnings Apprise writes whole addresses, tokens included, and urllib3 their paths: no log of ours may have them
_talk = logging.getLogger("apprise")
_talk.propagate = False  # its warnings become the text of Undelivered
for name in ("apprise", "urllib3"):
    logging.getLogger(name).setLevel(logging.WARNING)


class _Heard(logging.Handler):
    """The warnings of this thread: another channel may be at work beside it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.lines.append(record.getMessage())


def send(service: NotifyBase, title: str, body: str) -> None:
    """Deliver through a service of Apprise, which only answers yes or no. Raises Undelivered with what it said."""
    heard = _Heard()
    _talk.addHandler(heard)
    try:
        done = service.notify(body=body, title=title)
    finally:
        _talk.removeHandler(heard)
    if not done:
        raise Undelivered("; ".join(heard.lines) or "it was not sent, and Apprise gives no reason")
