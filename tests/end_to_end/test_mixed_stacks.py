"""Sync and async mixed: the other kind of views behind each entry point, sync-only middleware, lost clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse

from secguard.logging import security_event_logger
from secguard.models import Block
from secguard.testing import CapturedEvents
from tests import views
from tests.end_to_end.conftest import Configure, Visit
from tests.end_to_end.entry import ADDRESS, RIGHT, WRONG, Asgi, AsgiVisitor, Entry, Visitor

pytestmark = pytest.mark.usefixtures("anna")


class SyncOnlyMiddleware:
    """As projects write them: it knows nothing of async."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)


class TestTheOtherKindOfViews:
    @pytest.fixture
    def visitor(self, entry: Entry) -> Visitor:
        visitor = entry.visitor()
        other = {"sync": "async", "async": "sync"}[entry.views]
        visitor.path = lambda page: page if page.startswith("/") else f"/{other}/{page}"  # type: ignore[method-assign]
        return visitor

    def test_are_refused_the_sixth_guess(self, visitor: Visitor) -> None:
        assert visitor.guess(6) == [200] * 5 + [403]
        assert Block.objects.count() == 1

    def test_forgive_for_a_right_password(self, visitor: Visitor) -> None:
        visitor.guess(4)
        assert visitor.log_in().status_code == 302
        assert security_event_logger.get_failed_login_count(ADDRESS) == 0

    def test_are_denied_once(self, visitor: Visitor, events: CapturedEvents) -> None:
        assert visitor.get("deny/").status_code == 403
        assert events.types == ["permission_denied"]


@pytest.mark.parametrize("place", [0, 1, 99], ids=["before", "after", "last"])
def test_a_sync_only_middleware_beside_ours_changes_nothing(
    visitor: Visitor, settings: Any, events: CapturedEvents, place: int
) -> None:
    middleware = list(settings.MIDDLEWARE)
    middleware.insert(place, f"{__name__}.SyncOnlyMiddleware")
    settings.MIDDLEWARE = middleware
    visitor.guess(4)
    assert visitor.log_in().status_code == 302
    assert visitor.guess(6) == [200] * 5 + [403]
    assert len(events.of("login_failed")) == 9


class TestAClientThatLeaves:
    """Only ASGI tells a view, by cancelling it."""

    @pytest.fixture(params=["asgi"])
    def entry(self, request: pytest.FixtureRequest, transactional_db: None, configure: Configure) -> Any:
        entry = Asgi()
        configure.before_change.append(entry.hang_up)
        yield entry
        entry.close()

    def leave(self, visitor: AsgiVisitor) -> None:
        """Begin a login, and be gone before it ends."""

        async def begin_and_leave() -> None:
            form = {"username": "anna", "password": WRONG}
            login = asyncio.ensure_future(visitor.client.post(visitor.path("hang/"), form))
            while not views.hanging:
                assert not login.done()
                await asyncio.sleep(0)
            login.cancel()
            await asyncio.wait([login])

        views.hanging.clear()
        visitor.entry.loop.run_until_complete(asyncio.wait_for(begin_and_leave(), 30))

    def test_leaves_an_attempt_that_limits_like_a_failure(self, visit: Visit) -> None:
        for _ in range(5):
            self.leave(visit())
        refused = visit().log_in("anna", RIGHT)
        assert refused.status_code == 403
        # The window, not the lease of an attempt that is still awaited.
        assert int(refused["Retry-After"]) > 60

    def test_opens_no_threat(self, visit: Visit, events: CapturedEvents) -> None:
        for _ in range(5):
            self.leave(visit())
        assert "suspicious_activity" not in events.types
