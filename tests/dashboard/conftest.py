"""Rows and counts as the record writes them, and people who look at the dashboard."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from secguard import emit
from secguard.models import EventCount, EventRecord

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=timezone.utc)
Record = Callable[..., EventRecord]
Tally = Callable[..., None]


def row(**fields: Any) -> EventRecord:
    """An event of a threat, unless the fields say otherwise."""
    given = {"event_type": "suspicious_activity", "category": "threat", "severity": "critical", "rule": "brute_force"}
    return EventRecord(event_id=uuid.uuid4(), **{"timestamp": NOW, **given, **fields})


@pytest.fixture
def record(db: None) -> Record:
    def record(**fields: Any) -> EventRecord:
        made = row(**fields)
        made.save()
        return made

    return record


@pytest.fixture
def tally(db: None) -> Tally:
    """So many events of a type happened at a time: as the minute has it, and as the hour has it."""

    def tally(event_type: str, count: int, at: datetime = NOW, rule: str = "") -> None:
        minute = at.replace(second=0, microsecond=0)
        for span, start in ((60, minute), (3_600, minute.replace(minute=0))):
            kept, _ = EventCount.objects.get_or_create(span=span, start=start, event_type=event_type, rule=rule)
            kept.count += count
            kept.save()

    return tally


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """The pages see this moment."""
    monkeypatch.setattr("secguard.dashboard.page.timezone.now", lambda: NOW)
    return NOW


def staff(name: str, *permissions: str) -> Client:
    user = User.objects.create_user(name, password="a password", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    emit.get_tally().take()  # nobody has logged in, as far as the dashboard is concerned
    return client


@pytest.fixture
def watcher(db: None) -> Client:
    """Staff who may see events."""
    return staff("watcher", "view_eventrecord")


@pytest.fixture
def stranger(db: None) -> Client:
    """Staff who may see blocks, and no events."""
    return staff("stranger", "view_block")
