"""The tables and what is held of them in memory: allowed networks and locks too, many rows, and the minute's check."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from secguard import records
from secguard.blocking.policy import BlockRequest
from secguard.blocking.replica import RECENT, BlockEntry, Replica
from secguard.context import context_for
from secguard.logging import get_event_logger, security_event_logger
from secguard.models import AllowedNetwork, Block
from secguard.pipeline import block, get_locks, get_replica, get_store
from secguard.records import FULL_LOAD_INTERVAL, UNSHARED_INTERVAL, Synchroniser, database_now
from secguard.records.feeds import Feed
from secguard.stores import MemoryStore, ResilientStore
from secguard.testing import ManualClock
from tests.records.rows import (
    HOST,
    OTHER,
    SharedStore,
    ago,
    allowed_row,
    client,
    in_transaction,
    is_allowed,
    is_blocked,
    later,
    lift,
    lock_row,
    news,
    row,
)

ANNA, BERT = "a" * 32, "b" * 32


class Loads:
    """What was read: tables that were read as a whole, and entries that were added or removed one by one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, replica: Replica) -> None:
        self.whole: list[str] = []
        self.added: list[str] = []
        self.removed: list[str] = []
        read_all, add_all, remove_all = Feed.read_all, replica.add_all, replica.remove_all

        def noted(feed: Feed, *args: Any) -> None:
            self.whole.append(feed.model.__name__)
            read_all(feed, *args)

        def adding(entries: Any) -> None:
            entries = list(entries)
            self.added += [entry.network for entry in entries]
            add_all(entries)

        def removing(blocks: Any) -> set[str]:
            blocks = list(blocks)
            self.removed += [network for network, _ in blocks]
            return remove_all(blocks)

        monkeypatch.setattr(Feed, "read_all", noted)
        monkeypatch.setattr(replica, "add_all", adding)
        monkeypatch.setattr(replica, "remove_all", removing)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch, replica: Replica) -> Loads:
    return Loads(monkeypatch, replica)


def rows(count: int, **fields: Any) -> list[Block]:
    """Many blocks, saved together."""
    now = database_now("default")
    made = {"created_at": now, "updated_at": now, **fields}
    return Block.objects.bulk_create(Block(network=f"10.{n >> 8}.{n & 255}.0/24", **made) for n in range(count))


# -- allowed networks ------------------------------------------------------------------------------------------------


@in_transaction
def test_allowed_networks_are_loaded_and_kept_in_step(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock
) -> None:
    first = allowed_row("203.0.113.0/24")
    allowed_row("198.51.100.1", expires_at=ago(seconds=1))
    allowed_row("198.51.100.2", lifted_at=ago(seconds=1))
    sync.poll()
    assert is_allowed(HOST)
    assert not any(map(is_allowed, ("198.51.100.1", "198.51.100.2")))
    allowed_row("2001:db8::/64", expires_at=ago(seconds=-60))
    lift(first)
    news(store)
    later(clock, sync)
    assert not is_allowed(HOST)
    assert is_allowed("2001:db8::7")
    clock.advance(60)
    assert not is_allowed("2001:db8::7")


@in_transaction
def test_an_allowed_network_that_is_gone_is_noticed_within_a_minute(sync: Synchroniser, clock: ManualClock) -> None:
    allowed_row(HOST)
    sync.poll()
    AllowedNetwork.objects.all().delete()
    later(clock, sync, FULL_LOAD_INTERVAL)
    assert not is_allowed(HOST)


# -- locks -----------------------------------------------------------------------------------------------------------


@in_transaction
def test_locks_are_loaded_and_kept_in_step(sync: Synchroniser, store: ResilientStore, clock: ManualClock) -> None:
    first = lock_row(ANNA)
    sync.poll()
    found = get_locks().find(ANNA)
    assert found is not None
    assert (found.reference, found.scope) == (str(first.reference), "all")
    lock_row(BERT, scope="unknown_devices", expires_at=ago(seconds=-60))
    lift(first)
    news(store)
    later(clock, sync)
    assert get_locks().find(ANNA) is None
    assert get_locks().find(BERT) is not None
    assert get_locks().find(BERT, known_device=True) is None
    clock.advance(60)
    assert get_locks().find(BERT) is None


