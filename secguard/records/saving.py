"""What a request, or what is outside of any, leaves to be saved: each kind of it to whom it belongs. Never raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from secguard.blocking.policy import BlockRequest, LockRequest
from secguard.pipeline import Clearance, Failure
from secguard.records import failures, synchroniser


def save(rows: Sequence[Any]) -> None:
    """Save what was decided and counted, after the view's transaction."""
    decisions, changes = _sorted(rows)
    if decisions:
        synchroniser.save(decisions)
    if changes:
        failures.get_failure_counts().save(changes)


def save_outside_request(rows: Sequence[Any]) -> None:
    """The same where no middleware waits for the end; inside a transaction it waits for that one's."""
    decisions, changes = _sorted(rows)
    if decisions:
        synchroniser.save_outside_request(decisions)
    if changes:
        failures.save_outside_request(changes)


def _sorted(rows: Sequence[Any]) -> tuple[list[BlockRequest | LockRequest], list[Failure | Clearance]]:
    decisions = [row for row in rows if isinstance(row, (BlockRequest, LockRequest))]
    return decisions, [row for row in rows if isinstance(row, (Failure, Clearance))]
