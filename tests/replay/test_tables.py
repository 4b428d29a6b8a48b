"""secguard's own events, from the record."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest

from secguard.context import get_resolver
from secguard.models import EventRecord
from secguard.replay.attempts import ACCOUNT, ADDRESS, HAS_FAILED, People
from secguard.replay.readers import Notes, Reading, Times, attempts_of

NOON = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)


@pytest.mark.django_db
def test_stored_logins_are_attempts_in_the_order_of_their_times() -> None:
    for minute, kind, address in (
        (2, "login_success", "192.0.2.1"),
        (0, "login_failed", "192.0.2.1"),
        (3, "address_blocked", "192.0.2.1"),
        (1, "login_failed", "2001:db8::1"),
        (4, "login_failed", "nowhere"),
    ):
        EventRecord.objects.create(
            event_id=uuid4(), timestamp=NOON + timedelta(minutes=minute), event_type=kind, ip_address=address,
            account="anna",
        )  # fmt: skip
    reading = Reading(People(get_resolver()), Times(), Notes())
    found = [each for batch in attempts_of("db:events", reading, "auto", lambda rows, share: None) for each in batch]
    assert [(each[HAS_FAILED], each[ADDRESS], each[ACCOUNT]) for each in found] == [
        (True, "192.0.2.1", "anna"),
        (True, "2001:db8::/64", "anna"),
        (False, "192.0.2.1", "anna"),
    ]
    assert reading.notes.skipped_total == 1
