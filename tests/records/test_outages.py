"""The database away, or the store: what is known holds, what was decided is saved later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from secguard import records
from secguard.blocking.policy import BlockRequest, LockRequest
from secguard.blocking.replica import RECENT, Replica
from secguard.context import context_for
from secguard.models import AccountLock, Block
from secguard.pipeline import block, get_store
from secguard.records import FULL_LOAD_INTERVAL, TOKEN, UNSHARED_INTERVAL, Synchroniser, database_now
from secguard.records.backoff import LONGEST_RETRY
from secguard.stores import ResilientStore
from secguard.stores.breaker import Breaker
from secguard.testing import CapturedEvents, ManualClock
from tests.conftest import without_block_table
from tests.records.rows import (
    HOST,
    OTHER,
    SharedStore,
    committing,
    fail,
    is_blocked,
    later,
    lift,
    news,
    row,
)

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


@committing
def test_a_decision_that_is_saved_late_lasts_from_when_it_was_taken(sync: Synchroniser, clock: ManualClock) -> None:
    blocks = [BlockRequest(HOST, 600), BlockRequest(OTHER, 60)]
    requests: list[BlockRequest | LockRequest] = [*blocks, LockRequest("anna", "a" * 32, None)]
    with without_block_table():
        records.save(requests)
        later(clock, sync, 100)
    later(clock, sync, 60)
    saved: list[Any] = [*Block.objects.order_by("network"), AccountLock.objects.get()]
    assert [str(each.reference) for each in saved] == [each.reference for each in requests]
    now = database_now("default")
    assert all(abs((now - each.created_at).total_seconds() - 160) < 10 for each in saved)
    assert all(abs((now - each.updated_at).total_seconds()) < 10 for each in saved)
    assert [each.expires_at and each.expires_at - each.created_at for each in saved] == [
        *(timedelta(seconds=600), timedelta(seconds=60), None)
    ]
    assert (is_blocked(HOST), is_blocked(OTHER)) == (True, False)


@committing
def test_a_database_that_takes_no_rows_still_says_what_was_lifted(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock, events: CapturedEvents
) -> None:
    lifted = row(OTHER)
    sync.poll()
    with refusing_blocks():
        block(BlockRequest(HOST, 3_600, rule="brute_force"), context_for(None))
        lift(lifted)
        news(store)
        later(clock, sync, 2)
        assert not is_blocked(OTHER)
        for _ in range(5):
            later(clock, sync, FULL_LOAD_INTERVAL)
        assert is_blocked(HOST)
        assert (len(sync.unsaved), len(events.of("degraded"))) == (1, 1)
    later(clock, sync, LONGEST_RETRY)
    assert Block.objects.get(lifted_at=None).network == HOST
    assert len(events.of("recovered")) == 1


@contextmanager
def refusing_blocks() -> Iterator[None]:
    """The table takes no rows, as on a full disk, but can be read and changed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TRIGGER full BEFORE INSERT ON secguard_block BEGIN SELECT RAISE(ROLLBACK, 'disk full'); END"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER full")


@committing
def test_a_database_that_is_known_to_be_away_is_not_asked_for_every_block(
    sync: Synchroniser, clock: ManualClock, django_assert_num_queries: Any
) -> None:
    with without_block_table():
        records.save([BlockRequest(HOST, 600)])
        with django_assert_num_queries(0):
            for number in range(50):
                records.save([BlockRequest(f"198.51.100.{number}", 600)])
    later(clock, sync, 60)
    assert Block.objects.count() == 51


@committing
def test_what_waits_is_saved_when_the_process_ends(sync: Synchroniser, caplog: pytest.LogCaptureFixture) -> None:
    sync.keep([BlockRequest(HOST, 600), BlockRequest(OTHER, 600)])
    with without_block_table():
        records.save_at_exit()
    assert ["before the process ended" in each.getMessage() for each in caplog.records] == [True]
    records.save_at_exit()
    records.save_at_exit()
    assert Block.objects.count() == 2
    assert len(caplog.records) == 1


# -- a store that is away ------------------------------------------------------------------------------------------


class BreakableStore(SharedStore):
    is_away = False

    def get_token(self, name: str) -> str | None:
        if self.is_away:
            raise ConnectionError
        return super().get_token(name)

    def set_token(self, name: str, value: str) -> None:
        if self.is_away:
            raise ConnectionError
        super().set_token(name, value)


@pytest.fixture
def breakable(replica: Replica, clock: ManualClock) -> BreakableStore:
    primary = BreakableStore()
    get_store.value = ResilientStore(primary, breaker=Breaker(clock))
    return primary


@committing
def test_what_no_other_process_could_be_told_is_told_when_the_store_is_back(
    breakable: BreakableStore, clock: ManualClock
) -> None:
    sync = records.get_synchroniser()
    sync.poll()
    breakable.is_away = True
    records.save([BlockRequest(HOST, 600)])
    later(clock, sync)
    breakable.is_away = False
    assert breakable.get_token(TOKEN) is None
    later(clock, sync)
    told = breakable.get_token(TOKEN)
    assert told is not None
    later(clock, sync)
    later(clock, sync)
    assert breakable.get_token(TOKEN) == told


@committing
def test_while_the_store_is_away_news_is_looked_for(breakable: BreakableStore, clock: ManualClock) -> None:
    sync = records.get_synchroniser()
    sync.poll()
    breakable.is_away = True
    later(clock, sync)
    row(HOST)
    later(clock, sync, UNSHARED_INTERVAL - 2)
    assert not is_blocked()
    later(clock, sync, 2)
    assert is_blocked()
