"""Decisions on their way into the database, and a database that is away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction

from secguard import records
from secguard.blocking.policy import BlockRequest
from secguard.blocking.replica import RECENT
from secguard.models import Block
from secguard.records import TOKEN, Synchroniser
from secguard.stores import ResilientStore
from secguard.testing import CapturedEvents, ManualClock
from tests.conftest import without_block_table
from tests.records.rows import (
    HOST,
    OTHER,
    committing,
    fail,
    in_transaction,
    is_blocked,
    later,
    news,
    row,
)

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
        assert [each.request for each in sync.unsaved] == requests
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
