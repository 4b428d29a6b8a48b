"""Deletes decisions that ended long ago, a batch at a time, so that no lock on the tables lasts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from secguard.conf import get_settings
from secguard.models import AccountLock, AllowedNetwork, Block
from secguard.records.database import database, database_now

#: Rows deleted in one transaction. SQLite of old takes 999 values in one query.
BATCH = 500
_MODELS: dict[str, type[Block] | type[AccountLock] | type[AllowedNetwork]] = {
    "blocks": Block,
    "locks": AccountLock,
    "allowed": AllowedNetwork,
}


def prune(days: float, *, progress: Callable[[int], None] = lambda done: None) -> dict[str, int]:
    """Delete what was lifted or expired more than so many days ago. → how many rows, by kind.

    Blocks that still make the next one longer (OFFENCE_MEMORY) are kept. Stopped half-way, it leaves the rest for the
    next time. Raises the database's errors.
    """
    alias = database()
    now = database_now(alias)
    deleted = dict.fromkeys(_MODELS, 0)
    for kind, model in _MODELS.items():
        rows = _ended(model._default_manager.using(alias), now - timedelta(days=days))
        if model is Block:
            rows = rows.exclude(~Q(rule=""), Exists(_offences_since(_remembered_since(now), alias)), lifted_at=None)
        while batch := list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH]):
            # Counted from the batch: a database that deletes without a look does not say how many there were.
            model._default_manager.using(alias).filter(pk__in=batch).delete()
            deleted[kind] += len(batch)
            progress(sum(deleted.values()))
    return deleted


def _ended(rows: Any, before: datetime) -> QuerySet[Any]:
    found: QuerySet[Any] = rows.filter(Q(lifted_at__lt=before) | Q(expires_at__lt=before))
    return found


def _offences_since(since: datetime, alias: str) -> QuerySet[Block]:
    """Offences of the same network that ended later: until it has been quiet for long enough, all of them count."""
    rows = Block.objects.using(alias).order_by().filter(network=OuterRef("network"), lifted_at=None).exclude(rule="")
    return rows.filter(Q(expires_at=None) | Q(expires_at__gt=since))


def _remembered_since(now: datetime) -> datetime:
    return now - timedelta(seconds=get_settings().offence_memory)
