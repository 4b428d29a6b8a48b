"""Keeps the replica of this process up to date, and saves what was decided. Never raises at a user."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from threading import Lock

from asgiref.sync import sync_to_async
from django.db import (
    DatabaseError,
    DataError,
    InterfaceError,
    OperationalError,
    connections,
    transaction,
)
from django.db.models import Q

from secguard.blocking.policy import BlockRequest, LockRequest
from secguard.blocking.replica import FOREVER, BlockEntry
from secguard.conf import get_settings, until_settings_change
from secguard.failures import report_failure
from secguard.models import Block
from secguard.pipeline import (
    get_replica,
    get_store,
    report_degraded,
    report_overdue_refusals,
    report_recovered,
)
from secguard.records.counters import reset_counters
from secguard.records.database import TOKEN, database, database_now, insert

#: A delta reads this far back again: a transaction that began earlier may have committed later.
OVERLAP = timedelta(minutes=1)
#: Seconds between two full loads, which make any miss short-lived.
FULL_LOAD_INTERVAL = 60.0
#: Seconds between two deltas where the store is this process's own and no other can say that there is news.
UNSHARED_INTERVAL = 5.0
#: Seconds until a database that failed is asked again: the first time, and at most.
FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0
#: Blocks that wait for the database, at most. They are in force meanwhile.
MAX_UNSAVED = 10_000
_MIGRATE = "If the tables are missing, run 'manage.py migrate secguard'. Blocks that are known stay in force."


class Synchroniser:
    """Keeps this process's replica of the blocks up to date, from the path of requests, without a thread.

    At most once a SYNC_INTERVAL one request asks the store for a token. If it differs from the last one the
    changes are read; everything is read once a minute. Until the first load has ended requests pass.
    """

    def __init__(self) -> None:
        self.unsaved: deque[BlockRequest | LockRequest] = deque()
        self.lost_rows = 0
        self._busy = Lock()
        self._loading = Lock()
        self._next_poll = 0.0
        self._next_full = 0.0
        self._next_delta = 0.0
        self._token: str | None = None
        self._since: datetime | None = None
        self._failing_since: float | None = None
        self._retry = FIRST_RETRY

    def due(self) -> bool:
        """Is it time to ask? Called for every request."""
        return get_replica().clock() >= self._next_poll

    def poll(self) -> None:
        """Ask the store whether there is news, and read it."""
        if self._claim():
            self.refresh(get_store().get_token(TOKEN))

    async def apoll(self) -> None:
        """The same, without blocking the event loop."""
        if self._claim():
            token = await get_store().aget_token(TOKEN)
            if self._wants(token):
                await sync_to_async(self.refresh)(token)

    def _claim(self) -> bool:
        with self._busy:
            now = get_replica().clock()
            if now < self._next_poll:
                return False
            self._next_poll = now + max(get_settings().sync_interval, 0.001)
            return True

    def _wants(self, token: str | None) -> bool:
        now = get_replica().clock()
        timed = now >= self._next_full or (not get_store().shared and now >= self._next_delta)
        return timed or token != self._token or bool(self.unsaved)

    def refresh(self, token: str | None) -> None:
        """Save what waits, and read the changes (or everything) if there may be any."""
        report_overdue_refusals()
        # One thread at a time: behind a database that hangs there must not be one more stuck each second.
        if not self._wants(token) or not self._loading.acquire(blocking=False):
            return
        try:
            self.save_waiting()
            self._load(token)
        except Exception as error:
            self._failed(error)
        else:
            self._worked()
        finally:
            self._loading.release()

    def _load(self, token: str | None) -> None:
        replica, alias = get_replica(), database()
        now, database_time = replica.clock(), database_now(alias)
        rows = Block.objects.using(alias)
        if self._since is None or now >= self._next_full:
            active = rows.filter(Q(expires_at=None) | Q(expires_at__gt=database_time), lifted_at=None)
            replica.replace_all([_entry(row, database_time) for row in active.iterator()])
            self._next_full = now + FULL_LOAD_INTERVAL
        for row in rows.filter(updated_at__gte=(self._since or database_time) - OVERLAP).iterator():
            if row.lifted_at is None:
                if row.expires_at is None or row.expires_at > database_time:
                    replica.add(_entry(row, database_time))
            else:
                was_known = replica.remove(row.network, str(row.reference))
                if was_known and not get_store().shared:
                    # Whoever lifted it, from another process, could not reach the counters of this one.
                    reset_counters(row.network, [row.counter])
        self._since, self._token, self._next_delta = database_time, token, now + UNSHARED_INTERVAL

    # -- saving ------------------------------------------------------------------------------------------

    def save(self, requests: Sequence[BlockRequest | LockRequest]) -> None:
        """Save blocks now, or keep them until the database is back."""
        self.unsaved.extend(requests)
        try:
            self.save_waiting()
        except Exception as error:
            self._failed(error)

    def save_waiting(self) -> None:
        """Save what waits for the database. Raises its errors, and keeps what could not be saved."""
        waiting = self._take_waiting()
        try:
            if waiting:
                insert(waiting)
        except DataError:
            self._save_singly(waiting)
        except DatabaseError:
            self.unsaved.extendleft(reversed(waiting))
            raise
        except Exception:
            self._save_singly(waiting)

    def _save_singly(self, waiting: list[BlockRequest | LockRequest]) -> None:
        """One of them cannot be a row: it must not keep the others out."""
        for at, request in enumerate(waiting):
            try:
                insert([request])
            except (OperationalError, InterfaceError):
                self.unsaved.extendleft(reversed(waiting[at:]))
                raise
            except Exception:
                self.lost_rows += 1
                report_failure("the decision %s cannot be saved; it holds in this process alone", request.reference)

    def _take_waiting(self) -> list[BlockRequest | LockRequest]:
        """Each block is taken by one thread alone: a deque's pop is atomic."""
        while len(self.unsaved) > MAX_UNSAVED:
            self.unsaved.popleft()
            self.lost_rows += 1
        taken = []
        with suppress(IndexError):
            while True:
                taken.append(self.unsaved.popleft())
        return taken

    # -- a database that is away -------------------------------------------------------------------------

    def _failed(self, error: Exception) -> None:
        now = get_replica().clock()
        self._next_poll = max(self._next_poll, now + self._retry)
        self._retry = min(self._retry * 2, LONGEST_RETRY)
        if self._failing_since is None:
            self._failing_since = now
            report_degraded("database", error, _MIGRATE)

    def _worked(self) -> None:
        if self._failing_since is not None:
            seconds = get_replica().clock() - self._failing_since
            report_recovered("database", seconds, lost_rows=self.lost_rows)
        self._failing_since, self._retry = None, FIRST_RETRY


def _entry(row: Block, database_time: datetime) -> BlockEntry:
    left = FOREVER if row.expires_at is None else (row.expires_at - database_time).total_seconds()
    return BlockEntry(row.network, str(row.reference), get_replica().clock() + left, automatic=bool(row.rule))


@until_settings_change
def get_synchroniser() -> Synchroniser:
    return Synchroniser()


def save(requests: Sequence[BlockRequest | LockRequest]) -> None:
    """Save blocks that were decided, after the view's transaction; never raises."""
    get_synchroniser().save(requests)


def save_outside_request(requests: Sequence[BlockRequest | LockRequest]) -> None:
    """Save blocks that were decided where no middleware waits for the end. Never raises.

    Inside a transaction they wait for its end: rolled back they would be gone, and an error would break it. They
    are in force meanwhile, and whoever saves or loads next in this process takes them along.
    """
    synchroniser = get_synchroniser()
    try:
        connection = connections[database()]
        # The transaction around a test case is none that is rolled back while anybody looks.
        if any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
            synchroniser.unsaved.extend(requests)
            transaction.on_commit(lambda: synchroniser.save([]), using=connection.alias)
            return
    except Exception:
        report_failure("a transaction could not be asked after; a block is saved all the same")
    synchroniser.save(requests)
