"""What django-ratelimit limits is an excess, and neither a denial nor a failed login."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache

from secguard.logging import security_event_logger
from secguard.testing import CapturedEvents
from tests.stacks.conftest import ADDRESS, WRONG, Browse


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    cache.clear()


@pytest.mark.parametrize("middleware", [[], ["django_ratelimit.middleware.RatelimitMiddleware"]])
@pytest.mark.parametrize("page", ["/blocked/", "/marked/"])
def test_an_excess_is_one_event_for_a_flood(
    browse: Browse, settings: Any, events: CapturedEvents, page: str, middleware: list[str]
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, *middleware]
    for _ in range(6):
        browse().get(page)
    assert events.types == ["excess_rate_limit_exceeded"]


def test_a_denial_is_still_one(browse: Browse, events: CapturedEvents) -> None:
    assert browse().get("/denied/").status == 403
    assert events.types == ["permission_denied"]


def test_a_login_too_many_is_no_failure(browse: Browse, events: CapturedEvents) -> None:
    visitor = browse()
    visitor.get("/login/")
    statuses = [visitor.post("/login/", {"username": "anna", "password": WRONG}).status for _ in range(4)]
    assert statuses == [200, 200, 403, 403]
    assert events.types == ["login_failed", "login_failed", "excess_rate_limit_exceeded"]
    assert security_event_logger.get_failed_login_count(ADDRESS) == 2
