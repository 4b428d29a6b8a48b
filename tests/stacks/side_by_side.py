"""What holds beside every other guard, whose limit is six failures: secguard looks on and keeps out of the way."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from secguard.logging import security_event_logger
from secguard.models import Block
from secguard.testing import CapturedEvents
from tests.stacks.browser import Answer, Browser
from tests.stacks.conftest import ADDRESS, RIGHT, WRONG, Browse


def log_in(browser: Browser, password: str = RIGHT) -> Answer:
    browser.get("/login/")
    return browser.post("/login/", {"username": "anna", "password": password})


@pytest.mark.usefixtures("anna")
class SideBySide:
    def test_the_checks_find_nothing_wrong(self) -> None:
        call_command("check")

    def test_a_right_login_is_one_success(self, browse: Browse, events: CapturedEvents) -> None:
        assert log_in(browse()).status == 302
        assert events.types == ["login_success"]

    def test_each_failure_is_logged_once(self, browse: Browse, events: CapturedEvents) -> None:
        for _ in range(3):
            assert log_in(browse(), WRONG).status == 200
        assert events.types == ["login_failed"] * 3

    def test_a_success_forgives(self, browse: Browse) -> None:
        for _ in range(3):
            log_in(browse(), WRONG)
        log_in(browse())
        assert security_event_logger.get_failed_login_count(ADDRESS) == 0

    def test_what_would_have_been_blocked_is_said_and_served(self, browse: Browse, events: CapturedEvents) -> None:
        for _ in range(5):
            log_in(browse(), WRONG)
        assert [event.context["rule"] for event in events.of("suspicious_activity")] == ["brute_force"]
        assert {event.context["reason"] for event in events.of("block_suppressed")} == {"monitor"}
        assert not Block.objects.exists()
        assert browse().get("/").status == 200

    def test_the_other_one_locks_as_before_and_its_answer_is_no_denial(
        self, browse: Browse, events: CapturedEvents
    ) -> None:
        statuses = [log_in(browse(), WRONG).status for _ in range(8)]
        assert statuses[:5] == [200] * 5
        assert set(statuses[6:]) <= {403, 429}
        assert log_in(browse()).status == statuses[-1]  # the right password too: that is its lock
        assert "permission_denied" not in events.types
        assert "excess_rate_limit_exceeded" not in events.types
