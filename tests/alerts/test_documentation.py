"""docs/alerts.md: the receiver's code works, and the tables say what the code does."""

from __future__ import annotations

import ast
import json
import time
from collections.abc import Callable

import pytest

from secguard.alert_options import _FIELDS, _PARTS, FORMS, TRIGGERS, AlertOptions, parse_alerts
from secguard.alerts.channels import channels_of
from secguard.alerts.forms import body_of
from secguard.alerts.messages import MAX_LISTED, Message, alert_of
from secguard.alerts.outbox import DELAYS
from secguard.alerts.worker import EXIT_SECONDS, MAX_QUEUED
from tests.alerts.events import threat
from tests.alerts.servers import Posted, Receiver
from tests.test_docs import block_with, code, page, run_block, table

PAGE = page("docs/alerts.md")
SECRET = "a secret of the receiver's"

Genuine = Callable[..., bool]


@pytest.fixture
def posted(receiver: Receiver) -> Posted:
    (channel,) = channels_of(parse_alerts({"webhooks": [{"url": receiver.url, "secret": SECRET}]}))
    channel.send(Message("test", "shop"))
    return receiver.posts[0]


@pytest.fixture
def is_genuine() -> Genuine:
    found: Genuine = run_block(block_with("alerts.md", "def is_genuine"))["is_genuine"]
    return found


def test_the_receivers_code_knows_what_is_ours(posted: Posted, is_genuine: Genuine) -> None:
    assert is_genuine(posted.headers, posted.body, SECRET.encode())


def test_the_receivers_code_knows_what_is_not(posted: Posted, is_genuine: Genuine) -> None:
    secret, headers = SECRET.encode(), posted.headers
    later = str(int(headers["X-Secguard-Timestamp"]) + 1)
    assert not is_genuine(headers, posted.body + b" ", secret)
    assert not is_genuine(headers, posted.body, b"another secret, as long")
    assert not is_genuine({**headers, "X-Secguard-Timestamp": later}, posted.body, secret)
    assert not is_genuine({**headers, "X-Secguard-Signature": "sha256=é"}, posted.body, secret)
    assert not is_genuine({}, posted.body, secret)


def test_the_receivers_code_knows_what_is_replayed(posted: Posted, is_genuine: Genuine) -> None:
    assert is_genuine(posted.headers, posted.body, SECRET.encode(), lambda: time.time() + 290)
    assert not is_genuine(posted.headers, posted.body, SECRET.encode(), lambda: time.time() + 302)


def test_the_json_on_the_page_is_that_of_the_code() -> None:
    shown = json.loads(block_with("alerts.md", '"sent_at"').code)
    message = Message("alert", "shop", [alert_of(TRIGGERS["critical"], threat(), 0.0)])
    sent = json.loads(body_of(message, "json"))
    assert list(shown) == list(sent)
    assert list(shown["alerts"][0]) == list(sent["alerts"][0])
    assert {key: type(value) for key, value in shown.items()} == {key: type(value) for key, value in sent.items()}


def test_the_triggers_on_the_page_are_those_of_the_code() -> None:
    rows = table(PAGE, "trigger", "counts", "threshold", "within", "an alert for each")
    assert [code(row["trigger"]) for row in rows] == list(TRIGGERS)
    for row, trigger in zip(rows, TRIGGERS.values(), strict=True):
        assert row["threshold"] == str(trigger.threshold)
        assert row["within"] == (f"{trigger.window / 60:g} min" if trigger.threshold > 1 else "")
    assert all(f"`{field}`" in PAGE for field in _FIELDS)


def test_the_keys_on_the_page_of_settings_are_those_of_the_code() -> None:
    rows = table(page("docs/settings.md"), "key of `ALERTS`", "default", "takes", "meaning")
    documented = {code(row["key of `ALERTS`"]): code(row["default"]) for row in rows}
    assert list(documented) == list(_PARTS)
    for name in documented.keys() - {"triggers", "site"}:
        assert ast.literal_eval(documented[name]) == getattr(AlertOptions(), name)


def test_the_forms_on_the_page_are_those_of_the_code() -> None:
    assert [code(row["form"]) for row in table(PAGE, "form", "for")] == list(FORMS)


def test_the_figures_on_the_page_are_those_of_the_code() -> None:
    assert f"at most {MAX_LISTED} alerts" in PAGE
    assert [delay / 60 for delay in DELAYS[1:]] == [1, 5, 15]
    assert DELAYS[0] == 10
    assert "after ten seconds, one, five and fifteen minutes" in PAGE
    assert (EXIT_SECONDS, "within five seconds" in PAGE) == (5, True)
    assert (MAX_QUEUED, "of a thousand events at most" in PAGE) == (1_000, True)
