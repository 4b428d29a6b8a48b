"""Keeps the memory of this process up to date, and saves what was decided. Never raises at a user."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from threading import Lock
from typing import NamedTuple

from asgiref.sync import sync_to_async
from django.db import (
    DatabaseError,
    DataError,
    InterfaceError,
    OperationalError,
)

from secguard.blocking.locks import LockEntry
from secguard.blocking.policy import BlockRequest, LockRequest
from secguard.blocking.replica import FOREVER, BlockEntry
from secguard.conf import get_settings, until_settings_change
from secguard.failures import report_failure
from secguard.pipeline import (
    get_locks,
    get_replica,
    get_store,
    report_degraded,
    report_overdue_refusals,
    report_recovered,
)
from secguard.records.backoff import BackOff
from secguard.records.database import TOKEN, announce, database, insert, must_announce, waits_for_commit
from secguard.records.feeds import AllowedFeed, BlockFeed, Feed, LockFeed, Moment

#: A delta reads this far back again: a transaction that began earlier may have committed later.
OVERLAP = timedelta(minutes=1)
#: Seconds between two checks of all that is held against the database, which make any miss short-lived.
FULL_LOAD_INTERVAL = 60.0
#: Seconds between two deltas where no other process can say that there is news: the store is this one's own, or away.
UNSHARED_INTERVAL = 5.0
#: Decisions that wait for the database, at most. They are in force meanwhile.
MAX_UNSAVED = 10_000
#: Decisions that are saved at once, in a second; more of them wait for the next poll, which saves all together.
MAX_SAVED_AT_ONCE = 200
#: How often a check that fails is repeated after another delta: others may commit between its queries.
_CHECKS = 3
_MIGRATE = "If the tables are missing, run 'manage.py migrate secguard'. Blocks that are known stay in force."


#: Called after each poll. Empty: nobody measures.
after_poll: list[Callable[[Synchroniser], None]] = []


class Waiting(NamedTuple):
    """A decision that is not saved yet. ``since``: when it was taken, on the monotonic clock."""

    request: BlockRequest | LockRequest
    since: float


class Synchroniser:
    """Keeps what this process knows of decisions up to date, from the path of requests, without a thread.

    At most once a SYNC_INTERVAL one request asks the store for a token. If it differs from the last one the
    changes are read. Once a minute what is held is compared with the database's count, and read anew if that
    differs. Until the first load has ended requests pass.
    """

    def __init__(self) -> None:
        self.unsaved: deque[Waiting] = deque()
        self.lost_rows = 0
        self._feeds: tuple[Feed, ...] = (BlockFeed(), AllowedFeed(), LockFeed())
        self._busy = Lock()
        self._loading = Lock()
        self._next_poll = 0.0
        self._next_check = 0.0
        self._next_delta = 0.0
        self._token: str | None = None
        self._since: datetime | None = None
        self._backoff = BackOff(lambda: get_replica().clock())
        self._confirmed_at = get_replica().clock()
        self._second, self._saved = 0.0, 0

    @property
    def unread_for(self) -> float | None:
        """For how many seconds the database could not be asked, while that is so."""
        return self._backoff.failing_for

    @property
    def age(self) -> float:
        """Seconds since it was last known that memory says what the database does; from the start if it never was."""
        return get_replica().clock() - self._confirmed_at

    @property
    def failing(self) -> bool:
        """Did the database not do what it was asked last?"""
        return self.unread_for is not None

    def due(self) -> bool:
        """Is it time to ask? Called for every request."""
        return get_replica().clock() >= self._next_poll

    def poll(self) -> None:
        """Ask the store whether there is news, and read it."""
        if self._claim():
            self.refresh(get_store().get_token(TOKEN))
            self._polled()

    async def apoll(self) -> None:
        """The same, without blocking the event loop."""
        if self._claim():
            token = await get_store().aget_token(TOKEN)
            if self._wants(token):
                await sync_to_async(self.refresh)(token)
            else:
                self._confirm()
            self._polled()

    def _polled(self) -> None:
        for tell in after_poll:
            tell(self)

    def _confirm(self) -> None:
        """There is no news. If it is the others' word, then what is held is what the database says."""
        store = get_store()
        if store.shared and not store.degraded:
            self._confirmed_at = get_replica().clock()

    def _claim(self) -> bool:
        with self._busy:
            now = get_replica().clock()
            if now < self._next_poll:
                return False
            self._next_poll = now + max(get_settings().sync_interval, 0.001)
            return True

    def _wants(self, token: str | None) -> bool:
        now, store = get_replica().clock(), get_store()
        timed = now >= self._next_check or (now >= self._next_delta and (store.degraded or not store.shared))
        return timed or token != self._token or bool(self.unsaved) or must_announce()

    def refresh(self, token: str | None) -> None:
        """Read the changes if there may be any, and save what waits."""
        report_overdue_refusals()
        # One thread at a time: behind a database that hangs there must not be one more stuck each second.
        if not self._wants(token):
            self._confirm()
            return
        if not self._loading.acquire(blocking=False):
            return
        try:
            if must_announce():
                announce(database())
            # Read first: a database that takes no rows, because its disk is full, still says what was lifted.
            self._load(token)
            self.save_waiting()
        except Exception as error:
            self._failed(error)
        else:
            self._worked()
        finally:
            self._loading.release()

    def _load(self, token: str | None) -> None:
        alias = database()
        moment = Moment(alias)
        since = (self._since or moment.database) - OVERLAP
        fresh = not get_replica().loaded
        for feed in self._feeds:
            if fresh or not feed.loaded:
                self._read_all(feed, alias, since, moment)
                continue
            feed.read_changes(alias, since, moment)
            if moment.local >= self._next_check:
                self._check(feed, alias, since, moment)
        if moment.local >= self._next_check:
            self._next_check = moment.local + FULL_LOAD_INTERVAL
        self._since, self._token, self._next_delta = moment.database, token, moment.local + UNSHARED_INTERVAL
        self._confirmed_at = moment.local

    def _check(self, feed: Feed, alias: str, since: datetime, moment: Moment) -> None:
        for _ in range(_CHECKS):
            if feed.agrees(alias, since, moment):
                return
            feed.read_changes(alias, since, moment)
        self._read_all(feed, alias, since, moment)

    def _read_all(self, feed: Feed, alias: str, since: datetime, moment: Moment) -> None:
        feed.read_all(alias, since, moment)
        for waiting in list(self.unsaved):
            _put_in_force(waiting)

    # -- saving ------------------------------------------------------------------------------------------

    def save(self, requests: Sequence[BlockRequest | LockRequest]) -> None:
        """Save decisions now, or keep them: for the next poll if there are many, or until the database is back."""
        self.keep(requests)
        try:
            self.save_waiting(self._may_save())
        except Exception as error:
            self._failed(error)

    def keep(self, requests: Sequence[BlockRequest | LockRequest]) -> None:
        """Have decisions saved by whoever saves or loads next."""
        now = get_replica().clock()
        self.unsaved.extend(Waiting(request, now) for request in requests)
        with suppress(IndexError):
            while len(self.unsaved) > MAX_UNSAVED:
                self.unsaved.popleft()
                self.lost_rows += 1

    def _may_save(self) -> int:
        """How many rows may still be written in this second, outside of the polls."""
        with self._busy:
            now = get_replica().clock()
            if self.failing and now < self._next_poll:
                return 0
            if now >= self._second + 1:
                self._second, self._saved = now, 0
            return MAX_SAVED_AT_ONCE - self._saved

    def save_waiting(self, at_most: int = MAX_UNSAVED) -> None:
        """Save what waits for the database, the oldest first. Raises its errors, and keeps what could not be saved."""
        waiting = self._take_waiting(at_most)
        try:
            if waiting:
                _insert(waiting)
        except DataError:
            self._save_singly(waiting)
        except DatabaseError:
            self.unsaved.extendleft(reversed(waiting))
            raise
        except Exception:
            self._save_singly(waiting)

    def _save_singly(self, waiting: list[Waiting]) -> None:
        """One of them cannot be a row: it must not keep the others out."""
        for at, each in enumerate(waiting):
            try:
                _insert([each])
            except (OperationalError, InterfaceError):
                self.unsaved.extendleft(reversed(waiting[at:]))
                raise
            except Exception:
                self.lost_rows += 1
                report_failure("%r cannot be saved; it holds in this process alone", each.request)

    def _take_waiting(self, at_most: int) -> list[Waiting]:
        """Each is taken by one thread alone: a deque's pop is atomic."""
        taken: list[Waiting] = []
        with suppress(IndexError):
            while len(taken) < at_most:
                taken.append(self.unsaved.popleft())
        with self._busy:
            self._saved += len(taken)
        return taken

    # -- a database that is away -------------------------------------------------------------------------

    def _failed(self, error: Exception) -> None:
        worked = self._backoff.failed()
        self._next_poll = max(self._next_poll, self._backoff.until)
        if worked:
            report_degraded("database", error, _MIGRATE)

    def _worked(self) -> None:
        seconds = self._backoff.worked()
        if seconds is not None:
            report_recovered("database", seconds, lost_rows=self.lost_rows)


def _insert(waiting: Sequence[Waiting]) -> None:
    now = get_replica().clock()
    insert([each.request for each in waiting], [now - each.since for each in waiting])
    # Kept as if unsaved they would come back after somebody lifted and erased them.
    references = [each.request.reference for each in waiting]
    get_replica().saved(references)
    get_locks().saved(references)


def _put_in_force(waiting: Waiting) -> None:
    """A full load does not know what is not saved yet."""
    request, since = waiting
    expires = FOREVER if request.duration is None else since + request.duration
    if isinstance(request, BlockRequest):
        get_replica().add(BlockEntry(request.network, request.reference, expires, automatic=bool(request.rule)))
    else:
        get_locks().add(LockEntry(request.digest, request.reference, expires, request.scope))


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
    otherwise = "a transaction could not be asked after; a block is saved all the same"
    if not waits_for_commit(lambda: synchroniser.keep(requests), lambda: synchroniser.save([]), otherwise):
        synchroniser.save(requests)


def save_at_exit() -> None:
    """The process ends: save what still waits. Never raises."""
    try:
        synchroniser = get_synchroniser()
        if synchroniser.unsaved:
            synchroniser.save_waiting()
    except Exception:
        report_failure("decisions that waited for the database could not be saved before the process ended")
