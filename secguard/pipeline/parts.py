"""What the pipeline works with in this process: the store, the blocks in force, who waits."""

from __future__ import annotations

from secguard.blocking.locks import Locks
from secguard.blocking.replica import Replica
from secguard.blocking.waiting import WaitingRoom
from secguard.conf import get_settings, until_settings_change
from secguard.context import current
from secguard.pipeline.reports import report_degraded, report_recovered
from secguard.stores import ResilientStore, choose_store
from secguard.stores.resilient import Outage


@until_settings_change
def get_store() -> ResilientStore:
    """The counters, behind everything that protects a user from them."""
    return ResilientStore(
        choose_store(),
        fail_mode=fail_mode,
        on_degraded=_degraded,
        on_recovered=_recovered,
    )


def fail_mode() -> str:
    """What FAIL_MODE says for the request at hand."""
    context = current()
    path = context.request.path if context is not None and context.request is not None else ""
    return get_settings().fail_mode_at(path)


@until_settings_change
def get_replica() -> Replica:
    """The blocks in force, as this process knows them."""
    return Replica()


@until_settings_change
def get_locks() -> Locks:
    """The account locks in force, as this process knows them."""
    return Locks()


@until_settings_change
def get_waiting_room() -> WaitingRoom:
    return WaitingRoom(get_settings().reserve_max_waiters)


_FAIL_MODE_HINTS = {
    "local": "Counting goes on in each process; blocks stay in force.",
    "open": "Nothing is counted; blocks stay in force.",
    "closed": "Logins are refused until the store is back.",
}


def _degraded(error: Exception) -> None:
    report_degraded("store", error, _FAIL_MODE_HINTS[fail_mode()])


def _recovered(outage: Outage) -> None:
    report_recovered(
        "store",
        outage.seconds,
        local_operations=outage.operations,
        local_attempts=outage.attempts,
        local_failures=outage.failures,
        local_refusals=outage.refused,
        relapses=outage.relapses,
        last_error=outage.last_error,
    )
