"""The store refused, killed, hung and flushed: users get the answers that bare Django gives, and blocks hold."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth.models import User
from django.core.cache import caches
from django.http import HttpResponse

from secguard.models import Block
from secguard.pipeline import get_store
from secguard.stores.breaker import PROBE_INTERVAL, Breaker
from secguard.testing import CapturedEvents, ManualClock
from tests.end_to_end import serving
from tests.end_to_end.backends import CountingBackend
from tests.end_to_end.conftest import PATIENT, Configure, Visit
from tests.end_to_end.entry import RIGHT, WRONG, Visitor

pytestmark = pytest.mark.usefixtures("anna")

#: Long enough to be answered by a server that is awake, short enough to wait for once.
SHORT = 0.5


class KillingBackend(CountingBackend):
    """Whoever comes with a certain password brings the store's server down, between reservation and outcome."""

    url = ""

    def authenticate(self, request: Any, username: Any = None, password: Any = None, **kwargs: Any) -> Any:
        if self.url:
            serving.kill(self.url)
            type(self).url = ""
        return super().authenticate(request, username, password, **kwargs)

    async def aauthenticate(self, request: Any, username: Any = None, password: Any = None, **kwargs: Any) -> Any:
        if self.url:
            serving.kill(self.url)
            type(self).url = ""
        return await super().aauthenticate(request, username, password, **kwargs)


@pytest.fixture
def store_settings(own_redis: str) -> dict[str, Any]:
    return {"REDIS_URL": own_redis, "STORE_TIMEOUT": PATIENT}


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[str]:
    """A server of this test's own, which may be killed."""
    with serving.own_store(tmp_path) as url:
        yield url


