"""How old what a process knows is: nothing, as long as somebody who knows says that there is no news."""

from __future__ import annotations

import pytest

from secguard.pipeline import get_store
from secguard.records import Synchroniser, after_poll
from secguard.testing import ManualClock
from tests.conftest import without_block_table
from tests.records.rows import in_transaction, row


def poll(sync: Synchroniser, clock: ManualClock, seconds: float) -> float:
    """→ how old it is, so many seconds later and once asked."""
    clock.advance(seconds)
    sync.poll()
    return sync.age


@in_transaction
def test_before_the_first_load_it_is_as_old_as_the_process(sync: Synchroniser, clock: ManualClock) -> None:
    clock.advance(7)
    assert sync.age == 7
    sync.poll()
    assert sync.age == 0


@in_transaction
@pytest.mark.parametrize("token", ["one", None])
def test_a_token_that_is_the_same_says_that_there_is_no_news(
    sync: Synchroniser, clock: ManualClock, token: str | None
) -> None:
    if token:
        get_store().set_token("blocks", token)
    assert poll(sync, clock, 1) == 0
    assert poll(sync, clock, 20) == 0
    clock.advance(3)
    assert sync.age == 3


@in_transaction
async def test_the_same_goes_for_an_event_loop(sync: Synchroniser, clock: ManualClock) -> None:
    get_store().set_token("blocks", "one")
    await sync.apoll()
    clock.advance(20)
    await sync.apoll()
    assert sync.age == 0


@in_transaction
def test_a_store_that_is_away_says_nothing_and_the_database_does(sync: Synchroniser, clock: ManualClock) -> None:
    get_store().set_token("blocks", "one")
    poll(sync, clock, 1)
    get_store().breaker.failed()
    assert poll(sync, clock, 4) == 4  # the token is what was known before
    assert poll(sync, clock, 4) == 0  # the changes were read


@in_transaction
def test_a_database_that_is_away_leaves_it_to_age(sync: Synchroniser, clock: ManualClock) -> None:
    poll(sync, clock, 1)
    with without_block_table():
        get_store().set_token("blocks", "two")
        assert poll(sync, clock, 30) == 30
        assert sync.failing
    assert poll(sync, clock, 61) == 0
    assert not sync.failing


@in_transaction
def test_whoever_measures_is_told_after_each_poll(sync: Synchroniser, clock: ManualClock) -> None:
    told: list[float] = []

    def measure(synchroniser: Synchroniser) -> None:
        told.append(synchroniser.age)

    row()
    after_poll.append(measure)
    try:
        poll(sync, clock, 5)
        poll(sync, clock, 0)
    finally:
        after_poll.remove(measure)
    assert told == [0]
