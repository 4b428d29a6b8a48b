"""Clients of the people who work in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from secguard.models import EventRecord
from tests.admin.rows import staff


@pytest.fixture(autouse=True)
def _nothing_is_recorded(settings: Any, db: None) -> None:
    """The rows that there are, are those that a test made; others' threads may have left some."""
    settings.SECGUARD = {"PERSIST_EVENTS": "none"}
    EventRecord.objects.all().delete()


@pytest.fixture
def viewer(db: None) -> Client:
    """Somebody who may see events and decide nothing."""
    client = Client()
    client.force_login(staff("view_eventrecord", name="viewer"), "django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def operator(db: None) -> Client:
    """Somebody who may see and decide."""
    client = Client(REMOTE_ADDR="192.0.2.44")
    client.force_login(staff("view_eventrecord", "manage_blocks"), "django.contrib.auth.backends.ModelBackend")
    return client
