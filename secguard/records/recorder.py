"""Events on their way into the record: in bulk, after the view, at a bounded rate. Never raises at a user."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock, RLock

from django.apps import apps
from django.db import DataError, IntegrityError

from secguard import emit
from secguard.conf import until_settings_change
from secguard.context import current
from secguard.events import AT_WILL, NUMEROUS, VOCABULARY, Event, EventType, new_event_id
from secguard.failures import report_failure
from secguard.models import EventRecord
from secguard.pipeline import make_event
from secguard.pipeline.decisions import have_saved
from secguard.records import chain
from secguard.records.backoff import BackOff
from secguard.records.database import database, note_home, waits_for_commit
from secguard.records.rows import aggregate, count_of, is_recorded, row_of

#: Rows in a second and process of what anybody may bring about: the rest of an attack is a number.
MAX_ROWS_PER_SECOND = 50
#: And of what the guard, the project's users and its operators do.
MAX_OWN_ROWS_PER_SECOND = 150
#: Rows that wait for the database, at most.
MAX_WAITING = 10_000
#: Rows in one statement.
BATCH = 500
#: Seconds between two events that say what has no row.
SAY_INTERVAL = 60.0
#: What waits for the next save in any case: of threads of our own, which shall get no connection to the database, and
#: what is told in the midst of saving, when nobody looks after the request's rows any more.
_KEPT = {EventType.ALERT_NOT_DELIVERED, EventType.EVENTS_NOT_RECORDED}
#: What a row itself brings about; all else is the database, which may be back later.
_OF_A_ROW = (DataError, IntegrityError, ValueError, TypeError, OverflowError)
#: What a stranger brings about as often as he likes: it must keep nothing out of the record that an operator does.
_AT_ANYBODYS_WILL = AT_WILL | NUMEROUS | {EventType.CLIENT_ADDRESS_UNKNOWN}
_HINT = "The log has them. If the tables are missing, run 'manage.py migrate secguard'."


class Recorder:
    """Takes rows, and saves them when it is told to. Thread-safe, bounded.

    ``unrecorded``: events that got no row, by type, since the process started.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.waiting: deque[EventRecord] = deque()
        self.unrecorded: Counter[str] = Counter()
        self._clock = clock
        self._lock, self._saving = RLock(), Lock()
        self._second, self._taken, self._own = -1.0, 0, 0
        self._overflow: dict[str, tuple[int, Event]] = {}
        self._unsaid: Counter[str] = Counter()
        self._next_say = clock()
        self._backoff = BackOff(clock)

    # -- taking ------------------------------------------------------------------------------------------

    def admit(self, event: Event) -> bool:
        """May this event have a row? In a second so many may; the others are counted by their type."""
        is_own = event.type in VOCABULARY and event.type not in _AT_ANYBODYS_WILL
        with self._lock:
            now = self._clock()
            if now >= self._second + 1:
                self._second, self._taken, self._own = now, 0, 0
            if is_own and self._own < MAX_OWN_ROWS_PER_SECOND:
                self._own += 1
                return True
            if not is_own and self._taken < MAX_ROWS_PER_SECOND:
                self._taken += 1
                return True
            times = _times(event.type, count_of(event.context))
            count, sample = self._overflow.get(event.type, (0, event))
            self._overflow[event.type] = (count + times, sample)
            self._unrecord(event.type, times)
            return False

    def keep(self, rows: Sequence[EventRecord]) -> None:
        """Have rows saved by whoever saves next."""
        self.waiting.extend(rows)
        with suppress(IndexError):
            while len(self.waiting) > MAX_WAITING:
                dropped = self.waiting.popleft()
                with self._lock:
                    self._unrecord(dropped.event_type, _times(dropped.event_type, dropped.count))

    def _unrecord(self, event_type: str, count: int) -> None:
        self.unrecorded[event_type] += count
        self._unsaid[event_type] += count

    # -- saving ------------------------------------------------------------------------------------------

    @property
    def due(self) -> bool:
        """Is there anything that a poll should save or say?"""
        return bool(self.waiting or self._overflow or self._unsaid)

    def save(self, rows: Sequence[EventRecord] = ()) -> None:
        """Save these and all that waits, or keep them while the database is away."""
        self.keep(rows)
        # One thread at a time: behind a database that hangs there must not be one more stuck with each request.
        if self._backoff.must_wait or not self._saving.acquire(blocking=False):
            return
        try:
            self.save_waiting()
        except Exception as error:
            self._backoff.failed()
            report_failure("events could not be saved in the database, and wait for it. %s", _HINT, error=error)
        else:
            self._backoff.worked()
        finally:
            self._saving.release()
        self._say()

    def save_waiting(self) -> None:
        """Save what waits. Raises the database's errors, and keeps what could not be saved."""
        with self._lock:
            overflow, self._overflow = self._overflow, {}
        self.keep([aggregate(*found) for found in overflow.values()])
        while rows := self._take():
            try:
                insert(rows)
            except _OF_A_ROW:
                self._save_singly(rows)
            except Exception:
                self.waiting.extendleft(reversed(rows))
                raise

    def _save_singly(self, rows: list[EventRecord]) -> None:
        """One of them cannot be a row: it must not keep the others out."""
        for at, row in enumerate(rows):
            try:
                insert([row])
            except _OF_A_ROW:
                with self._lock:
                    self._unrecord(row.event_type, _times(row.event_type, row.count))
                report_failure("an event cannot be saved; its line is in the log")
            except Exception:
                self.waiting.extendleft(reversed(rows[at:]))
                raise

    def _take(self) -> list[EventRecord]:
        """Each is taken by one thread alone: a deque's pop is atomic."""
        taken: list[EventRecord] = []
        with suppress(IndexError):
            while len(taken) < BATCH:
                taken.append(self.waiting.popleft())
        return taken

    def _say(self) -> None:
        """What has no row is said, at most once a minute."""
        with self._lock:
            if not self._unsaid or self._clock() < self._next_say:
                return
            self._next_say = self._clock() + SAY_INTERVAL
            unsaid, self._unsaid = self._unsaid, Counter()
        count = unsaid.total()
        # A text: as keys of a mapping some types would be taken for secrets.
        types = ", ".join(f"{event_type}: {times}" for event_type, times in unsaid.most_common(20))
        details = {"count": count, "types": types, "hint": _HINT, "event_id": new_event_id()}
        message = f"{count} events have no row of their own: they were too many, or the database was away for too long"
        emit.emit(make_event(EventType.EVENTS_NOT_RECORDED, message, details))


