"""Two people whose names count as one: what one of them gets right forgives no guesses at the other."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from secguard.logging import security_event_logger
from tests.end_to_end.conftest import Visit
from tests.end_to_end.entry import ADDRESS, RIGHT, WRONG, Visitor
from tests.end_to_end.test_doors import basic

pytestmark = pytest.mark.usefixtures("anna")

MAIL = "anna@example.com"
NAME_OR_MAIL = [
    "secguard.backends.SecurityGuardBackend",
    "tests.end_to_end.backends.NameOrMailBackend",
]


def guesses_that_were_checked(visitor: Visitor, checked: list[object], at: str, own: str) -> int:
    """Rounds of three guesses at one name and a right login under another, until nobody is let try any more."""
    checked.clear()
    for _ in range(6):
        visitor.guess(3, username=at)
        visitor.log_in(own)
    return checked.count(at)


@pytest.fixture
def twin(transactional_db: None) -> User:
    """Django's own user names differ by case, and so may a sign-up form of a project's own."""
    return User.objects.create_user("ANNA", "mallory@example.com", RIGHT)


@pytest.mark.usefixtures("twin")
def test_a_name_that_differs_by_case_forgives_nothing(visitor: Visitor, checked: list[object]) -> None:
    assert guesses_that_were_checked(visitor, checked, "anna", "ANNA") == 5


@pytest.mark.usefixtures("twin")
def test_a_login_by_mail_address_is_no_way_around_that(visitor: Visitor, checked: list[object], settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = NAME_OR_MAIL
    visitor.log_in("mallory@example.com")
    assert guesses_that_were_checked(visitor, checked, "anna", "mallory@example.com") == 5


def test_a_user_name_that_is_anothers_mail_address_forgives_nothing(
    visitor: Visitor, checked: list[object], settings: Any
) -> None:
    settings.AUTHENTICATION_BACKENDS = NAME_OR_MAIL
    User.objects.create_user(MAIL, "mallory@example.com", "own " + RIGHT)
    for _ in range(6):
        visitor.guess(3, username=MAIL)
        visitor.log_in(MAIL, "own " + RIGHT)
    assert checked.count(MAIL) == 5 + 1  # and one login, before the guesses were too many


def test_a_mail_address_that_is_anothers_too_forgives_nothing(
    visitor: Visitor, checked: list[object], settings: Any
) -> None:
    settings.AUTHENTICATION_BACKENDS = NAME_OR_MAIL
    User.objects.create_user("mallory", MAIL, "own " + RIGHT)
    for _ in range(6):
        visitor.guess(3, username=MAIL)
        visitor.log_in(MAIL, "own " + RIGHT)
    assert checked.count(MAIL) == 5 + 1


def test_nor_does_it_in_one_request(visitor: Visitor) -> None:
    User.objects.create_user("mallory", MAIL, RIGHT)
    data = {"email": MAIL, "username": "mallory", "password": RIGHT}
    for _ in range(4):  # the first guess of each is at anna, the second is right
        visitor.post("log_in_by_mail_or_name/", data)
    assert security_event_logger.get_failed_login_count(ADDRESS) == 4


def test_without_a_guarded_backend_neither(visitor: Visitor, settings: Any, checked: list[object]) -> None:
    settings.AUTHENTICATION_BACKENDS = ["tests.end_to_end.backends.CountingBackend"]
    User.objects.create_user("ANNA", "", RIGHT)
    assert guesses_that_were_checked(visitor, checked, "anna", "ANNA") == 5


def test_who_shares_no_name_is_forgiven_his_typos(visit: Visit, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = NAME_OR_MAIL
    User.objects.create_user("annabel", "annabel@example.com", RIGHT)
    for name in ("anna", MAIL, "anna"):
        visit().log_in(name, WRONG)
        visit().log_in(name)
    assert security_event_logger.get_failed_login_count(ADDRESS) == 0


@pytest.mark.usefixtures("twin")
@pytest.mark.parametrize("backend", ["secguard.backends.SecurityGuardBackend", "secguard.backends.GuardedModelBackend"])
def test_http_basic_is_no_way_around_that(visitor: Visitor, checked: list[object], settings: Any, backend: str) -> None:
    settings.AUTHENTICATION_BACKENDS = [backend, "tests.end_to_end.backends.CountingBackend"]
    for _ in range(6):
        for _ in range(3):
            visitor.get("basic/", **basic("anna", WRONG))
        visitor.get("basic/", **basic("ANNA", RIGHT))
    assert security_event_logger.get_failed_login_count(ADDRESS) == 5
