"""The current password, asked for before a new one is set: a door for whoever has the session alone."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse

from secguard.logging import security_event_logger
from secguard.testing import CapturedEvents
from tests.end_to_end.entry import ADDRESS, RIGHT, WRONG, Visitor

NEW = "a brand new one"


def change(visitor: Visitor, current: str) -> HttpResponse:
    new = {"new_password1": NEW, "new_password2": NEW}
    return visitor.post("/accounts/change/", {"old_password": current, **new})


@pytest.fixture
def thief(visitor: Visitor, anna: User) -> Visitor:
    """Somebody with the session, and not the password."""
    visitor.force_login(anna)
    return visitor


def test_a_wrong_one_is_a_failed_login(thief: Visitor, events: CapturedEvents) -> None:
    assert change(thief, WRONG).status_code == 200
    (event,) = events.of("login_failed")
    assert (event.context["username"], event.context["reason"]) == ("anna", "wrong_current_password")
    assert event.context["failed_attempts_from_ip"] == 1


def test_the_sixth_guess_is_refused(thief: Visitor, anna: User) -> None:
    assert [change(thief, WRONG).status_code for _ in range(6)] == [200] * 5 + [403]
    assert change(thief, RIGHT).status_code == 403
    anna.refresh_from_db()
    assert anna.check_password(RIGHT)


def test_guesses_there_and_at_the_login_are_counted_together(thief: Visitor) -> None:
    for _ in range(3):
        change(thief, WRONG)
    assert thief.guess(3) == [200, 200, 403]


def test_a_right_one_forgives_the_typos_before_it(thief: Visitor, anna: User) -> None:
    for _ in range(3):
        change(thief, WRONG)
    assert change(thief, RIGHT).status_code == 302
    anna.refresh_from_db()
    assert anna.check_password(NEW)
    assert security_event_logger.get_failed_login_count(ADDRESS) == 0
