"""Consecutive failures of accounts, counted in the database: without a window, whatever happens to the counters.

NIST SP 800-63B-4, 3.2.2: not more than 100 consecutive failed attempts on one account. Counted by the identifier,
whether there is such a user or not, so that the answers do not tell.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, transaction
from django.db.models import F

from secguard import emit, signals
from secguard.blocking.policy import LockRequest
from secguard.conf import get_settings, until_settings_change
from secguard.context import context_for
from secguard.events import EventType, new_event_id
from secguard.failures import report_failure
from secguard.models import FailureCount
from secguard.pipeline import (
    Clearance,
    Failure,
    are_anothers_too,
    get_locks,
    lock,
    make_event,
    report_degraded,
    report_recovered,
    report_suppressed,
)
from secguard.records.accounts import find_user
from secguard.records.backoff import BackOff
from secguard.records.database import database, database_now, insert, waits_for_commit
from secguard.records.locks import CONSECUTIVE_FAILURES, in_force, lift, report_unlocked

Change: TypeAlias = "Failure | Clearance"

#: Changes that wait for the database, at most.
MAX_WAITING = 10_000
_HINT = "Consecutive failures wait in this process's memory. If the tables are missing, run 'manage.py migrate'."


class FailureCounts:
    """Saves changes to the counts in order, or keeps them until the database is back. Never raises at a user."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.waiting: deque[Change] = deque()
        self.lost = 0
        self._clock = clock or get_locks().clock
        self._backoff = BackOff(self._clock)

    def save(self, changes: Sequence[Change]) -> None:
        """Save these, after those that wait."""
        self.waiting.extend(changes)
        while len(self.waiting) > MAX_WAITING:
            self.waiting.popleft()
            self.lost += 1
        if self._backoff.must_wait:
            return
        try:
            while self.waiting:
                self._save_next()
        except Exception as error:
            self._failed(error)
        else:
            self._worked()

    def _save_next(self) -> None:
        try:
            change = self.waiting.popleft()
        except IndexError:
            return  # another thread took it
        try:
            if isinstance(change, Failure):
                _count(change)
            else:
                _clear(change)
        except (DataError, IntegrityError):
            self.lost += 1
            report_failure("a count of consecutive failures cannot be saved")
        except (DatabaseError, InterfaceError):
            self.waiting.appendleft(change)
            raise

    def _failed(self, error: Exception) -> None:
        if self._backoff.failed():
            report_degraded("count of consecutive failures", error, _HINT)

    def _worked(self) -> None:
        seconds = self._backoff.worked()
        if seconds is not None:
            report_recovered("count of consecutive failures", seconds, lost_changes=self.lost)


@until_settings_change
def get_failure_counts() -> FailureCounts:
    return FailureCounts()


def save_outside_request(changes: Sequence[Change]) -> None:
    """Save changes where no middleware waits for the end; never raises.

    Inside a transaction they wait for its end. Rolled back, whoever saves next in this process takes them along.
    """
    counts = get_failure_counts()
    otherwise = "a transaction could not be asked after; consecutive failures are counted all the same"
    if not waits_for_commit(lambda: counts.waiting.extend(changes), lambda: counts.save([]), otherwise):
        counts.save(changes)


def _count(failure: Failure) -> None:
    limit = get_settings().max_consecutive_failures
    alias = database()
    now = database_now(alias)
    request: LockRequest | None = None
    with transaction.atomic(using=alias):
        row = FailureCount.objects.using(alias).filter(digest=failure.digest)
        if not row.update(count=F("count") + 1, updated_at=now):
            fresh = FailureCount(digest=failure.digest, account=failure.account[:254], since=now, updated_at=now)
            # Another process may be as far: then its row is there, and this one adds to it.
            FailureCount.objects.using(alias).bulk_create([fresh], ignore_conflicts=True)
            row.update(count=F("count") + 1, updated_at=now)
        # Updated above, so that nobody else can change it until this transaction ends: one of them sees the limit.
        count = row.values_list("count", flat=True).first() or 0
        if limit is None or count < limit:
            return
        if get_settings().enforces:
            if in_force(alias).filter(digest=failure.digest, rule=CONSECUTIVE_FAILURES).exists():
                return
            request = _lock_request(failure, count)
            insert([request])
        elif count > limit:
            return  # in monitor mode nothing ends it, and it was said
    _exceeded(failure, count, limit, request)


def _lock_request(failure: Failure, count: int) -> LockRequest:
    reason = f"{count} consecutive failures"
    return LockRequest(failure.account, failure.digest, None, rule=CONSECUTIVE_FAILURES, reason=reason)


def _exceeded(failure: Failure, count: int, limit: int, request: LockRequest | None) -> None:
    """``request``: the lock that was saved, or None in monitor mode."""
    context, account = context_for(None), failure.account
    details = {
        "username": account,
        "rule": CONSECUTIVE_FAILURES,
        "count": count,
        "threshold": limit,
        **context.describe(context.address),
        "event_id": new_event_id(),
    }
    message = f"{count} consecutive failed logins of {{}}"
    emit.emit(make_event(EventType.CONSECUTIVE_FAILURES_EXCEEDED, message, details, name=account))
    if request is None:
        report_suppressed(account, "monitor", context, rule=CONSECUTIVE_FAILURES)
    else:
        lock(request, context, saved=True)
    try:
        user = find_user(account)
    except Exception:
        report_failure("could not look up whose consecutive failures these are")
        user = None
    emit.send(signals.consecutive_failures_exceeded, account=account, count=count, user=user)
    if request is not None:
        _call_hook(user, account, count)


def _call_hook(user: Any, account: str, count: int) -> None:
    hook = get_settings().on_max_consecutive_failures
    try:
        if hook is not None:
            hook(user, account, count)
    except Exception:
        report_failure("SECGUARD['ON_MAX_CONSECUTIVE_FAILURES'] failed; the account is locked all the same")


def _clear(clearance: Clearance) -> None:
    alias = database()
    counts = FailureCount.objects.using(alias).filter(digest__in=clearance.digests)
    locks = in_force(alias).filter(digest__in=clearance.digests, rule=CONSECUTIVE_FAILURES)
    rows = list(locks) if clearance.rebound else []
    if not rows and not counts.exists():
        return
    if are_anothers_too(clearance.names, clearance.user):
        return  # they may be failures at the other
    counts.delete()
    if clearance.rebound:
        lifted = lift(rows, alias, reason="a new password", by="password_reset") if rows else 0
        if lifted:
            report_unlocked(clearance.account, lifted, reason="a new password", by="password_reset")
