"""A request's one time for all that it asks the store."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis
from django.core.cache.backends.locmem import LocMemCache
from django.test import RequestFactory

from secguard.context import RequestContext, bind, context_of, unbind
from secguard.detection.store import FAIL, Op
from secguard.exceptions import StoreError
from secguard.stores import CacheStore, RedisStore
from secguard.stores.budget import Budget, request_budget
from secguard.stores.redis import wire
from secguard.stores.redis.wire import Patience
from tests.stores.drive import ANNA, GUESSES, KEY, LOGIN, NOW, number, panel

OPS = [Op(FAIL, KEY, panel(GUESSES), number(1), LOGIN + ANNA)]


@pytest.fixture
def context() -> Iterator[RequestContext]:
    found = context_of(RequestFactory().get("/"))
    token = bind(found)
    yield found
    unbind(token)


@pytest.fixture
def idle_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "scheduling_delay", lambda: 0.0)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Takes connections, and answers nothing."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


def test_all_commands_of_a_request_share_one_budget(context: RequestContext) -> None:
    assert request_budget() is request_budget() is context.store_budget


def test_outside_a_request_each_call_has_its_own() -> None:
    assert request_budget() is not request_budget()


@pytest.mark.usefixtures("idle_machine")
def test_what_is_left_is_waited_for_and_no_more() -> None:
    budget = Budget()
    patience = Patience(0.05, budget)
    assert patience.next_slice() == pytest.approx(0.005)
    budget.spend(0.048, 0.048)
    assert patience.next_slice() == pytest.approx(0.002)
    budget.spend(0.002, 0.002)
    with pytest.raises(redis.TimeoutError, match="50 ms"):
        patience.next_slice()
    with pytest.raises(redis.TimeoutError):
        patience.whole()


def test_a_saturated_machine_is_waited_for_as_long_as_its_threads_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "scheduling_delay", lambda: 0.3)
    budget = Budget()
    budget.spend(0.2, 0.05)
    assert Patience(0.05, budget).next_slice() == pytest.approx(0.005)
    budget.spend(0.1, 0.005)
    with pytest.raises(redis.TimeoutError):
        Patience(0.05, budget).next_slice()


@pytest.mark.usefixtures("idle_machine", "context")
def test_a_request_that_has_waited_for_the_store_does_not_wait_again(silent_server: str) -> None:
    store = RedisStore(silent_server, timeout=0.05)
    with pytest.raises(redis.TimeoutError):
        store.execute(OPS, NOW)
    spent = request_budget().fair
    assert spent == pytest.approx(0.05, abs=0.01)
    with pytest.raises(redis.TimeoutError):
        store.execute(OPS, NOW)
    assert request_budget().fair == spent


@pytest.mark.usefixtures("context")
def test_a_slow_cache_is_asked_no_further() -> None:
    store = CacheStore(LocMemCache("slow", {}), timeout=0.05)
    store.execute(OPS, NOW)
    request_budget().spend(0.5, 0.5)
    with pytest.raises(StoreError, match="500 ms"):
        store.execute(OPS, NOW)


@pytest.mark.parametrize(
    ("load", "pressure", "threads"),
    [
        ("0.50 0.40 0.30 2/300 999", "some avg10=0.00 avg60=0.00", 2),
        ("12.00 9.00 5.00 2/300 999", "some avg10=80.00 avg60=50.00", 12),  # busy, though few want to run just now
        ("12.00 9.00 5.00 2/300 999", "some avg10=5.00 avg60=50.00", 2),  # it was busy, and is no more
        ("12.00 9.00 5.00 2/300 999", None, 12),  # nobody says that it is no more
        ("1.00 1.00 1.00 40/300 999", "some avg10=0.00 avg60=0.00", 40),
        ("", "some avg10=0.00 avg60=0.00", 0),
        (None, None, 0),
    ],
)
def test_how_busy_a_machine_is_is_what_it_says_of_now(
    load: str | None, pressure: str | None, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"/proc/loadavg": load, "/proc/pressure/cpu": pressure}

    def opened(path: str) -> io.StringIO:
        text = files[path]
        if text is None:
            raise FileNotFoundError(path)
        return io.StringIO(text)

    monkeypatch.setattr(wire, "open", opened, raising=False)
    monkeypatch.setattr(wire.os, "cpu_count", lambda: 2)
    assert wire.scheduling_delay() == pytest.approx(threads / 2 * wire._TURN_SECONDS)
