"""``manage.py secguard selftest --alerts``: every channel is sent a test, and none of their secrets is printed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail
from django.core.management.base import CommandError
from django.test import override_settings

from tests.alerts.servers import Receiver
from tests.command.running import as_json, exit_code, rows_of, secguard


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def alerts_to(receiver: Receiver, **alerts: Any) -> override_settings:
    hook = {"url": receiver.url, "secret": "0123456789abcdef", "name": "siem"}
    return override_settings(SECGUARD={"ALERTS": {"mail": ["soc@example.com"], "webhooks": [hook], **alerts}})


def test_every_channel_is_sent_a_test(receiver: Receiver) -> None:
    with alerts_to(receiver, site="shop"):
        code, written = exit_code("selftest", "--alerts")
    assert (code, rows_of(written, "channel")) == (
        0,
        [{"channel": "mail", "result": "sent"}, {"channel": "siem", "result": "sent"}],
    )
    assert receiver.posts[0].told["kind"] == "test"
    assert mail.outbox[0].subject.endswith("shop: a test, nothing happened")


def test_a_channel_that_fails_is_named_with_the_cause_and_without_secrets(receiver: Receiver) -> None:
    receiver.answers = [403]
    with alerts_to(receiver):
        code, written = exit_code("selftest", "--alerts")
    assert code == 5
    assert {row["channel"]: row["result"] for row in rows_of(written, "channel")} == {
        "mail": "sent",
        "siem": "failed: it answered 403",
    }
    assert not any(secret in written for secret in ("s3cret", "0123456789abcdef"))


def test_programs_read_what_became_of_each(receiver: Receiver) -> None:
    receiver.answers = [500]
    with alerts_to(receiver):
        told = as_json("selftest", "--alerts")
    assert told == {
        "works": False,
        "channels": [
            {"name": "mail", "works": True, "error": ""},
            {"name": "siem", "works": False, "error": "it answered 500"},
        ],
    }


def test_triggers_that_are_switched_off_keep_no_test_from_being_sent(receiver: Receiver) -> None:
    off = dict.fromkeys(("critical", "locks", "suspicious"), False)
    with alerts_to(receiver, triggers=off):
        assert exit_code("selftest", "--alerts")[0] == 0


def test_where_nobody_is_named_that_is_an_error() -> None:
    with pytest.raises(CommandError, match="names nobody"):
        secguard("selftest", "--alerts")
