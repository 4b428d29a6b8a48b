"""When a store that failed is asked again."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

#: Seconds between two looks at a store that is away: at most one probe a second and process.
PROBE_INTERVAL = 1.0
#: A store that comes and goes is looked at less often, but so often that it is in use again within five seconds.
_LONGEST_INTERVAL = 4.0
#: Away again so soon after it was back, it never really was: it comes and goes.
RELAPSE_SECONDS = 30.0
#: A probe of which nothing was heard any more: its thread was killed with it.
_LOST_PROBE_SECONDS = 10.0


#: Told of each call of a store how many seconds it took, and whether there was an answer. Empty: nobody measures.
watchers: list[Callable[[float, bool], None]] = []


class Breaker:
    """Open after one failure; then one caller at a time may look whether the store is back. Thread-safe.

    ``clock``: seconds, monotonic. ``interval``: seconds between two looks. It doubles, up to four seconds, with
    each relapse: a failure within half a minute of the last recovery.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, interval: float = PROBE_INTERVAL) -> None:
        self.clock = clock
        self._shortest = self._interval = interval
        self._lock = Lock()
        self.opened_at: float | None = None
        self._closed_at = float("-inf")
        self._next_probe = 0.0

    def may_try(self) -> bool:
        """Is the store to be asked? While open, one caller an interval is told yes: and none while it asks."""
        if self.opened_at is None:
            return True
        now = self.clock()
        with self._lock:
            if self.opened_at is not None and now < self._next_probe:
                return False
            self._next_probe = now + _LOST_PROBE_SECONDS
            return True

    def failed(self) -> bool:
        """Note a failure. → True if this one opened the breaker."""
        now = self.clock()
        with self._lock:
            first = self.opened_at is None
            if first:
                self.opened_at = now
                relapse = now - self._closed_at < RELAPSE_SECONDS
                self._interval = min(2 * self._interval, _LONGEST_INTERVAL) if relapse else self._shortest
            self._next_probe = now + self._interval
            return first

    def succeeded(self) -> float | None:
        """Note a success. → how long the breaker was open, in seconds, if this one closed it."""
        with self._lock:
            opened, self.opened_at = self.opened_at, None
            if opened is None:
                return None
            self._closed_at = self.clock()
            return self._closed_at - opened

    def asking(self) -> Asking:
        """Around a call of the store: what ends the process or the task is no answer."""
        return Asking(self)

    def gave_up(self) -> None:
        """Whoever asked was stopped before there was an answer: somebody else may look, an interval from now."""
        if self.opened_at is not None:
            with self._lock:
                self._next_probe = self.clock() + self._interval


class Asking:
    """One call of the store, from its beginning to its end."""

    __slots__ = ("_began", "_breaker")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and not issubclass(kind, Exception):
            self._breaker.gave_up()
        for watch in watchers:
            watch(time.perf_counter() - self._began, kind is None)