@pytest.fixture
def no_redis() -> Iterator[str]:
    """An address that refuses connections, and is nobody else's meanwhile: bound, and not listened to."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{bound.getsockname()[1]}/0"


def degraded(events: CapturedEvents) -> list[tuple[Any, ...]]:
    return [(event.context["component"], event.severity) for event in events.of("degraded")]


def episodes(events: CapturedEvents) -> list[str]:
    return [event.type for event in events if event.type in ("degraded", "recovered")]


class TestAStoreThatIsAwayFromTheStart:
    @pytest.fixture
    def own_redis(self, no_redis: str) -> str:
        return no_redis

    def test_changes_no_answer(self, visitor: Visitor) -> None:
        assert [visitor.get().status_code, *visitor.guess(2), visitor.log_in().status_code] == [200, 200, 200, 302]

    def test_is_told_once(self, visit: Visit, events: CapturedEvents) -> None:
        for number in range(5):
            visit(f"192.0.2.{number}").log_in()
        assert degraded(events) == [("store", "error")]

    def test_loses_no_event(self, visitor: Visitor, events: CapturedEvents) -> None:
        visitor.guess(2)
        visitor.log_in()
        assert [name for name in events.types if name != "degraded"] == ["login_failed"] * 2 + ["login_success"]

    def test_leaves_each_process_its_own_counters(self, visitor: Visitor) -> None:
        assert visitor.guess(6) == [200] * 5 + [403]
        assert Block.objects.count() == 1

    def test_refuses_logins_and_no_pages_where_the_project_wants_that(
        self, visitor: Visitor, configure: Configure, checked: list[object]
    ) -> None:
        configure(FAIL_MODE="closed")
        assert visitor.log_in().status_code == 403
        assert visitor.get().status_code == 200
        assert checked == []

    def test_counts_nothing_where_the_project_wants_that(self, visitor: Visitor, configure: Configure) -> None:
        configure(FAIL_MODE="open")
        assert visitor.guess(8) == [200] * 8


class TestAStoreThatIsKilled:
    def test_changes_no_answer(self, visitor: Visitor, own_redis: str) -> None:
        visitor.guess(2)
        serving.kill(own_redis)
        assert [*visitor.guess(1), visitor.get().status_code, visitor.log_in().status_code] == [200, 200, 302]

    def test_is_told_once(self, visitor: Visitor, own_redis: str, events: CapturedEvents) -> None:
        visitor.guess(1)
        serving.kill(own_redis)
        visitor.guess(3)
        assert degraded(events) == [("store", "error")]

    def test_lifts_no_block(self, visitor: Visitor, own_redis: str, clock: ManualClock) -> None:
        visitor.guess(5)
        serving.kill(own_redis)
        for _ in range(3):
            assert visitor.get().status_code == 403
            clock.advance(1)  # it is time to poll

    def test_stops_no_new_block(self, visitor: Visitor, own_redis: str) -> None:
        visitor.guess(1)
        serving.kill(own_redis)
        assert visitor.guess(6) == [200] * 5 + [403]

    @pytest.mark.parametrize(("password", "answer"), [(WRONG, 200), (RIGHT, 302)], ids=["wrong", "right"])
    def test_changes_no_answer_in_the_middle_of_a_login(
        self, visitor: Visitor, own_redis: str, settings: Any, events: CapturedEvents, password: str, answer: int
    ) -> None:
        settings.AUTHENTICATION_BACKENDS = ["secguard.backends.SecurityGuardBackend", f"{__name__}.KillingBackend"]
        visitor.guess(1)
        KillingBackend.url = own_redis
        events.clear()
        assert visitor.log_in("anna", password).status_code == answer
        assert set(events.types) - {"degraded"} == {"login_failed" if answer == 200 else "login_success"}
        assert degraded(events) == [("store", "error")]

    def test_is_used_again_when_it_is_back(
        self, visitor: Visitor, own_redis: str, tmp_path: Path, events: CapturedEvents
    ) -> None:
        clock = ManualClock()
        get_store().breaker = Breaker(clock)
        serving.kill(own_redis)
        visitor.guess(1)
        with serving.own_store(tmp_path / "again", serving.port_of(own_redis)):
            clock.advance(1)
            visitor.guess(1)
            with redis.Redis.from_url(own_redis) as client:
                assert client.dbsize() > 0
        assert episodes(events) == ["degraded", "recovered"]


class Hanging:
    """A server of one test's own that can be kept from running: it takes connections, and answers nothing."""

    def __init__(self, url: str) -> None:
        with redis.Redis.from_url(url) as client:
            self._process = int(client.info("server")["process_id"])

    def hang(self) -> None:
        os.kill(self._process, signal.SIGSTOP)

    def wake(self) -> None:
        os.kill(self._process, signal.SIGCONT)


