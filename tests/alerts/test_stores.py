"""What all processes decide together, on each store that they may share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from secguard.alert_options import AlertOptions, Trigger, parse_alerts
from secguard.alerts.counters import Counters, shared_store
from secguard.detection.store import Store
from secguard.pipeline import get_store
from secguard.stores import CacheStore, MemoryStore, choose_store

OPTIONS = parse_alerts({"mail": True, "per_hour": 3})
LOCKS = next(trigger for trigger in OPTIONS.triggers if trigger.name == "locks")


@pytest.fixture(params=["memory", "cache", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "cache":
        caches["default"].clear()
        yield CacheStore(caches["default"])
        caches["default"].clear()
    else:
        with override_settings(SECGUARD={"REDIS_URL": request.getfixturevalue("empty_redis"), "STORE_TIMEOUT": 10}):
            found: Any = choose_store()
            yield found
            found.close()


def process(store: Store, options: AlertOptions = OPTIONS) -> Counters:
    """What one of several processes uses."""
    return Counters(options, shared=lambda: store, local=_never())


def _never() -> Any:
    class Never:
        def execute(self, *args: object) -> None:
            raise AssertionError("the store was away")

    return Never()


def test_an_alert_is_one_processs_to_tell(store: Store) -> None:
    asked = [process(store).ask(("critical", "brute_force")).granted for _ in range(5)]
    assert asked == [True] + [False] * 4
    assert process(store).ask(("critical", "another")).granted


def test_a_threshold_is_counted_by_all(store: Store) -> None:
    assert [process(store).count(LOCKS, 1) for _ in range(3)] == [1, 2, 3]
    assert process(store).count(LOCKS, 10) == 13


def test_the_messages_of_an_hour_are_those_of_all(store: Store) -> None:
    waits = [process(store).wait() for _ in range(4)]
    assert waits[:3] == [0.0] * 3
    assert 0 < waits[3] <= 3_600


def test_repeats_are_counted_by_all_and_told_with_the_next(store: Store) -> None:
    quick = parse_alerts({"mail": True, "quiet": 10})
    key = ("critical", "x")
    assert process(store, quick).ask(key).granted
    for _ in range(3):
        assert not process(store, quick).ask(key).granted
    shifted = _Later(store, 11_000)
    assert process(shifted, quick).ask(key) == (True, 3)


class _Later:
    """The same store, so many milliseconds later."""

    shared, exact = True, True

    def __init__(self, store: Store, milliseconds: int) -> None:
        self._store = store
        base = time.monotonic() if isinstance(store, MemoryStore) else time.time()
        self._now = int(base * 1000) + milliseconds

    def execute(self, ops: Any, now: int | None = None) -> Any:
        return self._store.execute(ops, self._now)


def test_a_store_that_only_this_process_has_is_not_shared() -> None:
    assert not get_store().shared
    assert shared_store() is None


DATABASE = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache"}}


def test_a_store_in_the_database_is_not_asked() -> None:
    with override_settings(CACHES=DATABASE):
        assert get_store().shared
        assert shared_store() is None


def test_a_store_that_is_known_to_be_away_is_not_asked(empty_redis: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": empty_redis, "STORE_TIMEOUT": 10}):
        store = get_store()
        assert shared_store() is store.primary
        store.breaker.failed()
        assert shared_store() is None
        store.primary.close()  # type: ignore[attr-defined]


def test_a_trigger_of_a_thousand_is_counted_to_its_threshold(store: Store) -> None:
    many = Trigger("many", threshold=1_000)
    counters = process(store, AlertOptions(triggers=(many,)))
    assert counters.count(many, 999) == 999
    assert counters.count(many, 1) == 1_000
