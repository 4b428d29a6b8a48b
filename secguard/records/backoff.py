"""How long a database that failed is left alone."""

from __future__ import annotations

from collections.abc import Callable

#: Seconds until it is asked again: the first time, and at most.
FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0


class BackOff:
    """Twice as long after each failure, until it has worked again. ``clock``: seconds, monotonic.

    ``until``: when it may be asked again.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None
        self._retry = FIRST_RETRY
        self.until = 0.0

    @property
    def failing_for(self) -> float | None:
        """Seconds since it first failed; None if it worked the last time."""
        return None if self._since is None else self._clock() - self._since

    @property
    def must_wait(self) -> bool:
        return self._since is not None and self._clock() < self.until

    def failed(self) -> bool:
        """It failed. → did it work the time before?"""
        now, worked = self._clock(), self._since is None
        self.until, self._retry = now + self._retry, min(self._retry * 2, LONGEST_RETRY)
        if worked:
            self._since = now
        return worked

    def worked(self) -> float | None:
        """It worked. → for how many seconds it had failed, if it had"""
        seconds = self.failing_for
        self._since, self._retry = None, FIRST_RETRY
        return seconds
