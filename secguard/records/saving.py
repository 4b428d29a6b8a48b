"""What a request, or what is outside of any, leaves to be saved: each kind of it to whom it belongs, and what is due
of the record. Never raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from secguard.blocking.policy import BlockRequest, LockRequest
from secguard.failures import report_failure
from secguard.models import EventRecord
from secguard.pipeline import Clearance, Failure
from secguard.records import failures, recorder, synchroniser
from secguard.records.database import is_at_home
from secguard.records.recorder import get_recorder
from secguard.records.rollups import get_rollups


def save(rows: Sequence[Any]) -> None:
    """Save what was decided and counted, after the view's transaction."""
    decisions, changes, events = _sorted(rows)
    if decisions:
        synchroniser.save(decisions)
    if changes:
        failures.get_failure_counts().save(changes)
    if events:
        get_recorder().save(events)


def save_outside_request(rows: Sequence[Any]) -> None:
    """The same where no middleware waits for the end; inside a transaction it waits for that one's."""
    decisions, changes, events = _sorted(rows)
    if decisions:
        synchroniser.save_outside_request(decisions)
    if changes:
        failures.save_outside_request(changes)
    if events:
        recorder.save_outside_request(events)


def _sorted(
    rows: Sequence[Any],
) -> tuple[list[BlockRequest | LockRequest], list[Failure | Clearance], list[EventRecord]]:
    return (
        [row for row in rows if isinstance(row, (BlockRequest, LockRequest))],
        [row for row in rows if isinstance(row, (Failure, Clearance))],
        [row for row in rows if isinstance(row, EventRecord)],
    )


def is_due() -> bool:
    """Is there anything of the record that should be written now?"""
    return get_rollups().due or get_recorder().due


def keep_up() -> None:
    """Write what is due of the record: at most once a poll, and at the end of a request with a login."""
    if get_recorder().due:
        get_recorder().save()
    if get_rollups().due:
        get_rollups().flush()


def save_at_exit() -> None:
    """The process ends: write what still waits."""
    if not is_at_home():
        return  # a test's database is gone, and its events are none of the project's own
    synchroniser.save_at_exit()
    try:
        get_recorder().save_waiting()
    except Exception:
        report_failure("%s events could not be saved before the process ended", len(get_recorder().waiting))
    get_rollups().flush()
