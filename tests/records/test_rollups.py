"""How often everything happened, by the minute and the hour, from many processes."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from secguard import emit
from secguard.events import EventType
from secguard.logging import security_event_logger
from secguard.models import EventCount
from secguard.records import get_rollups, rollups
from secguard.records.rollups import INTERVAL, Rollups
from secguard.tally import Tally, TallyKey
from secguard.testing import ManualClock
from tests.records.rows import HOST, fail, in_transaction

#: 2026-11-30 12:34:00 UTC
NOON = datetime(2026, 11, 30, 12, 34, tzinfo=timezone.utc)
AT = int(NOON.timestamp())


@pytest.fixture
def counting(clock: ManualClock) -> Rollups:
    get_rollups.value = Rollups(clock)
    emit.get_tally.value = Tally(lambda: AT)
    return get_rollups()


def kept() -> dict[tuple[int, datetime, str, str], int]:
    rows = EventCount.objects.values_list("span", "start", "event_type", "rule", "count")
    return {(span, start, event_type, rule): count for span, start, event_type, rule, count in rows}


@in_transaction
def test_numbers_are_kept_for_the_minute_and_for_the_hour(counting: Rollups) -> None:
    emit.get_tally().add("login_failed", count=3)
    counting.flush()
    assert kept() == {
        (60, NOON, "login_failed", ""): 3,
        (3600, NOON.replace(minute=0), "login_failed", ""): 3,
    }


@in_transaction
def test_the_minutes_of_an_hour_add_up(counting: Rollups) -> None:
    rollups.add({TallyKey(AT, "logout"): 2, TallyKey(AT + 60, "logout"): 3})
    assert EventCount.objects.get(span=3600).count == 5
    assert EventCount.objects.filter(span=60).count() == 2


@in_transaction
def test_several_processes_add_to_the_same_numbers(counting: Rollups) -> None:
    for _ in range(3):
        rollups.add({TallyKey(AT, "login_failed", "r"): 2})
    assert set(kept().values()) == {6}


@in_transaction
def test_numbers_are_written_at_most_once_in_an_interval(counting: Rollups, clock: ManualClock) -> None:
    emit.get_tally().add("login_failed")
    assert not counting.due
    clock.advance(INTERVAL)
    assert counting.due
    counting.flush()
    emit.get_tally().add("login_failed")
    assert not counting.due


@in_transaction
def test_nothing_is_due_where_nothing_happened(counting: Rollups, clock: ManualClock) -> None:
    clock.advance(10 * INTERVAL)
    assert not counting.due


@in_transaction
def test_all_that_happened_is_written_by_few_statements(counting: Rollups) -> None:
    for _ in range(200):
        emit.get_tally().add("login_failed")
    with CaptureQueriesContext(connection) as queries:
        counting.flush()
    assert sum(not query["sql"].startswith(("SAVEPOINT", "RELEASE")) for query in queries) == 3


@in_transaction
def test_what_cannot_be_written_is_kept_and_written_later(
    counting: Rollups, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit.get_tally().add("login_failed", count=4)
    with monkeypatch.context() as context:
        context.setattr(rollups, "add", lambda counts: 1 / 0)
        counting.flush()
    emit.get_tally().add("login_failed")
    assert kept() == {}
    clock.advance(2 * INTERVAL)
    assert counting.due
    counting.flush()
    assert set(kept().values()) == {5}


@in_transaction
def test_guesses_refusals_and_denials_without_a_line_are_in_the_numbers(counting: Rollups) -> None:
    fail(5)
    for _ in range(50):
        security_event_logger.log(EventType.PERMISSION_DENIED, ip_address=HOST)
    counting.flush()
    found = {event_type: count for (span, _, event_type, _), count in kept().items() if span == 60}
    assert found["login_failed"] == 5
    assert found["permission_denied"] == 50
    assert EventCount.objects.get(span=60, event_type="suspicious_activity", rule="brute_force").count == 1
