"""secguard's own events, from a table like that of its EventRecord."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from django.db import connection, models

from secguard.context import get_resolver
from secguard.replay.attempts import ACCOUNT, ADDRESS, HAS_FAILED, People
from secguard.replay.readers import Notes, Reading, Times, attempts_of, tables

NOON = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)


class StoredEvent(models.Model):
    timestamp = models.DateTimeField()
    event_type = models.CharField(max_length=64)
    ip_address = models.CharField(max_length=64)
    account = models.CharField(max_length=254)

    class Meta:
        app_label = "stored_events"

    def __str__(self) -> str:
        return self.event_type


@pytest.fixture
def events(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[StoredEvent]]:
    monkeypatch.setattr(tables, "_model", lambda app, name: StoredEvent)
    with connection.schema_editor() as editor:
        editor.create_model(StoredEvent)
    yield StoredEvent
    with connection.schema_editor() as editor:
        editor.delete_model(StoredEvent)


def test_stored_logins_are_attempts_in_the_order_of_their_times(events: type[StoredEvent]) -> None:
    for minute, kind, address in (
        (2, "login_success", "192.0.2.1"),
        (0, "login_failed", "192.0.2.1"),
        (3, "address_blocked", "192.0.2.1"),
        (1, "login_failed", "2001:db8::1"),
        (4, "login_failed", "nowhere"),
    ):
        events.objects.create(
            timestamp=NOON + timedelta(minutes=minute), event_type=kind, ip_address=address, account="Anna"
        )
    reading = Reading(People(get_resolver()), Times(), Notes())
    found = [each for batch in attempts_of("db:events", reading, "auto", lambda rows, share: None) for each in batch]
    assert [(each[HAS_FAILED], each[ADDRESS], each[ACCOUNT]) for each in found] == [
        (True, "192.0.2.1", "anna"),
        (True, "2001:db8::/64", "anna"),
        (False, "192.0.2.1", "anna"),
    ]
    assert reading.notes.skipped_total == 1
