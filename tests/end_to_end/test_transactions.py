"""The record survives the rollback: what a view undoes, and what it must not undo."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections

from secguard.logging import security_event_logger
from secguard.models import Block
from secguard.testing import CapturedEvents
from tests.end_to_end.entry import ADDRESS, WRONG, Visitor

pytestmark = pytest.mark.usefixtures("anna")


@pytest.fixture
def _atomic_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)


def crash(visitor: Visitor, times: int) -> list[int]:
    """Failed logins in a transaction that is rolled back. Django allows these for sync views alone."""
    data = {"username": "anna", "password": WRONG}
    return [visitor.post("/sync/log_in_and_crash/", {**data, "number": number}).status_code for number in range(times)]


@pytest.mark.usefixtures("_atomic_requests")
class TestWhatARolledBackViewLeavesBehind:
    def test_nothing_of_its_own(self, visitor: Visitor) -> None:
        assert crash(visitor, 1) == [500]
        assert not User.objects.filter(username__startswith="rolled back").exists()

    def test_the_event(self, visitor: Visitor, events: CapturedEvents) -> None:
        crash(visitor, 1)
        assert events.types == ["login_failed"]

    def test_the_count(self, visitor: Visitor) -> None:
        crash(visitor, 3)
        assert security_event_logger.get_failed_login_count(ADDRESS) == 3

    def test_the_block(self, visitor: Visitor) -> None:
        assert crash(visitor, 6) == [500] * 5 + [403]
        assert [block.network for block in Block.objects.all()] == [ADDRESS]


def test_a_view_that_raises_after_a_failure_is_counted_and_blocked(visitor: Visitor, events: CapturedEvents) -> None:
    data = {"username": "anna", "password": WRONG}
    answers = [visitor.post("log_in_and_crash/", {**data, "number": number}).status_code for number in range(6)]
    assert answers == [500] * 5 + [403]
    assert len(events.of("login_failed")) == 5
    assert Block.objects.count() == 1


def test_the_blocks_of_a_request_outside_the_middleware_are_saved(visitor: Visitor, settings: Any) -> None:
    settings.MIDDLEWARE = settings.MIDDLEWARE[1:]
    visitor.guess(5)
    assert Block.objects.count() == 1
