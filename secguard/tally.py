"""What happened how often: counted in this process, a minute at a time, until somebody takes it away to keep it."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import RLock
from typing import NamedTuple

#: Seconds that one number stands for.
MINUTE = 60
#: Numbers that are kept at most, if nobody takes them away: what comes then is counted as lost.
MAX_KEYS = 10_000


class TallyKey(NamedTuple):
    """What is counted together: a minute (seconds since the epoch), a type of event, and the rule it is of, or none."""

    minute: int
    event_type: str
    rule: str = ""


class Tally:
    """Counts events by minute, type and rule. Thread-safe, bounded.

    ``lost``: events that could not be counted, because nobody took the numbers away for too long.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._counts: dict[TallyKey, int] = {}
        # A signal's handler may log in the midst of another event.
        self._lock = RLock()
        self.lost = 0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, event_type: str, rule: str = "", count: int = 1) -> None:
        """So many more of these have happened just now."""
        key = TallyKey(int(self._clock()) // MINUTE * MINUTE, event_type, rule)
        with self._lock:
            self._add(key, count)

    def take(self) -> dict[TallyKey, int]:
        """The numbers since the last time. They are the caller's from now on."""
        with self._lock:
            taken, self._counts = self._counts, {}
            return taken

    def give_back(self, counts: dict[TallyKey, int]) -> None:
        """Numbers that could not be kept: they are taken away once more."""
        with self._lock:
            for key, count in counts.items():
                self._add(key, count)

    def _add(self, key: TallyKey, count: int) -> None:
        if key in self._counts or len(self._counts) < MAX_KEYS:
            self._counts[key] = self._counts.get(key, 0) + count
        else:
            self.lost += count
