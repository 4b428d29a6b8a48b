"""Erases what identifies somebody, and leaves in force what protects others. Raises the database's errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from secguard import emit
from secguard.detection.detector import account_key
from secguard.events import EventType, new_event_id
from secguard.models import EventRecord, ended_at
from secguard.pipeline import get_store, make_event
from secguard.records.chain import BLANK, mark_of_erasure
from secguard.records.counters import reset_records, reset_subject
from secguard.records.database import database, database_now
from secguard.records.recorder import get_recorder
from secguard.records.subjects import Subject, account_subject, decisions_of, events_of, network_subject
from secguard.records.synchroniser import get_synchroniser

#: Events erased in one transaction. SQLite of old takes 999 values in one query.
BATCH = 300
#: What of a row may tell whom it is about, besides its network.
_TEXTS = {"reason": "", "lift_reason": ""}


def _ignore(done: int) -> None:
    """Nobody watches."""


def forget_account(account: str, *, by: str = "", progress: Callable[[int], None] = _ignore) -> dict[str, int]:
    """Erase an account: its counters, its name in locks, its count of consecutive failures, and what the rows of its
    events say of anybody. → what was done.

    A lock in force holds on, by its digest alone; those that ended are deleted. Raises ValueError for what is no
    account.
    """
    subject = account_subject(account)
    get_synchroniser().save_waiting()
    get_recorder().save_waiting()
    # The name's own, which may be a link, and the canonical one's.
    reset_records(map(account_key, subject.digests))
    reset_subject(subject)
    alias = database()
    with transaction.atomic(using=alias):
        rows = decisions_of(subject, alias)
        done = _erase(rows["locks"], "locks", alias, account="")
        done["failure_counts_deleted"] = rows["failure_counts"].delete()[0]
    return _finish(subject, alias, done, by, progress)


def forget_network(network: str, *, by: str = "", progress: Callable[[int], None] = _ignore) -> dict[str, int]:
    """Erase an address or network: its counters, blocks of exactly it that ended, the reasons of the others, and what
    the rows of its events say of anybody.

    A block in force holds on. Counters of it together with an account cannot be found; they end with their windows.
    Raises ValueError for what is no network.
    """
    subject = network_subject(network)
    get_synchroniser().save_waiting()
    get_recorder().save_waiting()
    reset_subject(subject)
    alias = database()
    with transaction.atomic(using=alias):
        rows = decisions_of(subject, alias)
        counters = rows["blocks"].exclude(counter="").values_list("counter", flat=True)
        reset_records(counter.encode() for counter in counters)
        done = _erase(rows["blocks"], "blocks", alias) | _erase(rows["allowed"], "allowed", alias)
    return _finish(subject, alias, done, by, progress)


def _finish(
    subject: Subject, alias: str, done: dict[str, int], by: str, progress: Callable[[int], None]
) -> dict[str, int]:
    done["events_blanked"] = erase_events(events_of(subject, alias), alias, progress)
    _report(subject.kind, done, by)
    return done


def erase_events(found: Iterable[QuerySet[EventRecord]], alias: str, progress: Callable[[int], None] = _ignore) -> int:
    """Blank what identifies anybody in these rows, a batch at a time, and mark under the project's key that it was.
    → how many there were.

    Time, type, rule, count and country stay, and with them the row's link. Stopped half-way, it goes on the next time.
    """
    done = 0
    for rows in found:
        last = 0
        while batch := list(rows.filter(erasure="", pk__gt=last).order_by("pk").only("pk", "event_id")[:BATCH]):
            last = batch[-1].pk
            for row in batch:
                row.erasure = mark_of_erasure(row.event_id)
            with transaction.atomic(using=alias):
                EventRecord.objects.using(alias).bulk_update(batch, ["erasure"])
                chosen = EventRecord.objects.using(alias).filter(pk__in=[row.pk for row in batch])
                chosen.update(**BLANK, nonce="")
            done += len(batch)
            progress(done)
    return done


def _erase(rows: QuerySet[Any], kind: str, alias: str, **blanked: str) -> dict[str, int]:
    """Delete what has ended; of the rest blank what people wrote."""
    now = database_now(alias)
    deleted = rows.filter(ended_at(now)).delete()[0]
    return {f"{kind}_deleted": deleted, f"{kind}_blanked": rows.update(**_TEXTS, **blanked)}


def _report(kind: str, done: dict[str, int], by: str) -> None:
    """Without the name: the line must not keep what was erased."""
    details = {"subject_type": kind, **done, "counters_known": not get_store().degraded, "by": by}
    message = f"Erased the data of an {kind}"
    emit.emit(make_event(EventType.DATA_ERASED, message, {**details, "event_id": new_event_id()}))
