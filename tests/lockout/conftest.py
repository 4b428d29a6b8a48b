"""A site whose accounts can be locked, behind both entry points and on two stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from secguard import pipeline
from secguard.blocking import devices
from secguard.blocking.locks import Locks
from secguard.conf import get_settings
from secguard.testing import ManualClock
from tests.end_to_end.conftest import (  # noqa: F401 - the fixtures of the same site
    GUARD_AND_COUNTING,
    Configure,
    Visit,
    anna,
    bert,
    checked,
    clock,
    entry,
    events,
    lines,
    store_settings,
    visit,
    visitor,
)
from tests.end_to_end.entry import Visitor

#: An address that failed nowhere yet.
FRESH = "203.0.113.200"
Attack = Callable[..., list[int]]


class ConfigureLockout(Configure):
    """The same, and time stands still for locks and devices too."""

    def __init__(self, settings: Any, store: dict[str, Any], monotonic: ManualClock, wall: ManualClock) -> None:
        super().__init__(settings, store, monotonic)
        self._wall = wall

    def __call__(self, **secguard: Any) -> None:
        # The database's clock cannot be advanced: locks are read from it when a test asks for it.
        super().__call__(**{"SYNC_INTERVAL": 3600, **secguard})
        pipeline.get_locks.value = Locks(self._clock)
        devices.get_devices.value = devices.Devices(get_settings(), self._wall)

    def hang_up(self) -> None:
        """Before a change of settings that is not made here."""
        for prepare in self.before_change:
            prepare()


@pytest.fixture
def wall() -> ManualClock:
    """The clock on the wall, by which devices are forgotten."""
    return ManualClock()


@pytest.fixture
def configure(settings: Any, store_settings: dict[str, Any], clock: ManualClock, wall: ManualClock) -> Configure:  # noqa: F811
    configure = ConfigureLockout(settings, store_settings, clock, wall)
    settings.AUTHENTICATION_BACKENDS = GUARD_AND_COUNTING
    settings.ROOT_URLCONF = "tests.lockout.urls"
    configure(ACCOUNT_LOCKOUT="unknown_devices")
    return configure


@pytest.fixture
def stranger(visit: Visit) -> Visitor:  # noqa: F811
    """Somebody at an address, and on a device, that nobody knows."""
    return visit(FRESH)


@pytest.fixture
def attack(visit: Visit) -> Attack:  # noqa: F811
    """Guesses at an account, each from another address. → the status of each answer"""

    def attack(username: str = "anna", times: int = 30, first: int = 1) -> list[int]:
        addresses = (f"198.51.100.{number}" for number in range(first, first + times))
        return [visit(address).guess(1, username)[0] for address in addresses]

    return attack
