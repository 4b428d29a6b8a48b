"""Decisions on their way into the database: one, many, and very many at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from secguard import records
from secguard.blocking.policy import BlockRequest
from secguard.context import context_for
from secguard.models import Block
from secguard.pipeline import block, get_replica
from secguard.records import TOKEN, Recorder, Synchroniser, get_recorder
from secguard.records.recorder import MAX_OWN_ROWS_PER_SECOND
from secguard.records.synchroniser import MAX_SAVED_AT_ONCE
from secguard.stores import ResilientStore
from secguard.testing import ManualClock
from tests.records.rows import (
    HOST,
    OTHER,
    committing,
    in_transaction,
    is_blocked,
    later,
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


# -- very many at once ---------------------------------------------------------------------------------------------


@committing
def test_of_a_storm_of_attackers_some_are_saved_at_once_and_the_rest_together(
    sync: Synchroniser, clock: ManualClock, django_assert_max_num_queries: Any
) -> None:
    sync.poll()
    get_recorder.value = Recorder(clock)
    attackers = [f"10.0.{n >> 8}.{n & 255}" for n in range(1_000)]
    with CaptureQueriesContext(connection) as queries:
        for address in attackers:
            block(BlockRequest(address, 3_600, rule="brute_force"), context_for(None))
    assert all(map(is_blocked, attackers))
    assert Block.objects.count() == MAX_SAVED_AT_ONCE
    ours = [query for query in queries if "secguard_eventrecord" not in query["sql"]]  # those are bounded elsewhere
    assert len(ours) <= 4 * MAX_SAVED_AT_ONCE + 2 * MAX_OWN_ROWS_PER_SECOND
    with django_assert_max_num_queries(40):  # SQLite of old takes few rows with one statement
        later(clock, sync)
    assert (Block.objects.count(), len(sync.unsaved)) == (1_000, 0)
    assert len(get_replica()) == get_replica().active() == 1_000


@committing
def test_in_the_next_second_blocks_are_saved_at_once_again(sync: Synchroniser, clock: ManualClock) -> None:
    sync.poll()
    records.save([BlockRequest(f"10.0.{n >> 8}.{n & 255}", 60) for n in range(MAX_SAVED_AT_ONCE + 5)])
    assert (Block.objects.count(), len(sync.unsaved)) == (MAX_SAVED_AT_ONCE, 5)
    records.save([BlockRequest(HOST, 60)])
    assert Block.objects.count() == MAX_SAVED_AT_ONCE
    clock.advance(1)  # where no request polls
    records.save([BlockRequest(OTHER, 60)])
    assert (Block.objects.count(), len(sync.unsaved)) == (MAX_SAVED_AT_ONCE + 7, 0)


@in_transaction
def test_an_operator_sees_and_lifts_what_still_waits(sync: Synchroniser, clock: ManualClock) -> None:
    sync.poll()
    attackers = [f"10.0.{n >> 8}.{n & 255}" for n in range(MAX_SAVED_AT_ONCE + 5)]
    for address in attackers:
        block(BlockRequest(address, 600, rule="brute_force"), context_for(None))
    last = attackers[-1]
    assert records.unblock_network(last) == 1
    assert not is_blocked(last)
    later(clock, sync)
    assert not is_blocked(last)
    assert len(records.active_blocks()) == MAX_SAVED_AT_ONCE + 4
