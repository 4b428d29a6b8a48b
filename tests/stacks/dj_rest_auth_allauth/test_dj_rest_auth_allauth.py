"""Logins and registrations over dj-rest-auth's own views, where allauth does the work."""

from __future__ import annotations

import pytest

from secguard.testing import CapturedEvents
from tests.stacks.browser import Answer, Browser
from tests.stacks.conftest import RIGHT, WRONG, Browse

pytestmark = pytest.mark.usefixtures("anna")


def log_in(browser: Browser, password: str = RIGHT, **who: str) -> Answer:
    return browser.send_json("/auth/login/", {**(who or {"username": "anna"}), "password": password})


def register(browser: Browser, username: str, password: str = "a good passphrase") -> Answer:
    data = {"username": username, "email": f"{username}@example.com", "password1": password, "password2": password}
    return browser.send_json("/auth/registration/", data)


@pytest.mark.parametrize("who", [{"username": "anna"}, {"email": "anna@example.com"}], ids=["name", "mail"])
def test_a_login_is_one_success(browse: Browse, events: CapturedEvents, who: dict[str, str]) -> None:
    assert log_in(browse(), **who).status == 200
    assert events.types == ["login_success"]


@pytest.mark.parametrize("who", [{"username": "anna"}, {"email": "nobody@example.com"}], ids=["name", "unknown-mail"])
def test_a_wrong_password_is_one_failure(browse: Browse, events: CapturedEvents, who: dict[str, str]) -> None:
    assert [log_in(browse(), WRONG, **who).status for _ in range(6)] == [400] * 5 + [403]
    assert events.types.count("login_failed") == 5


def test_a_registration_is_one_new_user(browse: Browse, events: CapturedEvents) -> None:
    assert register(browse(), "carl").status in (201, 204)
    assert events.types.count("user_created") == 1
    assert "signup_rejected" not in events.types


def test_a_registration_of_a_name_that_is_taken_is_a_probe(browse: Browse, events: CapturedEvents) -> None:
    assert register(browse(), "anna").status == 400
    (rejected,) = events
    assert (rejected.type, rejected.context["username"]) == ("signup_rejected", "anna")


def test_many_of_them_are_an_enumeration(browse: Browse, events: CapturedEvents) -> None:
    statuses = [register(browse(), f"user{number}", "1").status for number in range(21)]
    assert statuses == [400] * 20 + [403]
    assert [event.context["rule"] for event in events.of("suspicious_activity")] == ["account_enumeration"]