@in_transaction
def test_locks_that_have_ended_are_forgotten(sync: Synchroniser, clock: ManualClock) -> None:
    lock = lock_row(ANNA, expires_at=ago(seconds=-60))
    lock_row(BERT)
    sync.poll()
    assert len(get_locks()) == 2
    type(lock).objects.filter(pk=lock.pk).update(expires_at=database_now("default"))  # the database's clock goes on
    later(clock, sync, FULL_LOAD_INTERVAL)
    assert len(get_locks()) == 1


@in_transaction
@pytest.mark.parametrize("shared", [True, False])
def test_an_account_that_was_unlocked_elsewhere_counts_from_nought_here_if_no_other_process_could_do_that(
    shared: bool, clock: ManualClock
) -> None:
    get_store.value = ResilientStore(SharedStore() if shared else MemoryStore())
    get_replica.value = Replica(clock)
    sync = records.get_synchroniser()
    for number in range(25):
        security_event_logger.log_login_failed(ip_address=f"198.51.100.{number}", email="anna@example.com")
    assert security_event_logger.is_suspicious_activity(email="anna@example.com")
    lock = lock_row(get_event_logger().pipeline.detector.account_digest("anna@example.com"))
    sync.poll()
    lift(lock)
    news(get_store())
    later(clock, sync, UNSHARED_INTERVAL)
    assert get_locks().find(lock.digest) is None
    assert security_event_logger.is_suspicious_activity(email="anna@example.com") == shared


# -- many rows: what changes is read, and nothing else ---------------------------------------------------------------


@in_transaction
def test_of_many_rows_only_those_that_changed_are_read(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock, loads: Loads, django_assert_max_num_queries: Any
) -> None:
    many = rows(1_000, updated_at=ago(seconds=5))
    sync.poll()
    assert (loads.whole, loads.added) == (["Block", "AllowedNetwork", "AccountLock"], [])
    row(HOST)
    row(OTHER)
    for each in many[:3]:
        lift(each)
    news(store)
    with django_assert_max_num_queries(5):
        later(clock, sync)
    assert sorted(loads.added) == [HOST, OTHER]
    assert sorted(loads.removed) == [each.network for each in many[:3]]
    assert [is_blocked(each.network.replace("0/24", "7")) for each in many[2:4]] == [False, True]
    assert len(loads.whole) == 3


@in_transaction
def test_what_is_known_of_the_last_minute_is_not_read_again(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock, loads: Loads, django_assert_num_queries: Any
) -> None:
    rows(300)
    sync.poll()
    for _ in range(3):
        news(store)
        with django_assert_num_queries(4):  # the time, and one look at each table
            later(clock, sync)
    assert loads.added == []


@in_transaction
def test_rows_with_the_same_stamp_are_all_read_though_one_comes_later(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock
) -> None:
    stamp = database_now("default")
    row(HOST, updated_at=stamp)
    sync.poll()
    row(OTHER, updated_at=stamp)
    news(store)
    later(clock, sync)
    assert is_blocked(OTHER)


@in_transaction
def test_a_row_that_takes_anothers_place_in_the_count_is_seen(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock
) -> None:
    stamp = ago(seconds=1)
    first, *_ = [row(f"198.51.100.{n}", updated_at=stamp) for n in range(3)]
    sync.poll()
    lift(first)
    row(HOST, updated_at=stamp)
    news(store)
    later(clock, sync)
    assert (is_blocked(HOST), is_blocked(first.network), is_blocked("198.51.100.1")) == (True, False, True)


@in_transaction
def test_more_stamps_than_a_query_takes_are_read_too(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock
) -> None:
    sync.poll()
    for number in range(150):
        row(f"198.51.100.{number}", updated_at=ago(seconds=5) + timedelta(milliseconds=number))
    news(store)
    later(clock, sync)
    assert len(get_replica()) == 150


# -- the minute's check ----------------------------------------------------------------------------------------------


@in_transaction
def test_what_agrees_with_the_database_is_not_loaded_again(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock, loads: Loads
) -> None:
    many = rows(50)
    sync.poll()
    for number in range(5):
        row(f"198.51.100.{number}", expires_at=ago(seconds=-600))
        lift(many[number])
        if number % 2:
            news(store)
        later(clock, sync)
    for _ in range(3):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            later(clock, sync, FULL_LOAD_INTERVAL)
        assert len(queries) <= 11
    assert len(loads.whole) == 3
    assert len(get_replica()) == 50


