"""What only a store on Django's caches can get wrong: keys, timeouts, and backends that do not count."""

from __future__ import annotations

import json
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import ConnectionProxy, caches
from django.core.cache.backends.base import memcache_key_warnings
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from django.core.management import call_command
from django.db import connection

from secguard.detection import DEFAULT_RULES, Detector
from secguard.detection.detector import Observation, run
from secguard.detection.store import FAIL, GRANTED, OPEN, OPENED, READ, REFUSED, RESERVE, WAIT, Op
from secguard.exceptions import StoreError
from secguard.stores.cache import CacheStore
from tests.stores.drive import ANNA, GUESSES, KEY, LOGIN, NAMES, NOW, Drive, number, panel

ROOM = {"MAX_ENTRIES": 100_000}


@pytest.fixture
def locmem() -> Iterator[LocMemCache]:
    cache = LocMemCache("test-cache-store", ROOM)
    yield cache
    cache.clear()


@pytest.fixture
def table(db: None) -> DatabaseCache:
    call_command("createcachetable", "counters", verbosity=0)
    return DatabaseCache("counters", ROOM)


def drive(cache: Any) -> Drive:
    store = CacheStore(cache)
    return Drive(store, store.execute)


def use_everything(store: CacheStore) -> None:
    detector = Detector(DEFAULT_RULES, key=b"k")
    attempts = [detector.attempt(Observation(address="192.0.2.1", account=f"user {n}" * 50)) for n in range(6)]
    for attempt in attempts:
        run(detector.reserve(attempt), store.execute)
    for attempt in attempts[:3]:
        run(detector.record(attempt), store.execute)
    store.execute(detector.abandon_ops(attempts[3]))
    store.execute(detector.pass_ops(attempts[4], link="somebody else"))
    run(detector.reset(attempts[0]), store.execute)
    for n in range(6):
        store.execute([Op(FAIL, KEY, panel(GUESSES, NAMES), number(n), LOGIN + ANNA)])
    store.set_token("blocklist", "1")


def test_every_key_has_a_timeout(locmem: LocMemCache) -> None:
    use_everything(CacheStore(locmem))
    assert len(locmem._expire_info) > 20
    assert None not in locmem._expire_info.values()


def test_every_key_is_short_and_fit_for_memcached(locmem: LocMemCache) -> None:
    use_everything(CacheStore(locmem))
    for key in locmem._cache:
        assert len(key.encode()) <= 128
        assert not list(memcache_key_warnings(key))


def test_every_value_could_be_json(locmem: LocMemCache) -> None:
    use_everything(CacheStore(locmem))
    for key in [each.removeprefix(":1:") for each in locmem._cache]:
        json.dumps(locmem.get(key))


def test_every_key_on_djangos_redis_cache_has_a_timeout(redis_client: Any, empty_redis: str) -> None:
    cache = RedisCache(empty_redis, {})
    use_everything(CacheStore(cache))
    cache._cache.get_client().connection_pool.disconnect()
    keys = redis_client.keys("*")
    assert len(keys) > 20
    assert all(redis_client.ttl(key) > 0 for key in keys)


def test_parallel_reservations_on_djangos_redis_cache_never_exceed_the_limit(empty_redis: str) -> None:
    cache = RedisCache(empty_redis, {})
    store, guard, start = CacheStore(cache), panel(GUESSES), threading.Barrier(24)

    def reserve(n: int) -> int:
        start.wait()
        return store.execute([Op(RESERVE, KEY, guard, number(n), LOGIN + ANNA)])[0].status

    with ThreadPoolExecutor(24) as pool:
        granted = list(pool.map(reserve, range(24))).count(GRANTED)
    cache._cache.get_client().connection_pool.disconnect()
    assert 0 < granted <= GUESSES.threshold


def test_parallel_failures_lose_nothing(locmem: LocMemCache) -> None:
    store, guard = CacheStore(locmem), panel(GUESSES)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: store.execute([Op(FAIL, KEY, guard, number(n), LOGIN + ANNA)], NOW), range(400)))
    assert store.execute([Op(READ, KEY, guard)], NOW)[0].counts == (400,)


def test_parallel_failures_open_a_threat_once(locmem: LocMemCache) -> None:
    store, guard, start = CacheStore(locmem), panel(GUESSES), threading.Barrier(16)

    def fail(n: int) -> int:
        start.wait()
        return store.execute([Op(FAIL, KEY, guard, number(n), LOGIN + ANNA)], NOW)[0].threats[0]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(fail, range(16))).count(OPENED) == 1


def test_parallel_failures_open_a_closed_threat_once(locmem: LocMemCache) -> None:
    store, guard, start = CacheStore(locmem), panel(GUESSES), threading.Barrier(16)
    for n in range(3):
        store.execute([Op(FAIL, KEY, guard, number(n), LOGIN + ANNA)], NOW - 600_000)

    def fail(n: int) -> int:
        start.wait()
        return store.execute([Op(FAIL, KEY, guard, number(100 + n), LOGIN + ANNA)], NOW)[0].threats[0]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(fail, range(16))).count(OPENED) == 1


