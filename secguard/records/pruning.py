"""Deletes what is old, a batch at a time, so that no lock on the tables lasts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from secguard.conf import get_settings
from secguard.models import AccountLock, AllowedNetwork, Block, ChainHead, EventCount, EventRecord
from secguard.records.chain import is_sealed, locked_head, seal
from secguard.records.database import database, database_now
from secguard.records.verification import Break, BrokenChainError, linked_rows

#: Rows deleted in one transaction. SQLite of old takes 999 values in one query.
BATCH = 500
#: Counts by the minute are kept so long; those by the hour as long as everything else.
MINUTES_KEPT = timedelta(days=2)
#: By so much a process's clock may be ahead of the database's, before its rows' times are taken for wrong.
_AHEAD = timedelta(days=1)
_MODELS: dict[str, type[Block] | type[AccountLock] | type[AllowedNetwork]] = {
    "blocks": Block,
    "locks": AccountLock,
    "allowed": AllowedNetwork,
}


@dataclass(slots=True)
class Pruned:
    """``deleted``: how many rows, by kind. ``broken``: where the chain is broken, from which on its rows were kept."""

    deleted: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*_MODELS, "events", "counts"), 0))
    broken: Break | None = None


class _Prune:
    def __init__(self, progress: Callable[[int], None]) -> None:
        self.done, self._progress = Pruned(), progress

    def count(self, kind: str, deleted: int) -> None:
        self.done.deleted[kind] += deleted
        self._progress(sum(self.done.deleted.values()))


def prune(days: float, *, broken_too: bool = False, progress: Callable[[int], None] = lambda done: None) -> Pruned:
    """Delete decisions that were lifted or expired, events and counts, all from more than so many days ago.

    Blocks that still make the next one longer (OFFENCE_MEMORY) are kept. Linked events are deleted from the oldest on,
    as far as their links hold, or with ``broken_too`` all of them. Stopped half-way, it leaves the rest for the next
    time. Raises the database's errors.
    """
    alias = database()
    now = database_now(alias)
    before = now - timedelta(days=days)
    work = _Prune(progress)
    for kind, model in _MODELS.items():
        rows = _ended(model._default_manager.using(alias), before)
        if model is Block:
            rows = rows.exclude(~Q(rule=""), Exists(_offences_since(_remembered_since(now), alias)), lifted_at=None)
        _delete(rows.order_by("pk"), kind, alias, work)
    events = EventRecord.objects.using(alias)
    _delete(events.filter(sequence=None, timestamp__lt=before).order_by("timestamp", "pk"), "events", alias, work)
    _prune_chain(before, now, alias, work, broken_too=broken_too)
    counts = EventCount.objects.using(alias)
    for span, start in ((EventCount.Span.MINUTE, max(before, now - MINUTES_KEPT)), (EventCount.Span.HOUR, before)):
        _delete(counts.filter(span=span, start__lt=start).order_by("start", "pk"), "counts", alias, work)
    return work.done


def _delete(rows: QuerySet[Any], kind: str, alias: str, work: _Prune) -> None:
    while batch := list(rows.values_list("pk", flat=True)[:BATCH]):
        # Counted from the batch: a database that deletes without a look does not say how many there were.
        rows.model._default_manager.using(alias).filter(pk__in=batch).delete()
        work.count(kind, len(batch))


# -- events that are linked ------------------------------------------------------------------------------------------


def _prune_chain(before: datetime, now: datetime, alias: str, work: _Prune, *, broken_too: bool) -> None:
    """From the oldest end, up to the first row that is to stay: the chain has no gaps."""
    rows = EventRecord.objects.using(alias)
    head = ChainHead.objects.using(alias).first()
    if head is None:
        return
    # A time that is still to come is a wrong clock's, and must not keep all that follows for ever.
    kept = rows.filter(sequence__gt=head.anchor_sequence, timestamp__gte=before, timestamp__lte=now + _AHEAD)
    first_kept = kept.order_by("sequence").values_list("sequence", flat=True).first()
    end = head.sequence if first_kept is None else first_kept - 1
    while work.done.broken is None and head.anchor_sequence < end:
        head = _prune_links(min(head.anchor_sequence + BATCH, end), alias, work, broken_too=broken_too)


def _prune_links(upto: int, alias: str, work: _Prune, *, broken_too: bool) -> ChainHead:
    """Delete linked rows up to this place, as far as their links hold, and let the chain begin behind them."""
    rows = EventRecord.objects.using(alias)
    with transaction.atomic(using=alias):
        head = locked_head(alias)
        anchor = last = head.anchor_sequence, head.anchor_link
        if broken_too:
            found = rows.filter(sequence__lte=upto).order_by("-sequence", "-pk").values_list("link", flat=True).first()
            last = upto, found or ""
        else:
            try:
                if not is_sealed(head):
                    raise BrokenChainError("head", head.sequence, "", "the head was not written under this key")
                for row in linked_rows(rows, head, lambda: None, upto=upto):
                    last = row.sequence, row.link
            except BrokenChainError as error:
                work.done.broken = error.found
        deleted = rows.filter(sequence__lte=last[0]).delete()[0]
        head.anchor_sequence, head.anchor_link = last
        if last != anchor:
            seal(head, alias)
    work.count("events", deleted)
    return head


# -- decisions -------------------------------------------------------------------------------------------------------


def _ended(rows: Any, before: datetime) -> QuerySet[Any]:
    found: QuerySet[Any] = rows.filter(Q(lifted_at__lt=before) | Q(expires_at__lt=before))
    return found


def _offences_since(since: datetime, alias: str) -> QuerySet[Block]:
    """Offences of the same network that ended later: until it has been quiet for long enough, all of them count."""
    rows = Block.objects.using(alias).order_by().filter(network=OuterRef("network"), lifted_at=None).exclude(rule="")
    return rows.filter(Q(expires_at=None) | Q(expires_at__gt=since))


def _remembered_since(now: datetime) -> datetime:
    return now - timedelta(seconds=get_settings().offence_memory)
