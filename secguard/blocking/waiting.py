"""How attempts wait for a slot in this process: one asks for all, and never so many that others starve."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from secguard.detection.detector import ASKING, QUEUING, TAKEN

#: Where the server does not say how many threads it has.
UNKNOWN_THREADS_WAITERS = 16
#: A waiting coroutine holds no thread: this bounds memory and the load on the store.
ASYNC_WAITERS = 256


#: Seconds for which one too many stands at the door, if the limit is our own guess at what the server can spare.
#: (Measured: gunicorn gave one worker of 30 threads 34 of 50 parallel logins; refused at once, 7 honest users
#: of 50 did not get in. A place falls free every few hundred milliseconds.)
DOOR_SECONDS = 3.0


class WaitingRoom:
    """Who waits in this process, and whose turn it is to ask. Thread-safe.

    ``limit``: RESERVE_MAX_WAITERS, or None to find it from the server's threads. ``clock``: seconds.
    """

    def __init__(self, limit: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._limit = limit
        self.door_seconds = DOOR_SECONDS if limit is None else 0.0
        self._lock = threading.Lock()
        self._waiting = 0
        self._turns: dict[bytes, Stay] = {}

    def stay(self, seconds: float) -> Stay:
        """One attempt's stay, on a thread that it holds. ``seconds``: RESERVE_WAIT."""
        return Stay(self, seconds)

    def astay(self, seconds: float) -> Stay:
        """The same for a coroutine."""
        return CoroutineStay(self, seconds)

    def enter(self, found: Callable[[], int]) -> bool:
        """``found``: how many may wait, if the settings do not say."""
        limit = found() if self._limit is None else self._limit
        with self._lock:
            if self._waiting >= limit:
                return False
            self._waiting += 1
            return True

    def leave(self) -> None:
        with self._lock:
            self._waiting -= 1

    def take_turn(self, key: bytes, stay: Stay) -> str:
        with self._lock:
            holder = self._turns.setdefault(key, stay)
        if holder is stay:
            return TAKEN
        return QUEUING if holder.is_queuing else ASKING

    def end_turn(self, key: bytes) -> None:
        with self._lock:
            del self._turns[key]


class Stay:
    """One attempt in the waiting room, until it leaves the ``with`` block."""

    __slots__ = ("_deadline", "_entered", "_room", "_seconds", "_turn", "is_queuing")

    def __init__(self, room: WaitingRoom, seconds: float) -> None:
        self._room, self._seconds = room, seconds
        self._deadline: float | None = None
        self._entered = False
        self._turn: bytes | None = None
        self.is_queuing = False

    def take_turn(self, key: bytes) -> str:
        """→ TAKEN, ASKING or QUEUING, as the detector understands them."""
        answer = self._room.take_turn(key, self)
        if answer == TAKEN:
            self._turn = key
        return answer

    def may_pause(self, queuing: bool) -> bool:
        """May the attempt wait (still)? Only who queues takes one of the places that are counted."""
        now = self._room.clock()
        if self._deadline is None:
            self._deadline = now + self._seconds
        if now >= self._deadline or self.holds_event_loop():
            return False
        if not queuing:
            return True
        self.is_queuing = True
        if not self._entered:
            self._entered = self._room.enter(self.places)
        return self._entered or now < self._deadline - self._seconds + self._room.door_seconds

    def __enter__(self) -> Stay:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._turn is not None:
            self._room.end_turn(self._turn)
        if self._entered:
            self._room.leave()

    def holds_event_loop(self) -> bool:
        """Would all others stand still while this one waits?"""
        return runs_event_loop()

    def places(self) -> int:
        return waiters_for_threads(server_threads())


class CoroutineStay(Stay):
    """The same for a coroutine, which holds no thread."""

    __slots__ = ()

    def holds_event_loop(self) -> bool:
        return False

    def places(self) -> int:
        return ASYNC_WAITERS


def runs_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def waiters_for_threads(threads: int | None) -> int:
    """All threads but an eighth, and but one at least: those stay free for other requests."""
    if threads is None:
        return UNKNOWN_THREADS_WAITERS
    if threads == 1:
        # A worker of one thread serves nobody else in any case, and an asgiref thread serves one request.
        return ASYNC_WAITERS
    return threads - max(1, threads // 8)


def server_threads() -> int | None:
    """How many threads serve requests in this process, if the server tells.

    uWSGI and mod_wsgi say so themselves. gunicorn's threaded workers and asgiref run requests in a
    ThreadPoolExecutor, of which the current thread knows the size. waitress names its threads. Others
    (runserver) do not tell: set RESERVE_MAX_WAITERS there.
    """
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None:
        return int(uwsgi.opt.get("threads", 1))
    mod_wsgi = sys.modules.get("mod_wsgi")
    if mod_wsgi is not None:
        return int(mod_wsgi.threads_per_process)
    return _waitress_threads() or _executor_threads()


def _waitress_threads() -> int:
    """waitress names its threads, and starts all of them at once."""
    if not threading.current_thread().name.startswith("waitress-"):
        return 0
    return sum(thread.name.startswith("waitress-") for thread in threading.enumerate())


def _executor_threads() -> int | None:
    # The first argument of a pool's thread is a weak reference to its pool: undocumented, hence the care.
    arguments = getattr(threading.current_thread(), "_args", None)
    reference = arguments[0] if arguments else None
    executor = reference() if isinstance(reference, weakref.ref) else None
    return executor._max_workers if isinstance(executor, ThreadPoolExecutor) else None
