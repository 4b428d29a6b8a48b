"""Logins, logouts and password resets over dj-rest-auth's own views."""

from __future__ import annotations

import re
from typing import Any

import pytest
from dj_rest_auth.app_settings import api_settings
from django.core import mail

from secguard.logging import security_event_logger
from secguard.testing import CapturedEvents
from tests.stacks.browser import Answer, Browser
from tests.stacks.conftest import ADDRESS, RIGHT, WRONG, Browse

pytestmark = pytest.mark.usefixtures("anna")


def log_in(browser: Browser, password: str = RIGHT, **who: str) -> Answer:
    return browser.send_json("/auth/login/", {**(who or {"username": "anna"}), "password": password})


def failures() -> int:
    return security_event_logger.get_failed_login_count(ADDRESS)


@pytest.mark.parametrize("session_login", [True, False])
@pytest.mark.parametrize("who", [{"username": "anna"}, {"email": "anna@example.com"}], ids=["name", "mail"])
def test_a_login_is_one_success(
    browse: Browse, settings: Any, events: CapturedEvents, who: dict[str, str], session_login: bool
) -> None:
    settings.REST_AUTH = {**settings.REST_AUTH, "SESSION_LOGIN": session_login}
    try:
        assert log_in(browse(), **who).status == 200
    finally:
        api_settings.reload()
    (success,) = events
    assert (success.type, success.context["username"]) == ("login_success", "anna")


@pytest.mark.parametrize(
    "who",
    [{"username": "anna"}, {"email": "anna@example.com"}, {"username": "nobody"}, {"email": "nobody@example.com"}],
    ids=["name", "mail", "unknown-name", "unknown-mail"],
)
class TestAWrongPassword:
    def test_is_one_failure_whoever_it_is_for(
        self, browse: Browse, events: CapturedEvents, who: dict[str, str]
    ) -> None:
        assert log_in(browse(), WRONG, **who).status == 400
        assert events.types == ["login_failed"]
        assert failures() == 1

    def test_is_answered_alike_whoever_it_is_for(self, browse: Browse, who: dict[str, str]) -> None:
        answers = [log_in(browse(), WRONG, **each) for each in (who, {"username": "somebody"})]
        assert len({(answer.status, answer.text) for answer in answers}) == 1

    def test_is_refused_at_the_limit(self, browse: Browse, events: CapturedEvents, who: dict[str, str]) -> None:
        answers = [log_in(browse(), WRONG, **who) for _ in range(6)]
        assert [answer.status for answer in answers] == [400] * 5 + [403]
        assert events.types.count("login_failed") == 5


def test_an_attempt_for_an_unknown_mail_is_refused_by_its_reservation(
    browse: Browse, settings: Any, events: CapturedEvents
) -> None:
    settings.SECGUARD = {**settings.SECGUARD, "RULES": {"brute_force": {"action": "refuse"}}}
    answers = [log_in(browse(), WRONG, email="nobody@example.com") for _ in range(7)]
    assert [answer.status for answer in answers] == [400] * 5 + [403] * 2
    assert answers[-1].json()["detail"] == "This request was refused."
    assert events.types.count("login_failed") == 5
    assert "attempt_refused" in events.types


def test_a_logout_is_an_event(browse: Browse, events: CapturedEvents) -> None:
    anna = browse()
    token = log_in(anna).json()["key"]
    csrf = anna.cookies["csrftoken"]
    answer = anna.send_json("/auth/logout/", Authorization=f"Token {token}", **{"X-CSRFToken": csrf})
    assert answer.status == 200
    assert events.types == ["login_success", "logout"]


def test_password_resets_for_many_are_an_enumeration(browse: Browse, events: CapturedEvents) -> None:
    statuses = [
        browse().send_json("/auth/password/reset/", {"email": f"user{number}@example.com"}).status
        for number in range(21)
    ]
    assert statuses == [200] * 20 + [403]
    assert [event.context["rule"] for event in events.of("suspicious_activity")] == ["account_enumeration"]


def test_a_reset_password_is_one_change(browse: Browse, events: CapturedEvents) -> None:
    browse().send_json("/auth/password/reset/", {"email": "anna@example.com"})
    found = re.search(r"/reset/([^/]+)/([^/]+)/", str(mail.outbox[-1].body))
    assert found is not None
    data = {
        "uid": found[1],
        "token": found[2],
        "new_password1": "a new passphrase",
        "new_password2": "a new passphrase",
    }
    assert browse().send_json("/auth/password/reset/confirm/", data).status == 200
    assert events.types == ["password_reset_requested", "password_changed"]
    assert events[-1].context["reason"] == "password_reset"


@pytest.mark.parametrize(("current", "status", "left"), [(WRONG, 400, 2), (RIGHT, 200, 0)])
def test_a_current_password_is_a_guess_like_any_other(
    browse: Browse, monkeypatch: pytest.MonkeyPatch, current: str, status: int, left: int
) -> None:
    monkeypatch.setattr(api_settings, "OLD_PASSWORD_FIELD_ENABLED", True)
    new = {"new_password1": "a brand new one", "new_password2": "a brand new one"}
    log_in(anna := browse())
    for given in (WRONG, current):
        data = {"old_password": given, **new}
        answer = anna.send_json("/auth/password/change/", data, **{"X-CSRFToken": anna.cookies["csrftoken"]})
    assert (answer.status, failures()) == (status, left)