class TestAStoreThatHangs:
    """Whoever asks first waits for the time-out, in real time; by the breaker's own clock no time passes."""

    OTHER = "192.0.2.2"

    @pytest.fixture
    def store_settings(self, own_redis: str) -> dict[str, Any]:
        return {"REDIS_URL": own_redis, "STORE_TIMEOUT": SHORT}

    @pytest.fixture
    def server(self, own_redis: str) -> Iterator[Hanging]:
        server = Hanging(own_redis)
        try:
            yield server
        finally:
            server.wake()
            serving.kill(own_redis)

    @pytest.fixture(autouse=True)
    def probing(self, server: Hanging, visitor: Visitor, anna: User) -> ManualClock:
        """The breaker's clock. The blocks and the script are loaded: the server hangs in the middle of its work."""
        assert visitor.log_in().status_code == 302
        clock = ManualClock()
        get_store().breaker = Breaker(clock)
        return clock

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Each question to the server, by the name of the store's method that asks it."""
        asked: list[str] = []

        def counted(name: str, ask: Callable[..., Any], *arguments: Any) -> Any:
            asked.append(name)
            return ask(*arguments)

        for name in ("execute", "aexecute", "send", "get_token", "aget_token", "set_token"):
            ask = partial(counted, name.removeprefix("a"), getattr(get_store().primary, name))
            monkeypatch.setattr(get_store().primary, name, ask)
        return asked

    def test_changes_no_answer(self, visitor: Visitor, server: Hanging) -> None:
        visitor.guess(1)
        server.hang()
        assert [*visitor.guess(2), visitor.get().status_code, visitor.log_in().status_code] == [200, 200, 200, 302]

    def test_is_told_once(self, visit: Visit, server: Hanging, probing: ManualClock, events: CapturedEvents) -> None:
        server.hang()
        for number in range(4):
            visit(f"192.0.2.{number}").log_in()
        probing.advance(PROBE_INTERVAL)
        visit().guess(2)
        assert degraded(events) == [("store", "error")]

    def test_keeps_one_login_an_interval_waiting(
        self, visit: Visit, server: Hanging, probing: ManualClock, asked: list[str], clock: ManualClock
    ) -> None:
        server.hang()
        for _ in range(2):
            visit().log_in()
            assert asked == ["execute"]
            for number in range(10, 15):
                clock.advance(1)  # it is time to poll
                guest = visit(f"192.0.2.{number}")
                assert [*guest.guess(1), guest.log_in().status_code, guest.get().status_code] == [200, 302, 200]
            assert asked == ["execute"]
            asked.clear()
            probing.advance(PROBE_INTERVAL)

    def test_lifts_no_block(self, visitor: Visitor, server: Hanging, clock: ManualClock, asked: list[str]) -> None:
        visitor.guess(5)
        server.hang()
        asked.clear()
        for seconds in (0, 1, 1, 60):
            clock.advance(seconds)
            assert (visitor.get().status_code, visitor.log_in().status_code) == (403, 403)
        assert asked == ["get_token"]  # a poll for news: a refused login needs no counter

    def test_stops_no_new_block(self, visitor: Visitor, server: Hanging) -> None:
        visitor.guess(1)
        server.hang()
        assert visitor.guess(6) == [200] * 5 + [403]

    def test_goes_on_counting_where_it_was_when_it_runs_again(
        self, visit: Visit, server: Hanging, probing: ManualClock, events: CapturedEvents
    ) -> None:
        guest = visit(self.OTHER)
        assert guest.guess(2) == [200, 200]
        server.hang()
        visit().log_in()  # bears the time-out: what the server is asked now it does when it runs again
        assert guest.guess(2) == [200, 200]
        server.wake()
        probing.advance(PROBE_INTERVAL)
        assert guest.guess(4) == [200, 200, 200, 403]
        counts = [event.context["failed_attempts_from_ip"] for event in events.of("login_failed")]
        assert counts == [1, 2, 1, 2, 3, 4, 5]
        assert episodes(events) == ["degraded", "recovered"]


class TestAStoreThatIsFlushed:
    def test_lifts_no_block(self, visitor: Visitor, own_redis: str, clock: ManualClock) -> None:
        visitor.guess(5)
        with redis.Redis.from_url(own_redis) as client:
            client.flushall()
        for seconds in (1, 60):
            clock.advance(seconds)
            assert visitor.get().status_code == 403

    def test_of_its_scripts_loses_no_count(self, visitor: Visitor, own_redis: str) -> None:
        visitor.guess(3)
        with redis.Redis.from_url(own_redis) as client:
            client.script_flush()
        assert visitor.guess(3) == [200, 200, 403]

    def test_by_the_project_clearing_its_cache_lifts_no_block(
        self, visitor: Visitor, own_redis: str, settings: Any, clock: ManualClock
    ) -> None:
        settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": own_redis}}
        settings.SECGUARD = {"STORE_TIMEOUT": PATIENT}
        visitor.guess(5)
        caches["default"].clear()
        refused: HttpResponse = visitor.get()
        clock.advance(1)
        assert (refused.status_code, visitor.get().status_code) == (403, 403)


def test_a_worker_that_starts_after_the_store_was_flushed_knows_the_blocks(
    visitor: Visitor, configure: Configure, own_redis: str
) -> None:
    visitor.guess(5)
    with redis.Redis.from_url(own_redis) as client:
        client.flushall()
    configure()  # nothing is kept of what this process knew
    assert visitor.get().status_code == 403
