"""Counting in memory: by minute, type and rule; bounded."""

from __future__ import annotations

import pytest

from secguard import tally as tallying
from secguard.emit import get_tally
from secguard.logging import security_event_logger
from secguard.tally import Tally, TallyKey
from secguard.testing import ManualClock

pytestmark = pytest.mark.django_db


def test_events_of_a_minute_type_and_rule_are_one_number() -> None:
    clock = ManualClock(60_000)
    tally = Tally(clock)
    tally.add("login_failed")
    clock.advance(59)
    tally.add("login_failed", count=2)
    tally.add("suspicious_activity", "brute_force")
    clock.advance(1)
    tally.add("login_failed")
    assert tally.take() == {
        TallyKey(60_000, "login_failed"): 3,
        TallyKey(60_000, "suspicious_activity", "brute_force"): 1,
        TallyKey(60_060, "login_failed"): 1,
    }


def test_what_was_taken_away_is_gone() -> None:
    tally = Tally()
    tally.add("login_failed")
    tally.take()
    assert (len(tally), tally.take()) == (0, {})


def test_what_is_given_back_is_added_to_what_came_meanwhile() -> None:
    tally = Tally(ManualClock(60_000))
    tally.add("login_failed")
    taken = tally.take()
    tally.add("login_failed")
    tally.give_back(taken)
    assert tally.take() == {TallyKey(60_000, "login_failed"): 2}


def test_a_tally_that_nobody_takes_away_stays_bounded_and_says_what_it_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallying, "MAX_KEYS", 2)
    tally = Tally(ManualClock())
    for event_type in ("a", "b", "c", "a"):
        tally.add(event_type)
    assert (sorted(tally.take().values()), tally.lost) == ([1, 2], 1)


def counted(event_type: str) -> int:
    return sum(count for key, count in get_tally().take().items() if key.event_type == event_type)


def test_every_failed_login_is_counted() -> None:
    for _ in range(3):
        security_event_logger.log_login_failed(ip_address="203.0.113.7", username="anna")
    assert counted("login_failed") == 3


def test_denials_beyond_the_lines_are_counted_once_each() -> None:
    for _ in range(50):
        security_event_logger.log_permission_denied(ip_address="203.0.113.7", user_id=1)
    assert counted("permission_denied") == 50
