"""Decisions in the database, and how every process learns of them."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone as django_timezone

from secguard import records
from secguard.blocking.policy import BlockRequest
from secguard.blocking.replica import Replica
from secguard.logging import security_event_logger
from secguard.models import Block
from secguard.pipeline import get_replica, get_store
from secguard.records import FULL_LOAD_INTERVAL, UNSHARED_INTERVAL, Synchroniser, database_now
from secguard.stores import MemoryStore, ResilientStore
from secguard.testing import ManualClock
from tests.records.rows import (
    HOST,
    OTHER,
    SharedStore,
    ago,
    committing,
    fail,
    in_transaction,
    is_blocked,
    later,
    news,
    row,
)

# -- the first load ----------------------------------------------------------------------------------------------


@in_transaction
def test_the_first_poll_loads_what_is_in_force(sync: Synchroniser) -> None:
    row(HOST)
    row("198.51.100.0/24", expires_at=ago(seconds=-60))
    assert sync.due()
    sync.poll()
    assert is_blocked(HOST)
    assert is_blocked("198.51.100.77")
    assert get_replica().loaded


@in_transaction
def test_what_has_ended_or_was_lifted_is_not_loaded(sync: Synchroniser) -> None:
    row(HOST, expires_at=ago(seconds=1))
    row(OTHER, lifted_at=ago(seconds=1))
    sync.poll()
    assert len(get_replica()) == 0


@in_transaction
def test_a_block_ends_in_memory_when_it_ends_in_the_database(sync: Synchroniser, clock: ManualClock) -> None:
    row(HOST, expires_at=ago(seconds=-60))
    sync.poll()
    clock.advance(50)
    assert is_blocked()
    clock.advance(11)
    assert not is_blocked()


@in_transaction
def test_until_the_first_load_everybody_passes(sync: Synchroniser) -> None:
    row(HOST)
    assert not is_blocked()
    assert not get_replica().loaded


# -- how often -----------------------------------------------------------------------------------------------------


@in_transaction
@pytest.mark.parametrize("interval", [1, 0.25, 30])
def test_a_process_asks_once_an_interval(interval: float, clock: ManualClock) -> None:
    with override_settings(SECGUARD={"SYNC_INTERVAL": interval}):
        get_replica.value = Replica(clock)
        sync = records.get_synchroniser()
        sync.poll()
        assert not sync.due()
        clock.advance(interval * 0.99)
        assert not sync.due()
        clock.advance(interval * 0.02)
        assert sync.due()


@in_transaction
def test_a_poll_without_news_asks_no_database(
    sync: Synchroniser, clock: ManualClock, django_assert_num_queries: Any
) -> None:
    sync.poll()
    for _ in range(10):
        with django_assert_num_queries(0):
            later(clock, sync)


@in_transaction
def test_a_poll_that_is_not_due_does_nothing(
    sync: Synchroniser, store: ResilientStore, django_assert_num_queries: Any
) -> None:
    sync.poll()
    news(store)
    with django_assert_num_queries(0):
        sync.poll()


@committing
def test_of_many_threads_one_asks(sync: Synchroniser, store: ResilientStore, clock: ManualClock) -> None:
    sync.poll()
    asked = 0

    def counted(name: str) -> str | None:
        nonlocal asked
        asked += 1
        return None

    store.get_token = counted  # type: ignore[method-assign]
    clock.advance(1)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: sync.poll(), range(200)))
    assert asked == 1


# -- news ----------------------------------------------------------------------------------------------------------


@in_transaction
def test_a_new_token_brings_the_changes(sync: Synchroniser, store: ResilientStore, clock: ManualClock) -> None:
    sync.poll()
    row(HOST)
    later(clock, sync)
    assert not is_blocked()
    news(store)
    later(clock, sync)
    assert is_blocked()


@in_transaction
def test_a_block_that_was_lifted_elsewhere_is_lifted_here(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock
) -> None:
    block = row(HOST)
    sync.poll()
    now = database_now("default")
    Block.objects.filter(pk=block.pk).update(lifted_at=now, updated_at=now)
    news(store)
    later(clock, sync)
    assert not is_blocked()


@in_transaction
@pytest.mark.parametrize("shared", [True, False])
def test_what_was_lifted_elsewhere_counts_from_nought_here_if_no_other_process_could_do_that(
    shared: bool, clock: ManualClock
) -> None:
    get_replica.value = Replica(clock)
    get_store.value = ResilientStore(SharedStore() if shared else MemoryStore())
    sync = records.get_synchroniser()
    fail(5)
    sync.poll()
    now = database_now("default")
    Block.objects.update(lifted_at=now, updated_at=now)
    news(get_store())
    later(clock, sync, UNSHARED_INTERVAL)
    assert not is_blocked()
    # A shared store's counters were reset by whoever lifted the block, or kept on purpose.
    assert security_event_logger.get_failed_login_count(HOST) == (5 if shared else 0)


@in_transaction
def test_a_change_that_was_committed_late_is_seen_all_the_same(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock
) -> None:
    sync.poll()
    row(HOST, created_at=ago(seconds=50), updated_at=ago(seconds=50))
    news(store)
    later(clock, sync)
    assert is_blocked()


@in_transaction
def test_what_was_missed_all_the_same_is_seen_within_a_minute(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock
) -> None:
    sync.poll()
    row(HOST, created_at=ago(hours=1), updated_at=ago(hours=1))
    news(store)
    later(clock, sync)
    assert not is_blocked()
    later(clock, sync, FULL_LOAD_INTERVAL)
    assert is_blocked()


@in_transaction
def test_a_full_load_forgets_rows_that_are_gone(sync: Synchroniser, clock: ManualClock) -> None:
    block = row(HOST)
    sync.poll()
    block.delete()
    later(clock, sync, FULL_LOAD_INTERVAL)
    assert not is_blocked()


@in_transaction
def test_a_token_that_the_store_forgot_is_news(sync: Synchroniser, store: ResilientStore, clock: ManualClock) -> None:
    news(store)
    sync.poll()
    row(HOST)
    store.primary._tokens.clear()  # type: ignore[attr-defined]
    later(clock, sync)
    assert is_blocked()


@in_transaction
def test_where_no_other_process_can_say_that_there_is_news_it_is_looked_for(clock: ManualClock) -> None:
    get_replica.value = Replica(clock)
    sync = records.get_synchroniser()
    assert not get_store().shared
    sync.poll()
    row(HOST)
    later(clock, sync, UNSHARED_INTERVAL - 1)
    assert not is_blocked()
    later(clock, sync, 1)
    assert is_blocked()


@committing
def test_a_coroutine_polls_without_blocking_its_event_loop(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock
) -> None:
    row(HOST)
    asyncio.run(sync.apoll())
    assert is_blocked()
    row(OTHER)
    news(store)
    asyncio.run(sync.apoll())
    assert not is_blocked(OTHER)  # not due yet
    clock.advance(1)
    asyncio.run(sync.apoll())
    assert is_blocked(OTHER)


@in_transaction
async def test_a_coroutine_without_news_uses_no_thread_and_no_database(
    sync: Synchroniser, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync._next_check, sync._token = clock() + FULL_LOAD_INTERVAL, None

    def no_load(token: str | None) -> None:
        pytest.fail("nothing was to be read")

    monkeypatch.setattr(sync, "refresh", no_load)
    await sync.apoll()
    assert not sync.due()


# -- whose clock ---------------------------------------------------------------------------------------------------


@in_transaction
@pytest.mark.parametrize("off", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_wrong_clock_of_the_application_shortens_and_prolongs_no_block(
    off: timedelta, sync: Synchroniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + off.total_seconds())
    monkeypatch.setattr(django_timezone, "now", lambda: datetime.now(timezone.utc) + off)
    records.insert([BlockRequest(HOST, 900)])
    sync.poll()
    assert is_blocked()
    block = Block.objects.get()
    assert block.expires_at is not None
    assert block.expires_at - block.created_at == timedelta(seconds=900)
    assert abs(block.created_at - datetime.now(timezone.utc)) < timedelta(minutes=1)
    assert [each.pk for each in records.active_blocks()] == [block.pk]


@in_transaction
@pytest.mark.parametrize("use_tz", [True, False])
@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns", "Asia/Kathmandu"])
def test_blocks_last_as_long_in_every_time_zone(use_tz: bool, zone: str, clock: ManualClock) -> None:
    with override_settings(USE_TZ=use_tz, TIME_ZONE=zone):
        get_replica.value = Replica(clock)
        sync = Synchroniser()
        records.insert([BlockRequest(HOST, 60)])
        sync.poll()
        assert len(records.active_blocks()) == 1
        assert is_blocked()
        clock.advance(61)
        assert not is_blocked()
