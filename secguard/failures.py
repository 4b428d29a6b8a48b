"""Where secguard tells of its own failures: to the logger ``secguard``, and never by an exception."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock

#: What goes wrong inside secguard itself, with tracebacks.
internal_logger = logging.getLogger("secguard")

#: Seconds in which the same failure is told once: it may come with each request of a flood, a traceback each.
INTERVAL = 60.0


class _Told:
    """When each failure was last told, and how often it has come since.

    A failure is a message of ours and a class of exceptions, so that there are few: what it was about may be different
    with each request.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next: dict[tuple[str, type], tuple[float, int]] = {}
        self._lock = Lock()

    def may_tell(self, failure: tuple[str, type]) -> int | None:
        """→ how many of the same were not told before this one, or None if this one is not told either."""
        with self._lock:
            now = self._clock()
            until, untold = self._next.get(failure, (now, 0))
            if now < until:
                self._next[failure] = (until, untold + 1)
                return None
            self._next[failure] = (now + INTERVAL, 0)
            return untold


_told = _Told()


def report_failure(message: str, *args: object, error: BaseException | None = None) -> None:
    """Log what went wrong, the same once a minute. If even that raises, standard error is the last to be told."""
    trouble = error or sys.exc_info()[1]
    try:
        untold = _told.may_tell((message, type(trouble)))
        if untold is None:
            return
        more = f" ({untold} times more since it was last told)" if untold else ""
        internal_logger.error(message + more, *args, exc_info=trouble)
    except Exception as last:
        with suppress(Exception):
            print(f"secguard: {_shown(message, args)}: {_shown('%r', (trouble,))}; then {last!r}", file=sys.stderr)


def _shown(message: str, args: tuple[object, ...]) -> str:
    try:
        return message % args
    except Exception:
        return message


def begin_anew(clock: Callable[[], float] = time.monotonic) -> None:
    """Forget what has been told: in a forked process another's lock would stay locked, and each test has its own."""
    global _told
    _told = _Told(clock)
