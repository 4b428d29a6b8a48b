"""Account locks in memory: which of them is in force, and what a load makes of them."""

from __future__ import annotations

import pytest

from secguard.blocking.locks import LockEntry, Locks
from secguard.blocking.replica import FOREVER, RECENT
from secguard.testing import ManualClock

ANNA, BERT = "aa" * 16, "bb" * 16


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(0.0)


@pytest.fixture
def locks(clock: ManualClock) -> Locks:
    return Locks(clock)


def references(locks: Locks, *digests: str, known_device: bool = False) -> str | None:
    found = locks.find(*digests, known_device=known_device)
    return found and found.reference


def test_a_lock_is_its_accounts_alone(locks: Locks) -> None:
    locks.add(LockEntry(ANNA, "1", FOREVER))
    assert references(locks, ANNA) == "1"
    assert references(locks, BERT) is None
    assert references(locks, BERT, ANNA) == "1"


def test_a_lock_ends(locks: Locks, clock: ManualClock) -> None:
    locks.add(LockEntry(ANNA, "1", 10.0))
    clock.advance(10)
    assert references(locks, ANNA) is None


def test_of_several_the_one_that_lasts_longest_is_told(locks: Locks) -> None:
    for reference, expires in (("1", 10.0), ("2", FOREVER), ("3", 20.0)):
        locks.add(LockEntry(ANNA, reference, expires))
    assert references(locks, ANNA) == "2"
    assert locks.remove(ANNA, "2")
    assert references(locks, ANNA) == "3"


def test_a_known_device_is_past_locks_for_unknown_ones_alone(locks: Locks) -> None:
    locks.add(LockEntry(ANNA, "1", FOREVER, "unknown_devices"))
    assert references(locks, ANNA, known_device=True) is None
    assert references(locks, ANNA) == "1"
    locks.add(LockEntry(ANNA, "2", 10.0))
    assert references(locks, ANNA, known_device=True) == "2"


def test_locks_are_removed_one_by_one_or_all_at_once(locks: Locks) -> None:
    for reference in ("1", "2", "3"):
        locks.add(LockEntry(ANNA, reference, FOREVER))
    assert not locks.remove(ANNA, "4")
    assert not locks.remove(BERT)
    assert locks.remove(ANNA, "1")
    assert references(locks, ANNA) == "2"
    assert locks.remove(ANNA)
    assert (references(locks, ANNA), len(locks)) == (None, 0)


def test_a_full_load_replaces_what_was_known(locks: Locks) -> None:
    locks.add(LockEntry(ANNA, "1", FOREVER))
    locks.replace_all([LockEntry(BERT, "2", FOREVER)])
    assert (references(locks, ANNA), references(locks, BERT)) == (None, "2")


def test_a_full_load_keeps_what_was_raised_here_just_now(locks: Locks, clock: ManualClock) -> None:
    """It may not be in the database yet."""
    locks.raise_here(LockEntry(ANNA, "1", FOREVER))
    clock.advance(RECENT - 1)
    locks.replace_all([])
    assert references(locks, ANNA) == "1"
    clock.advance(1)
    locks.replace_all([])
    assert references(locks, ANNA) is None


def test_what_was_removed_does_not_come_back_with_a_full_load(locks: Locks) -> None:
    locks.raise_here(LockEntry(ANNA, "1", FOREVER))
    locks.remove(ANNA, "1")
    locks.replace_all([])
    assert references(locks, ANNA) is None
