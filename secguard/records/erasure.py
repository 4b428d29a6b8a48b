"""Erases what identifies somebody, and leaves in force what protects others. Raises the database's errors."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from secguard import emit
from secguard.detection import Observation
from secguard.detection.detector import account_key
from secguard.events import EventType, new_event_id
from secguard.logging import get_event_logger
from secguard.models import AccountLock, AllowedNetwork, Block, FailureCount
from secguard.network import parse_network
from secguard.pipeline import get_store, make_event
from secguard.records.accounts import account_of
from secguard.records.database import database, database_now
from secguard.records.operators import canonical_network
from secguard.records.synchroniser import get_synchroniser

#: What of a row may tell whom it is about, besides its network.
_TEXTS = {"reason": "", "lift_reason": ""}


def forget_account(account: str, *, by: str = "") -> dict[str, int]:
    """Erase an account: its counters, its name in locks, its count of consecutive failures. → what was done.

    A lock in force holds on, by its digest alone; those that ended are deleted. Raises ValueError for what is no
    account.
    """
    found = account_of(account)
    get_synchroniser().save_waiting()
    for digest in found.digests:  # the name's own, which may be a link, and the canonical one's
        _reset_records([account_key(digest).decode()])
    _reset(Observation(account=found.name))
    alias = database()
    with transaction.atomic(using=alias):
        theirs = Q(digest__in=found.digests) | Q(account=found.name[:254])
        done = _erase(AccountLock.objects.using(alias).filter(theirs), "locks", alias, account="")
        counts = FailureCount.objects.using(alias).filter(theirs)
        done["failure_counts_deleted"] = counts.delete()[0]
    _report("account", done, by)
    return done


def forget_network(network: str, *, by: str = "") -> dict[str, int]:
    """Erase an address or network: its counters, blocks of exactly it that ended, and the reasons of the others.

    A block in force holds on. Counters of it together with an account cannot be found; they end with their windows.
    Raises ValueError for what is no network.
    """
    canonical = canonical_network(network)
    get_synchroniser().save_waiting()
    _reset(_observation(canonical))
    alias = database()
    with transaction.atomic(using=alias):
        blocks = Block.objects.using(alias).filter(network=canonical)
        _reset_records(blocks.exclude(counter="").values_list("counter", flat=True))
        done = _erase(blocks, "blocks", alias)
        done |= _erase(AllowedNetwork.objects.using(alias).filter(network=canonical), "allowed", alias)
    _report("address", done, by)
    return done


def _observation(canonical: str) -> Observation:
    network = parse_network(canonical)
    single = network.prefixlen == (32 if network.version == 4 else 64)
    return Observation(canonical) if single else Observation(network=canonical)


def _reset(who: Observation) -> None:
    pipeline = get_event_logger().pipeline
    pipeline.run(pipeline.detector.reset(pipeline.detector.records_of(who)))


def _reset_records(keys: Any) -> None:
    pipeline = get_event_logger().pipeline
    for key in dict.fromkeys(keys):
        pipeline.run(pipeline.detector.reset_record(key.encode()))


def _erase(rows: QuerySet[Any], kind: str, alias: str, **blanked: str) -> dict[str, int]:
    """Delete what has ended; of the rest blank what people wrote."""
    now = database_now(alias)
    deleted = rows.filter(Q(expires_at__lte=now) | Q(lifted_at__isnull=False)).delete()[0]
    return {f"{kind}_deleted": deleted, f"{kind}_blanked": rows.update(**_TEXTS, **blanked)}


def _report(kind: str, done: dict[str, int], by: str) -> None:
    """Without the name: the line must not keep what was erased."""
    details = {"subject_type": kind, **done, "counters_known": not get_store().degraded, "by": by}
    message = f"Erased the data of an {kind}"
    emit.emit(make_event(EventType.DATA_ERASED, message, {**details, "event_id": new_event_id()}))
