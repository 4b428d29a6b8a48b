"""What the guard costs on the hot paths, in round trips and queries: the server and the database count.

The store's server counts the reads it makes from its sockets. A call of the store is one packet, and so one
read, however many operations it carries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from secguard.logging import security_event_logger
from secguard.middleware import SecurityGuardMiddleware
from secguard.pipeline.attempts import MAX_PENDING
from secguard.testing import CapturedEvents
from tests.end_to_end.conftest import PATIENT, Configure, Visit
from tests.end_to_end.entry import ADDRESS, RIGHT, WRONG, Entry, Visitor

pytestmark = pytest.mark.usefixtures("anna")


@pytest.fixture
def store_settings(empty_redis: str) -> dict[str, Any]:
    return {"REDIS_URL": empty_redis, "STORE_TIMEOUT": PATIENT}


@pytest.fixture
def warm(visit: Visit, configure: Configure, anna: User) -> None:
    """Loads the blocks and the script, so that what is measured is a request as all but the first are."""
    visitor = visit("192.0.2.200")
    visitor.guess(1)
    visitor.log_in()


class Costs:
    """What a block of code cost."""

    trips: int = 0

    def __init__(self) -> None:
        self.queries: list[str] = []

    def note(self, execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        self.queries.append(sql)
        return execute(sql, *arguments)


@pytest.fixture
def measured(entry: Entry, empty_redis: str) -> Iterator[Callable[[], Any]]:
    with redis.Redis.from_url(empty_redis) as observer:

        def reads() -> int:
            return int(observer.info("stats")["total_reads_processed"])

        @contextmanager
        def measured() -> Iterator[Costs]:
            costs = Costs()
            wrappers = entry.where_sync_code_runs(lambda: connection.execute_wrappers)
            wrappers.append(costs.note)
            before = reads()
            try:
                yield costs
            finally:
                wrappers.remove(costs.note)
                # The question itself is one.
                costs.trips = reads() - before - 1

        yield measured


Measured = Callable[[], Any]


def queries_of(measured: Measured, action: Callable[[], object]) -> list[str]:
    with measured() as costs:
        action()
    queries: list[str] = costs.queries
    return queries


@pytest.mark.usefixtures("warm")
class TestTheCosts:
    def test_a_page_costs_no_trip_and_no_query(self, visitor: Visitor, measured: Measured) -> None:
        with measured() as costs:
            assert visitor.get("home/").status_code == 200
        assert (costs.trips, costs.queries) == (0, [])

    def test_a_poll_for_news_is_one_trip_however_many_requests_ask(
        self, visitor: Visitor, measured: Measured, clock: Any
    ) -> None:
        clock.advance(1)
        with measured() as costs:
            for _ in range(10):
                visitor.get("home/")
        assert (costs.trips, costs.queries) == (1, [])

    def test_a_refused_request_costs_no_trip_and_no_query(self, visitor: Visitor, measured: Measured) -> None:
        visitor.guess(5)
        with measured() as costs:
            assert visitor.get("home/").status_code == 403
            assert visitor.log_in().status_code == 403
        assert (costs.trips, costs.queries) == (0, [])

    def test_a_wrong_password_costs_a_reservation_and_a_mark(self, visitor: Visitor, measured: Measured) -> None:
        with measured() as costs:
            assert visitor.guess(1) == [200]
        assert costs.trips == 2

    def test_a_wrong_password_costs_no_query_but_djangos_own(self, visitor: Visitor, measured: Measured) -> None:
        (query,) = queries_of(measured, visitor.guess)
        assert '"auth_user"' in query

    def test_a_right_password_costs_a_reservation_and_its_release(self, visitor: Visitor, measured: Measured) -> None:
        with measured() as costs:
            assert visitor.log_in().status_code == 302
        assert costs.trips == 2

    def test_a_right_password_costs_no_query_but_djangos_own(
        self, visit: Visit, configure: Configure, measured: Measured
    ) -> None:
        guarded = queries_of(measured, visit().log_in)
        configure(MODE="off")
        assert guarded == queries_of(measured, visit().log_in)

    def test_a_right_password_after_a_wrong_one_costs_one_query_more(
        self, visit: Visit, configure: Configure, measured: Measured
    ) -> None:
        visit().guess(1)
        guarded = queries_of(measured, visit().log_in)
        configure(MODE="off")
        (more,) = [query for query in guarded if query not in queries_of(measured, visit().log_in)]
        assert '"auth_user"' in more  # is the name anybody else's, too?

    def test_after_anothers_wrong_one_from_the_same_address_it_costs_none_more(
        self, visit: Visit, configure: Configure, measured: Measured
    ) -> None:
        visit().guess(2, "somebody else")
        guarded = queries_of(measured, visit().log_in)
        configure(MODE="off")
        assert guarded == queries_of(measured, visit().log_in)

    def test_a_refused_attempt_costs_its_question_and_the_undoing_of_half_of_it(
        self, visitor: Visitor, settings: Any, measured: Measured
    ) -> None:
        settings.AUTHENTICATION_BACKENDS = [
            "secguard.backends.SecurityGuardBackend",
            "tests.end_to_end.backends.CrashingBackend",
        ]
        for _ in range(5):
            visitor.log_in("anna", "crash")
        with measured() as costs:
            assert visitor.log_in("anna", RIGHT).status_code == 403
        assert (costs.trips, costs.queries) == (2, [])

    def test_a_denial_costs_one_trip_and_a_logout_none(self, visitor: Visitor, measured: Measured) -> None:
        visitor.log_in()
        with measured() as costs:
            visitor.get("deny/")
            visitor.post("log_out/")
        assert costs.trips == 1

    def test_a_block_costs_three_rows_and_at_most_six_queries(
        self, visitor: Visitor, measured: Measured, events: CapturedEvents
    ) -> None:
        visitor.guess(4)
        ours = [query for query in queries_of(measured, visitor.guess) if '"auth_user"' not in query]
        assert [event.type for event in events][-1] == "address_blocked"
        # Its own row, and with one statement those of the threat and the block in the record.
        assert len([query for query in ours if "INSERT" in query]) == 2
        assert len(ours) <= 6  # its earlier offences, the database's clock, the rows, and the transactions around them

    def test_off_costs_nothing(self, visitor: Visitor, configure: Configure, measured: Measured) -> None:
        configure(MODE="off")
        with measured() as costs:
            visitor.log_in("anna", WRONG)
            visitor.get("home/")
        assert costs.trips == 0


def test_a_request_of_many_guesses_holds_few_connections(empty_redis: str, settings: Any, anna: User) -> None:
    """A view that logs in a batch, as GraphQL's do, in monitor mode: nothing stops it at the fifth."""
    settings.SECGUARD = {"REDIS_URL": empty_redis, "STORE_TIMEOUT": PATIENT, "MODE": "monitor"}
    opened = []

    with redis.Redis.from_url(empty_redis) as observer:

        def clients() -> int:
            return int(observer.info("clients")["connected_clients"])

        def batch(request: HttpRequest) -> HttpResponse:
            for number in range(30):
                authenticate(request, username=f"user{number}", password=WRONG)
            opened.append(clients() - before)
            return HttpResponse()

        before = clients()
        SecurityGuardMiddleware(batch)(RequestFactory(REMOTE_ADDR=ADDRESS).post("/"))
    assert opened[0] <= MAX_PENDING + 1
    assert security_event_logger.get_failed_login_count(ADDRESS) == 30