@in_transaction
def test_rows_that_end_are_no_reason_to_load_all(sync: Synchroniser, clock: ManualClock, loads: Loads) -> None:
    ending = rows(20, expires_at=ago(seconds=-3_000))
    row(HOST)
    sync.poll()
    for passed in range(4):
        # The database's clock goes on: one more row lies behind it each time.
        Block.objects.filter(pk=ending[passed].pk).update(expires_at=database_now("default"))
        later(clock, sync, FULL_LOAD_INTERVAL)
    assert len(loads.whole) == 3


@in_transaction
@pytest.mark.parametrize("change", ["deleted", "lifted", "added", "exchanged"])
def test_a_difference_that_no_stamp_tells_is_found_within_a_minute(
    change: str, sync: Synchroniser, store: ResilientStore, clock: ManualClock, loads: Loads
) -> None:
    first = row(HOST)
    rows(10)
    sync.poll()
    news(store)
    later(clock, sync)
    if change in ("deleted", "exchanged"):
        first.delete()
    if change == "lifted":
        Block.objects.filter(pk=first.pk).update(lifted_at=ago(hours=1), updated_at=ago(hours=1))
    if change in ("added", "exchanged"):
        row(OTHER, created_at=ago(hours=1), updated_at=ago(hours=1))
    later(clock, sync, FULL_LOAD_INTERVAL)
    assert is_blocked(HOST) == (change == "added")
    assert is_blocked(OTHER) == (change in ("added", "exchanged"))
    assert loads.whole == ["Block", "AllowedNetwork", "AccountLock", "Block"]
    later(clock, sync, FULL_LOAD_INTERVAL)
    assert len(loads.whole) == 4


@in_transaction
def test_what_others_commit_during_a_check_is_no_reason_to_load_all(
    sync: Synchroniser, clock: ManualClock, loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = rows(10, updated_at=ago(seconds=5))
    sync.poll()
    agrees = Feed.agrees
    interrupted: list[bool] = []

    def interrupting(feed: Feed, *args: Any) -> bool:
        if feed.model is Block and not interrupted:
            interrupted.append(True)
            lift(many[0])
            row(HOST)
        return agrees(feed, *args)

    monkeypatch.setattr(Feed, "agrees", interrupting)
    later(clock, sync, FULL_LOAD_INTERVAL)
    assert interrupted
    assert is_blocked(HOST)
    assert len(loads.whole) == 3


@in_transaction
def test_a_load_that_failed_half_way_is_done_again(
    sync: Synchroniser, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    row(HOST)
    allowed_row(OTHER)
    broken = monkeypatch.context()
    with broken as patch:
        patch.setattr(get_replica(), "replace_allowed", lambda entries: 1 / 0)
        sync.poll()
    assert is_blocked(HOST)
    assert not is_allowed(OTHER)
    later(clock, sync, 2)
    assert is_allowed(OTHER)


@in_transaction
def test_a_row_whose_network_is_none_keeps_no_other_out(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    broken = row("nonsense")
    row(HOST)
    allowed_row("nonsense too")
    sync.poll()
    assert is_blocked(HOST)
    lift(broken)
    row(OTHER)
    row("more nonsense")
    news(store)
    later(clock, sync)
    assert is_blocked(OTHER)
    told = [record.getMessage() for record in caplog.records if record.name == "secguard"]
    assert len(told) == 1  # the others within a minute
    assert str(broken.reference) in told[0]


# -- lifted elsewhere ------------------------------------------------------------------------------------------------


@in_transaction
def test_a_block_that_was_lifted_before_this_process_read_it_is_lifted_here(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock
) -> None:
    sync.poll()
    request = BlockRequest(HOST, 3_600, rule="brute_force")
    block(request, context_for(None), saved=True)
    records.insert([request])
    lift(Block.objects.get())
    news(store)
    later(clock, sync)
    assert not is_blocked()


@in_transaction
def test_a_block_that_was_lifted_before_it_was_raised_here_is_not_raised(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock
) -> None:
    sync.poll()
    request = BlockRequest(HOST, 3_600, by="anna")
    records.insert([request])
    lift(Block.objects.get())
    news(store)
    later(clock, sync)
    block(request, context_for(None), saved=True)
    assert not is_blocked()


@in_transaction
def test_a_block_raised_here_takes_the_end_that_the_database_says(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock
) -> None:
    sync.poll()
    request = BlockRequest(HOST, 60)
    block(request, context_for(None), saved=True)
    clock.advance(RECENT)
    records.insert([request])
    later(clock, sync)
    found: BlockEntry | None = get_replica().find(client())
    assert found is not None
    assert found.expires > clock() + 55