def test_the_database_cache_keeps_the_contract(table: DatabaseCache) -> None:
    guard = drive(table)
    assert [guard.reserve(n).status for n in range(4)] == [GRANTED, GRANTED, GRANTED, WAIT]
    assert [guard.fail(n).counts for n in range(3)] == [(1,), (2,), (3,)]
    assert guard.reserve(4).status == REFUSED
    guard.succeed(9)
    assert guard.reserve(5).status == GRANTED
    guard.reset()
    assert guard.count() == 0


def test_counting_in_the_database_never_shortens_a_timeout(table: DatabaseCache) -> None:
    """The incr that it inherits would set the cache's default timeout, here one second."""
    guard = drive(DatabaseCache("counters", {"TIMEOUT": 1, **ROOM}))
    guard.fail(1)
    guard.fail(2)
    with connection.cursor() as cursor:
        cursor.execute("SELECT MIN(expires) FROM counters")
        (soonest,) = cursor.fetchone()
    assert datetime.fromisoformat(str(soonest)).replace(tzinfo=timezone.utc).timestamp() > time.time() + 10


def test_counting_in_files_never_shortens_a_timeout(tmp_path: Path) -> None:
    guard = drive(FileBasedCache(str(tmp_path), {"TIMEOUT": 1, **ROOM}))
    guard.fail(1)
    guard.fail(2)
    for path in tmp_path.glob("*.djcache"):
        with path.open("rb") as file:
            assert pickle.load(file) > time.time() + 10  # noqa: S301 - a file of our own


class ExpiringCache(LocMemCache):
    """Like Redis: incr makes a key that is missing, for ever."""

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        if self.add(key, delta, None, version):
            return delta
        return super().incr(key, delta, version)


def test_a_counter_that_expires_while_it_is_counted_has_a_timeout_again() -> None:
    cache = ExpiringCache("expiring", ROOM)
    drive(cache).fail(1)
    timeouts = list(cache._expire_info.values())
    cache.clear()
    assert timeouts
    assert None not in timeouts


class MeetingCache(LocMemCache):
    """Two threads that both look at a threat which has closed do so at the same time."""

    meeting = threading.Barrier(2)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        found = super().get(key, default, version)
        if default == 0:
            self.meeting.wait()
        return found


def test_two_who_find_a_threat_closed_open_it_once() -> None:
    cache = MeetingCache("meeting", ROOM)
    store, guard = CacheStore(cache), panel(GUESSES)
    for n in range(3):
        store.execute([Op(FAIL, KEY, guard, number(n), LOGIN + ANNA)], NOW - 600_000)
    for n in range(3, 5):
        store.execute([Op(FAIL, KEY, guard, number(n), LOGIN + ANNA)], NOW)

    def fail(n: int) -> int:
        return store.execute([Op(FAIL, KEY, guard, number(n), LOGIN + ANNA)], NOW)[0].threats[0]

    with ThreadPoolExecutor(2) as pool:
        found = sorted(pool.map(fail, (5, 6)))
    cache.clear()
    assert found == [OPEN, OPENED]


class ForgetfulCache(LocMemCache):
    """Like a cache whose server is away while its client ignores errors."""

    def add(self, *args: Any, **kwargs: Any) -> bool:
        return False


def test_a_cache_that_keeps_nothing_grants_nothing() -> None:
    with pytest.raises(StoreError):
        drive(ForgetfulCache("forgetful", {})).reserve(1)


def test_only_caches_that_processes_share_count_as_shared(locmem: LocMemCache, tmp_path: Path) -> None:
    assert CacheStore(FileBasedCache(str(tmp_path), {})).shared
    assert not CacheStore(locmem).shared
    assert not CacheStore(DummyCache("", {})).shared


def test_a_proxy_is_seen_through() -> None:
    assert not CacheStore(ConnectionProxy(caches, "default")).shared


def test_a_store_on_a_cache_calls_itself_approximate(locmem: LocMemCache) -> None:
    assert not CacheStore(locmem).exact


def test_a_store_tells_the_time_by_the_clock_it_is_given(locmem: LocMemCache) -> None:
    moment = NOW / 1_000
    store = CacheStore(locmem, clock=lambda: moment)
    op = Op(FAIL, KEY, panel(GUESSES), number(1), LOGIN + ANNA)
    store.execute([op])
    moment += 3_600
    assert store.execute([Op(READ, KEY, op.panel)])[0].counts == (0,)


def test_more_slots_make_windows_more_exact(locmem: LocMemCache) -> None:
    store = CacheStore(locmem, slots=60)
    guard = Drive(store, store.execute)
    guard.fail(1)
    assert [guard.count(at=59_999), guard.count(at=61_000)] == [1, 0]


def test_a_window_without_slots_is_refused(locmem: LocMemCache) -> None:
    with pytest.raises(ValueError, match="slots"):
        CacheStore(locmem, slots=0)
