"""How many attempts may wait for a slot in this process, so that waiting starves nobody else."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

#: Where the server does not say how many threads it has.
UNKNOWN_THREADS_WAITERS = 16
#: A waiting coroutine holds no thread: this bounds memory and the load on the store.
ASYNC_WAITERS = 256


class WaitingRoom:
    """Counts who waits. ``limit``: RESERVE_MAX_WAITERS, or None to find it from the server's threads."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting = 0

    def stay(self, seconds: float) -> Stay:
        return Stay(self._enter, self._leave, seconds)

    def astay(self, seconds: float) -> Stay:
        return Stay(self._aenter, self._leave, seconds)

    def _enter(self) -> bool:
        """May one more wait, here and now? A thread that runs an event loop never waits."""
        if runs_event_loop():
            return False
        return self._take(waiters_for_threads(server_threads()) if self._limit is None else self._limit)

    def _aenter(self) -> bool:
        return self._take(ASYNC_WAITERS if self._limit is None else self._limit)

    def _leave(self) -> None:
        with self._lock:
            self._waiting -= 1

    def _take(self, limit: int) -> bool:
        with self._lock:
            if self._waiting >= limit:
                return False
            self._waiting += 1
            return True


class Stay:
    """One attempt's wait: entered when it first has to, ended by RESERVE_WAIT or by leaving."""

    def __init__(self, enter: Callable[[], bool], leave: Callable[[], None], seconds: float) -> None:
        self._enter, self._leave, self._seconds = enter, leave, seconds
        self._deadline: float | None = None
        self._inside = False

    def may_go_on(self) -> bool:
        """May the attempt wait (still)?"""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._seconds
            self._inside = self._enter()
        return self._inside and time.monotonic() < self._deadline

    def __enter__(self) -> Stay:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._inside:
            self._leave()


def runs_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def waiters_for_threads(threads: int | None) -> int:
    """All threads but an eighth, and at least two of them, stay free for other requests."""
    if threads is None:
        return UNKNOWN_THREADS_WAITERS
    if threads == 1:
        # A worker of one thread serves nobody else in any case, and an asgiref thread serves one request.
        return ASYNC_WAITERS
    return max(1, threads - max(2, threads // 8))


def server_threads() -> int | None:
    """How many threads serve requests in this process, if the server tells.

    uWSGI and mod_wsgi say so themselves. gunicorn's threaded workers and asgiref run requests in a
    ThreadPoolExecutor, of which the current thread knows the size. Others (runserver, waitress) do not
    tell: set RESERVE_MAX_WAITERS there.
    """
    uwsgi = sys.modules.get("uwsgi")
    if uwsgi is not None:
        return int(uwsgi.opt.get("threads", 1))
    mod_wsgi = sys.modules.get("mod_wsgi")
    if mod_wsgi is not None:
        return int(mod_wsgi.threads_per_process)
    return _executor_threads()


def _executor_threads() -> int | None:
    # The first argument of a pool's thread is a weak reference to its pool: undocumented, hence the care.
    arguments = getattr(threading.current_thread(), "_args", None)
    reference = arguments[0] if arguments else None
    executor = reference() if callable(reference) else None
    return executor._max_workers if isinstance(executor, ThreadPoolExecutor) else None
