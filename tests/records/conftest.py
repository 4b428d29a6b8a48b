"""One process's memory of decisions, on the test's clock, beside a store that others can reach too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from secguard import records
from secguard.blocking.locks import Locks
from secguard.blocking.replica import Replica
from secguard.pipeline import get_locks, get_replica, get_store
from secguard.records import Synchroniser
from secguard.stores import ResilientStore
from secguard.testing import CapturedEvents, ManualClock, capture_events
from tests.records.rows import SharedStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def replica(clock: ManualClock) -> Replica:
    """This process's replica, on the test's clock."""
    get_replica.value, get_locks.value = Replica(clock), Locks(clock)
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