def _times(event_type: str, count: int | None) -> int:
    """How many events one of this count stands for. A threat's count is what its rule counted."""
    return count or 1 if event_type in _AT_ANYBODYS_WILL else 1


def insert(rows: Sequence[EventRecord]) -> None:
    """Write rows, in one transaction. Raises the database's errors."""
    chain.insert(rows, database())


@until_settings_change
def get_recorder() -> Recorder:
    return Recorder()


def record(event: Event) -> None:
    """Have an event recorded: by the middleware once the view's transaction has ended, or where there is none, at once.

    What comes often, and what threads of our own tell, waits for the next poll in any case.
    """
    # While Django starts there is no database yet: what happens then has its line.
    if not apps.ready:
        return
    note_home()
    if not is_recorded(event):
        return
    recorder = get_recorder()
    if not recorder.admit(event):
        return
    if event.type in NUMEROUS or event.type in _KEPT:
        recorder.keep([row_of(event)])
    else:
        have_saved(row_of(event), current())


def save_outside_request(rows: Sequence[EventRecord]) -> None:
    """Save rows where no middleware waits for the end; never raises.

    Inside a transaction they wait for its end: rolled back they would be gone, and an error would break it. On an event
    loop's thread they wait for the next poll.
    """
    recorder = get_recorder()
    if _is_event_loop():
        recorder.keep(rows)
        return
    otherwise = "a transaction could not be asked after; an event is saved all the same"
    if not waits_for_commit(lambda: recorder.keep(rows), recorder.save, otherwise):
        recorder.save(rows)


def _is_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
