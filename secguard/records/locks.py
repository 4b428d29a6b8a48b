"""What operators do to account locks. Raises the database's errors, and ValueError for what is no account."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q, QuerySet

from secguard import emit, signals
from secguard.blocking.locks import ALL, UNKNOWN_DEVICES
from secguard.blocking.policy import LockRequest
from secguard.context import context_for
from secguard.detection.detector import account_key
from secguard.events import EventType, new_event_id
from secguard.failures import report_failure
from secguard.models import AccountLock, FailureCount, in_force_at
from secguard.pipeline import get_locks, lock, make_event
from secguard.records.accounts import account_of
from secguard.records.counters import reset_records
from secguard.records.database import announce, database, database_now, insert
from secguard.records.synchroniser import get_synchroniser

#: The rule of locks after MAX_CONSECUTIVE_FAILURES, which only a new password or an operator ends.
CONSECUTIVE_FAILURES = "consecutive_failures"


def active_locks() -> list[AccountLock]:
    """The account locks in force, newest first."""
    alias = database()
    get_synchroniser().save_waiting()
    return list(in_force(alias))


def in_force(alias: str) -> QuerySet[AccountLock]:
    now = database_now(alias)
    return AccountLock.objects.using(alias).filter(in_force_at(now))


def lock_account(
    account: str, *, duration: float | None = None, scope: str = ALL, reason: str = "", by: str = ""
) -> LockRequest:
    """Lock an account, for ``duration`` seconds or until it is unlocked.

    ``account``: an identifier, or its digest in hexadecimal. ``scope``: ``all``, or ``unknown_devices``. Raises
    ValueError for another scope or what is no account, and the database's errors.
    """
    if scope not in (ALL, UNKNOWN_DEVICES):
        raise ValueError(f"scope is {scope!r:.80}; use {ALL!r} or {UNKNOWN_DEVICES!r}.")
    found = account_of(account)
    request = LockRequest(found.name, found.digests[0], duration, scope, reason=reason, by=by)
    insert([request])
    lock(request, context_for(None), saved=True)
    return request


def unlock_account(account: str, *, reason: str = "", by: str = "", keep_counters: bool = False) -> int:
    """Lift the locks of an account. → how many there were.

    Its consecutive failures begin at nought, and unless they are kept its counters too: the next failure would lock
    it again. Raises ValueError for what is no account, and the database's errors.
    """
    found = account_of(account)
    alias = database()
    get_synchroniser().save_waiting()
    rows = list(in_force(alias).filter(Q(digest__in=found.digests) | Q(account=found.name[:254])))
    digests = {*found.digests, *(row.digest for row in rows)}
    FailureCount.objects.using(alias).filter(digest__in=digests).delete()
    lifted = lift(rows, alias, reason=reason, by=by)
    for digest in digests:
        get_locks().remove(digest)
    if not keep_counters:
        reset_account(digests, (row.counter for row in rows))
    if lifted:
        report_unlocked(found.name, lifted, reason=reason, by=by)
    return lifted


def lift(rows: list[AccountLock], alias: str, *, reason: str, by: str) -> int:
    """End these locks, in this process at once. → how many were in force."""
    now = database_now(alias)
    wanted = AccountLock.objects.using(alias).filter(pk__in=[row.pk for row in rows], lifted_at=None)
    lifted = wanted.update(lifted_at=now, updated_at=now, lifted_by=by[:150], lift_reason=reason[:255])
    for row in rows:
        get_locks().remove(row.digest, str(row.reference))
    announce(alias)
    return lifted


def report_unlocked(account: str, count: int, *, reason: str, by: str) -> None:
    """Make known that ``count`` locks of an account were lifted."""
    details = {
        "username": account,
        "by": by,
        "reason": reason,
        "count": count,
        "event_id": new_event_id(),
    }
    emit.emit(make_event(EventType.ACCOUNT_UNLOCKED, "Account {} unlocked", details, name=account))
    emit.send(signals.account_unlocked, account=account, by=by)


def reset_account(digests: Iterable[str], counters: Iterable[str] = ()) -> None:
    """Count an account from nought. Never raises: what was lifted stays lifted."""
    try:
        reset_records([*map(account_key, digests), *(counter.encode() for counter in counters if counter)])
    except Exception:
        report_failure("the counters of an account could not be reset; its next failure may lock it again")
