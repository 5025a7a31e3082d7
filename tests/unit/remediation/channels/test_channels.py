"""The channels against receivers that speak the true protocols: what arrives, what a refusal leads to, what leaks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from infra.errors import SettingsError
from infra.settings import Notifications, Settings
from remediation.channels.email import EmailChannel
from remediation.channels.pagerduty import PagerDutyChannel
from remediation.channels.slack import SlackChannel
from remediation.kernel.store import audit, outbox
from remediation.notice import Notice
from remediation.notify import Undelivered, channels, silent
from remediation.records import Incident, State
from remediation.testing import JumpingClock, World, fake_engine, limits
from tests.unit.remediation.receivers import KEY, TOKENS, Mailbox, Receiver, mailbox, receiver

UI = "http://127.0.0.1:4200"
SECRETS = (KEY, TOKENS, TOKENS.rsplit("/", 1)[1])


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def post() -> Iterator[tuple[Mailbox, str]]:
    with mailbox() as running:
        yield running


def slack(server: Receiver) -> SlackChannel:
    return SlackChannel(f"{server.url}/services/{TOKENS}", UI)


def pagerduty(server: Receiver) -> PagerDutyChannel:
    return PagerDutyChannel(KEY, server.url, UI)


def notice(**changed: Any) -> Notice:
    known = {"id": "notice-1", "incident": "incident-1", "service": "web", "instance": "web-0", "event": "paused"}
    return Notice(**{**known, "text": "paused, a human is needed", "plan": ("flip on web-0",), **changed})


def asked_and_approved(tmp_path: Path, world: World, ways: list[Any]) -> tuple[Incident, str]:
    engine = fake_engine(tmp_path, world, limits(actions={"flip": False}), ways=ways)
    world.write("web-0", healthy=False)
    incident = engine.handle(world.detection("web-0"))
    for _ in range(20):  # a storm says nothing new
        engine.handle(world.detection("web-0"))
    assert incident.approval is not None
    engine.approve(incident.approval.id, by="alice")
    return incident, incident.approval.id


def test_slack_gets_one_message_a_change_with_the_way_to_answer(tmp_path: Path, world: World, server: Receiver) -> None:
    incident, approval = asked_and_approved(tmp_path, world, [slack(server)])
    asked, solved = (str(body) for body in server.to("/services/"))
    for text in (incident.id, "flip on web-0", "becomes healthy", "flip treats", f"aiops approve {approval}", UI):
        assert text in asked, text
    assert "resolved: flip on web-0 helped" in solved and "aiops approve" not in solved


def test_telemetry_cannot_call_people_in_slack(server: Receiver) -> None:
    slack(server).send(notice(text="<!channel> look <http://evil|here>"))
    assert "<" not in str(server.to("/services/"))


def test_pagerduty_has_one_alert_an_incident_and_resolves_it(tmp_path: Path, world: World, server: Receiver) -> None:
    incident, approval = asked_and_approved(tmp_path, world, [pagerduty(server)])
    asked, solved = server.to("/v2/enqueue")
    assert asked["dedup_key"] == solved["dedup_key"] == incident.id
    assert (asked["event_action"], solved["event_action"]) == ("trigger", "resolve")
    assert asked["payload"]["custom_details"]["Approve"] == f"aiops approve {approval}"


def test_email_reaches_every_recipient(tmp_path: Path, world: World, post: tuple[Mailbox, str]) -> None:
    box, address = post
    way = EmailChannel("ops@company.com, night@company.com", "aiops@company.com", address, UI)
    _, approval = asked_and_approved(tmp_path, world, [way])
    assert {to for rcpt, _ in box.mails for to in rcpt} == {"ops@company.com", "night@company.com"}
    _, mail = box.mails[0]
    assert mail["Subject"] == "web/web-0: flip on web-0 needs approval" and mail["From"] == "aiops@company.com"
    assert f"aiops approve {approval}" in mail.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert mail["X-Notice"].startswith("notice-")


def test_a_title_of_several_lines_stays_a_title(post: tuple[Mailbox, str]) -> None:
    box, address = post
    EmailChannel("ops@company.com", "aiops@company.com", address, UI).send(notice(text="x\r\nBcc: evil@example.org"))
    (((rcpt, mail)),) = box.mails
    assert rcpt == ["ops@company.com"] and "Bcc" not in mail and "Bcc" in mail["Subject"]


@pytest.mark.parametrize("status", [429, 500])
def test_a_refusal_is_an_error_that_says_why(server: Receiver, status: int) -> None:
    for way in (slack(server), pagerduty(server)):
        server.refuse = [status]
        with pytest.raises(Undelivered, match=str(status)):
            way.send(notice())
    assert server.taken == []


def test_a_receiver_that_is_away_is_an_error(server: Receiver, post: tuple[Mailbox, str]) -> None:
    box, address = post
    box.full = True
    dead = "127.0.0.1:9"
    for way in (
        SlackChannel(f"http://{dead}/services/{TOKENS}", UI),
        PagerDutyChannel(KEY, f"http://{dead}", UI),
        EmailChannel("ops@company.com", "aiops@company.com", f"smtp://{dead}", UI),
        EmailChannel("ops@company.com", "aiops@company.com", address, UI),
        PagerDutyChannel("f" * 32, server.url, UI),
    ):
        with pytest.raises(Undelivered):
            way.send(notice())


def test_secrets_reach_no_log_no_error_and_no_trail(
    tmp_path: Path, world: World, clock: JumpingClock, server: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ways = [slack(server), pagerduty(server)]
    server.refuse = [500, 429, 500, 429]
    engine = fake_engine(tmp_path, world, ways=ways)  # type: ignore[arg-type]
    world.write("web-0", healthy=False)
    assert engine.handle(world.detection("web-0")).state is State.RESOLVED
    for _ in range(4):
        clock.advance(60)
        engine.tell()
    with pytest.raises(Undelivered) as dead:
        SlackChannel(f"http://127.0.0.1:9/services/{TOKENS}", UI).send(notice())
    assert server.to("/services/") and server.to("/v2/")
    with engine.kernel.core.store.read() as conn:
        kept = str([conn.execute(select(table)).all() for table in (audit, outbox)])
    for secret in SECRETS:
        assert secret not in caplog.text + kept + repr(ways) + repr(dead.value)
    assert "did not take" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"slack_webhook": "https://hooks.slack.com/nowhere/SECRET"}, "slack_webhook is not of the form"),
        ({"slack_webhook": f"http://example.org/services/{TOKENS}"}, "slack_webhook is not of the form"),
        ({"pagerduty_key": KEY, "pagerduty_url": "http://example.org"}, "no https address"),
        ({"email_recipients": "ops"}, "'ops' is no e-mail address"),
        ({"email_recipients": "aiops@company.com", "smtp_url": "ftp://SECRET@x"}, "smtp_url is no host:port"),
        ({"email_recipients": "aiops@company.com", "smtp_url": "smtp://u:SECRET@example.org"}, "in the clear"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(wrong: dict[str, str], told: str, tmp_path: Path) -> None:
    config = Settings(home=tmp_path, notifications=Notifications.model_validate(wrong))
    with pytest.raises(SettingsError, match=told) as error:
        channels(config)
    assert "SECRET" not in str(error.value) and TOKENS not in str(error.value) and KEY not in str(error.value)


def test_each_key_switches_its_channel_on(tmp_path: Path) -> None:
    keys = {"pagerduty": "pagerduty_key", "slack": "slack_webhook", "email": "email_recipients"}
    none = Settings(home=tmp_path, notifications=Notifications())
    assert [way.name for way in channels(none)] == ["log"] and silent(none) == keys
    values = {"pagerduty_key": KEY, "slack_webhook": f"https://hooks.slack.com/services/{TOKENS}"}
    every = Settings(home=tmp_path, notifications=Notifications(email_recipients="ops@company.com", **values))
    assert {way.name for way in channels(every)} == {"log", *keys} and silent(every) == {}
