"""Blocks in the database, and how every process learns of them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction
from django.test import override_settings
from django.utils import timezone as django_timezone

from secguard import records
from secguard.blocking.policy import BlockRequest
from secguard.blocking.replica import RECENT, Replica
from secguard.conf import get_settings
from secguard.context import get_resolver
from secguard.logging import security_event_logger
from secguard.models import Block
from secguard.pipeline import get_replica, get_store
from secguard.records import FULL_LOAD_INTERVAL, TOKEN, UNSHARED_INTERVAL, Synchroniser, database_now
from secguard.signals import address_blocked, address_unblocked
from secguard.stores import MemoryStore, ResilientStore
from secguard.testing import CapturedEvents, ManualClock, capture_events
from tests.conftest import without_block_table

HOST, OTHER = "203.0.113.7", "203.0.113.8"

in_transaction = pytest.mark.django_db
committing = pytest.mark.django_db(transaction=True)


class SharedStore(MemoryStore):
    """Stands for a server: other processes may have changed a token."""

    shared = True


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def replica(clock: ManualClock) -> Replica:
    """This process's replica, on the test's clock."""
    get_replica.value = Replica(clock)
    return get_replica()


@pytest.fixture
def store() -> ResilientStore:
    get_store.value = ResilientStore(SharedStore())
    return get_store()


@pytest.fixture
def sync(replica: Replica, store: ResilientStore) -> Synchroniser:
    return records.get_synchroniser()


@pytest.fixture
def events() -> Iterator[CapturedEvents]:
    with capture_events() as captured:
        yield captured


def is_blocked(text: str = HOST) -> bool:
    address = get_resolver().address(text)
    assert address is not None
    return get_replica().find(address) is not None


def row(network: str = HOST, **fields: Any) -> Block:
    """A block that another process saved."""
    now = database_now("default")
    return Block.objects.create(**{"network": network, "created_at": now, "updated_at": now, **fields})


def ago(**span: float) -> datetime:
    return database_now("default") - timedelta(**span)


def news(store: ResilientStore) -> None:
    """Another process says that the blocks have changed."""
    store.set_token(TOKEN, uuid.uuid4().hex)


def later(clock: ManualClock, sync: Synchroniser, seconds: float = 1.0) -> None:
    clock.advance(seconds)
    assert sync.due()
    sync.poll()


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
    sync._next_full, sync._token = clock() + FULL_LOAD_INTERVAL, None

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


# -- saving --------------------------------------------------------------------------------------------------------


@in_transaction
def test_a_saved_block_is_a_row(sync: Synchroniser) -> None:
    request = BlockRequest("2001:db8::/64", 60, "brute_force", "5 events", "anna")
    records.save([request])
    block = Block.objects.get()
    assert (block.network, block.rule, block.reason, block.created_by) == (
        *("2001:db8::/64", "brute_force", "5 events", "anna"),
    )
    assert str(block.reference) == request.reference
    assert str(block) == "2001:db8::/64"


@in_transaction
def test_a_block_for_good_never_expires(sync: Synchroniser) -> None:
    records.save([BlockRequest(HOST, None)])
    assert Block.objects.get().expires_at is None


@in_transaction
def test_a_block_that_is_saved_twice_is_one_row(sync: Synchroniser) -> None:
    request = BlockRequest(HOST, 60)
    records.save([request])
    records.save([request])
    assert Block.objects.count() == 1


@in_transaction
def test_what_is_too_long_for_its_column_is_cut(sync: Synchroniser) -> None:
    records.save([BlockRequest(HOST, 60, reason="r" * 10_000, by="b" * 10_000)])
    block = Block.objects.get()
    assert (len(block.reason), len(block.created_by)) == (255, 150)


@committing
def test_saving_tells_the_other_processes(sync: Synchroniser, store: ResilientStore) -> None:
    before = store.get_token(TOKEN)
    records.save([BlockRequest(HOST, 60)])
    assert store.get_token(TOKEN) != before


@committing
def test_the_others_are_told_after_the_commit(sync: Synchroniser, store: ResilientStore) -> None:
    with transaction.atomic():
        records.save([BlockRequest(HOST, 60)])
        assert store.get_token(TOKEN) is None
    assert store.get_token(TOKEN) is not None


@committing
def test_many_threads_save_every_block_once(sync: Synchroniser) -> None:
    requests = [BlockRequest(f"198.51.100.{n}", 60) for n in range(100)]

    def save(request: BlockRequest) -> None:
        try:
            records.save([request])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, requests))
    sync.refresh(None)  # what SQLite's lock turned away is saved with the next look
    assert sorted(Block.objects.values_list("network", flat=True)) == sorted(each.network for each in requests)


# -- a database that is away ---------------------------------------------------------------------------------------


@committing
def test_a_database_that_is_away_is_said_once_and_known_blocks_hold(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock, events: CapturedEvents
) -> None:
    row(HOST)
    sync.poll()
    with without_block_table():
        for _ in range(200):
            clock.advance(1)
            news(store)
            sync.poll()
        assert is_blocked()
    (degraded,) = events.of("degraded")
    assert degraded.context["component"] == "database"
    assert "secguard_block" in degraded.context["error"]
    assert "migrate" in degraded.context["hint"]


@committing
def test_a_database_that_is_back_is_said_and_read(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock, events: CapturedEvents
) -> None:
    with without_block_table():
        sync.poll()
    row(HOST)
    later(clock, sync, 2)
    assert is_blocked()
    (recovered,) = events.of("recovered")
    assert recovered.context["component"] == "database"
    assert recovered.context["seconds"] == 2
    assert recovered.context["lost_rows"] == 0


@committing
def test_a_database_that_stays_away_is_asked_ever_less_often(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock
) -> None:
    waited = []
    with without_block_table():
        for _ in range(10):
            sync.poll()
            since = clock()
            while not sync.due():
                clock.advance(0.5)
            waited.append(clock() - since)
    assert waited == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


@committing
def test_a_database_that_was_back_is_asked_at_once_the_next_time(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock
) -> None:
    with without_block_table():
        for _ in range(5):
            sync.poll()
            clock.advance(60)
    sync.poll()
    with without_block_table():
        news(store)
        later(clock, sync)
        clock.advance(1)
        assert sync.due()


@committing
def test_blocks_that_cannot_be_saved_are_kept_and_saved_later(
    sync: Synchroniser, clock: ManualClock, events: CapturedEvents
) -> None:
    requests = [BlockRequest(f"198.51.100.{n}", 600) for n in range(3)]
    with without_block_table():
        for request in requests:
            records.save([request])
        assert list(sync.unsaved) == requests
    assert len(events.of("degraded")) == 1
    later(clock, sync, 60)
    assert not sync.unsaved
    assert list(Block.objects.order_by("network").values_list("network", flat=True)) == [
        request.network for request in requests
    ]
    assert len(events.of("recovered")) == 1


@committing
def test_a_block_that_is_kept_is_in_force_meanwhile(sync: Synchroniser, clock: ManualClock) -> None:
    from secguard.context import context_for
    from secguard.pipeline import block

    with without_block_table():
        block(BlockRequest(HOST, 3600), context_for(None))
        assert is_blocked()
        clock.advance(2 * RECENT)
        sync.poll()
        assert is_blocked()
    sync.poll()
    later(clock, sync, 60)
    assert is_blocked()


@committing
def test_a_block_that_cannot_be_a_row_keeps_no_other_out(sync: Synchroniser, caplog: pytest.LogCaptureFixture) -> None:
    impossible = BlockRequest("203.0.113.99", 1e15)  # ends after the last year there is
    records.save([BlockRequest(HOST, 60), impossible, BlockRequest(OTHER, 60)])
    assert sorted(Block.objects.values_list("network", flat=True)) == [HOST, OTHER]
    assert (len(sync.unsaved), sync.lost_rows) == (0, 1)
    assert "203.0.113.99" in "".join(record.getMessage() for record in caplog.records if record.name == "secguard")


@committing
@pytest.mark.parametrize("ends", ["committed", "rolled back"])
def test_a_block_raised_in_a_transaction_outlives_it_however_it_ends(
    ends: str, sync: Synchroniser, clock: ManualClock
) -> None:
    def work() -> None:
        with transaction.atomic():
            fail(5)
            assert is_blocked()
            assert not Block.objects.exists()
            if ends == "rolled back":
                raise LookupError

    if ends == "committed":
        work()
    else:
        with pytest.raises(LookupError):
            work()
        assert is_blocked()
        later(clock, sync)
    assert Block.objects.get().network == HOST


@committing
def test_what_is_kept_is_bounded_and_what_is_lost_is_said(
    sync: Synchroniser, clock: ManualClock, events: CapturedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records.synchroniser, "MAX_UNSAVED", 10)
    with without_block_table():
        for n in range(25):
            records.save([BlockRequest(f"198.51.100.{n}", 600)])
        assert len(sync.unsaved) <= 10
    later(clock, sync, 60)
    assert Block.objects.filter(network="198.51.100.24").exists()
    assert Block.objects.count() + sync.lost_rows == 25
    assert events.of("recovered")[0].context["lost_rows"] == sync.lost_rows > 0


# -- what operators do ---------------------------------------------------------------------------------------------


@in_transaction
def test_an_operators_block_is_a_row_in_force_at_once_and_an_event(sync: Synchroniser, events: CapturedEvents) -> None:
    heard: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        heard.append(kwargs)

    address_blocked.connect(receive)
    request = records.block_network(" 203.0.113.7/32 ", duration=60, reason="abuse", by="anna")
    assert is_blocked()
    block = Block.objects.get()
    assert (block.network, block.reason, block.created_by) == (HOST, "abuse", "anna")
    (event,) = events.of("address_blocked")
    named = ("subject", "by", "reason", "duration_seconds", "reference")
    assert [event.context[name] for name in named] == [HOST, "anna", "abuse", 60, request.reference]
    assert (heard[0]["network"], heard[0]["duration"], heard[0]["reference"]) == (HOST, 60, request.reference)


@in_transaction
def test_an_operators_unblock_is_in_force_at_once_and_an_event(sync: Synchroniser, events: CapturedEvents) -> None:
    heard: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        heard.append(kwargs)

    address_unblocked.connect(receive)
    for _ in range(2):
        records.block_network(HOST, duration=60)
    assert records.unblock_network(HOST, reason="a mistake", by="bert") == 2
    assert not is_blocked()
    assert {(block.lifted_by, block.lift_reason) for block in Block.objects.all()} == {("bert", "a mistake")}
    assert all(block.lifted_at for block in Block.objects.all())
    (event,) = events.of("address_unblocked")
    named = ("subject", "by", "reason", "count")
    assert [event.context[name] for name in named] == [HOST, "bert", "a mistake", 2]
    assert (heard[0]["network"], heard[0]["by"]) == (HOST, "bert")


@in_transaction
def test_what_was_not_blocked_is_no_event_when_it_is_lifted(sync: Synchroniser, events: CapturedEvents) -> None:
    assert records.unblock_network(HOST) == 0
    assert events == []


@in_transaction
def test_a_block_that_has_ended_is_not_lifted_again(sync: Synchroniser) -> None:
    row(HOST, expires_at=ago(seconds=1))
    assert records.unblock_network(HOST) == 0
    assert Block.objects.get().lifted_at is None


@in_transaction
def test_lifting_a_network_lifts_nothing_inside_or_around_it(sync: Synchroniser) -> None:
    for network in (HOST, "203.0.113.0/24", "203.0.0.0/16"):
        records.block_network(network)
    assert records.unblock_network("203.0.113.0/24") == 1
    assert sorted(block.network for block in records.active_blocks()) == ["203.0.0.0/16", HOST]


@committing
def test_operators_are_told_when_the_database_is_away(sync: Synchroniser) -> None:
    with without_block_table():
        for verb in (records.block_network, records.unblock_network):
            with pytest.raises(DatabaseError):
                verb(HOST)
        with pytest.raises(DatabaseError):
            records.active_blocks()


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7/32", "203.0.113.7"),
        (" 203.0.113.0/24 ", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("2001:DB8:0::/64", "2001:db8::/64"),
        ("2001:db8::7/128", "2001:db8::7/128"),
        ("2001:db8::/48", "2001:db8::/48"),
    ],
)
def test_a_network_has_one_spelling(given: str, canonical: str) -> None:
    assert records.canonical_network(given) == canonical
    assert records.canonical_network(canonical) == canonical


@pytest.mark.parametrize(
    "given", ["", "*", "{}", "203.0.113.*", "203.0.113.7/24", "203.0.113", "example.org", "0.0.0.0/33", "::/129", "7"]
)
def test_what_is_no_network_is_refused(given: str) -> None:
    for verb in (records.canonical_network, records.block_network, records.unblock_network):
        with pytest.raises(ValueError, match="network"):
            verb(given)


# -- lifting closes what led to the block -------------------------------------------------------------------------


def fail(number: int, address: str = HOST) -> None:
    for _ in range(number):
        security_event_logger.log_login_failed(ip_address=address, email="anna@example.com")


@in_transaction
@pytest.mark.parametrize("address", [HOST, "2001:db8::7"])
def test_lifting_a_block_closes_its_threat_and_counts_from_nought(
    address: str, sync: Synchroniser, events: CapturedEvents
) -> None:
    fail(5, address)
    assert is_blocked(address)
    assert records.unblock_network(address) == 1
    assert not security_event_logger.is_suspicious_activity(ip_address=address)
    assert security_event_logger.get_failed_login_count(address) == 0
    fail(4, address)
    assert not is_blocked(address)
    fail(1, address)
    assert is_blocked(address)
    assert len(events.of("suspicious_activity")) == 2


@in_transaction
def test_counters_can_be_kept(sync: Synchroniser) -> None:
    fail(5)
    records.unblock_network(HOST, keep_counters=True)
    assert not is_blocked()
    assert security_event_logger.get_failed_login_count(HOST) == 5
    assert security_event_logger.is_suspicious_activity(ip_address=HOST)


@in_transaction
@pytest.mark.parametrize(
    ("network", "address"), [("198.51.100.0/24", "198.51.100.{}"), ("2001:db8::/48", "2001:db8:0:{}::1")]
)
def test_lifting_a_network_closes_the_threat_of_the_network(
    network: str, address: str, clock: ManualClock, events: CapturedEvents
) -> None:
    rule = {"events": "login_failed", "subject": "network", "threshold": 6, "window": 600, "action": "block"}
    with override_settings(SECGUARD={"RULES": {"neighbours": rule}}):
        get_replica.value = Replica(clock)
        for n in range(6):
            fail(1, address.format(n))
        assert is_blocked(address.format(77))
        assert records.unblock_network(network) == 1
        for n in range(5):
            fail(1, address.format(n))
        assert not is_blocked(address.format(77))
        fail(1, address.format(5))
        assert is_blocked(address.format(77))
    assert [event.context["subject"] for event in events.of("suspicious_activity")] == [network, network]


@in_transaction
def test_the_settings_say_how_long_an_automatic_block_lasts(sync: Synchroniser) -> None:
    fail(5)
    block = Block.objects.get()
    assert block.expires_at is not None
    assert (block.expires_at - block.created_at).total_seconds() == get_settings().block_duration
    assert block.rule == "brute_force"
