"""What projects get for their own tests."""

from __future__ import annotations

import logging

import pytest
from django.test import override_settings

from secguard.blocking.refusals import RefusalLog
from secguard.logging import SecurityEvent, security_logger
from secguard.signals import event_logged
from secguard.testing import ManualClock, capture_events


def test_events_inside_the_block_are_captured_in_order() -> None:
    SecurityEvent.log("data_access")
    with capture_events() as events:
        SecurityEvent.log("logout", username="anna")
        SecurityEvent.log("data_access", username="anna")
    SecurityEvent.log("data_access")
    assert events.types == ["logout", "data_access"]


def test_captured_events_can_be_asked_for_by_type() -> None:
    with capture_events() as events:
        SecurityEvent.log("logout", username="anna")
        SecurityEvent.log("data_access", username="anna")
    assert [event.context["username"] for event in events.of("logout")] == ["anna"]
    assert events.of("login_failed") == []


def test_events_are_captured_whatever_logging_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security_logger, "level", logging.CRITICAL + 1)
    security_logger.manager._clear_cache()
    with capture_events() as events:
        SecurityEvent.log("logout")
    monkeypatch.undo()
    security_logger.manager._clear_cache()
    assert events.types == ["logout"]


def test_captures_may_be_nested() -> None:
    with capture_events() as outer:
        SecurityEvent.log("logout")
        with capture_events() as inner:
            SecurityEvent.log("data_access")
    assert (outer.types, inner.types) == (["logout", "data_access"], ["data_access"])


def test_a_capture_ends_even_if_the_block_raises() -> None:
    before = list(event_logged.receivers)
    with pytest.raises(KeyError), capture_events():
        raise KeyError
    assert event_logged.receivers == before


@override_settings(SECGUARD={"MODE": "off"})
def test_when_off_there_is_nothing_to_capture() -> None:
    with capture_events() as events:
        SecurityEvent.log("logout")
    assert events == []


def test_a_manual_clock_stands_still_until_it_is_told_otherwise() -> None:
    clock = ManualClock(100.0)
    assert (clock(), clock()) == (100.0, 100.0)
    clock.advance(2.5)
    assert clock() == 102.5


def test_a_manual_clock_goes_wherever_a_clock_is_taken() -> None:
    clock = ManualClock()
    log = RefusalLog(clock=clock, interval=60)
    assert [log.note("blocked", "203.0.113.7")[1] for _ in range(3)] == [1, 0, 0]
    clock.advance(60)
    assert log.note("blocked", "203.0.113.7")[1] == 3
