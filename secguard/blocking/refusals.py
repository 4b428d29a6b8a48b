"""A flood of refusals is one line a minute and subject, not a line each."""

from __future__ import annotations

import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

#: Seconds between two lines about one subject.
INTERVAL = 60.0
_MAX_EPISODES = 10_000
#: Subjects that get a line at once, in one second: an attack from everywhere must not fill the disk.
MAX_FIRST_LINES = 100


@dataclass(slots=True)
class Episode:
    """The refusals of one subject that follow each other. ``reference`` stands in its log lines.

    ``pages``: what was rendered for this subject, so that a flood is answered from memory.
    """

    subject: str
    kind: str
    next_line: float
    reference: str = field(default_factory=lambda: os.urandom(8).hex())
    unreported: int = 0
    total: int = 0
    pages: dict[object, object] = field(default_factory=dict)


class RefusalLog:
    """Counts refusals by subject and says when one is due for a line. Thread-safe, bounded."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, interval: float = INTERVAL) -> None:
        self._clock = clock
        self._interval = interval
        self._episodes: OrderedDict[tuple[str, str], Episode] = OrderedDict()
        self._ended: deque[Episode] = deque(maxlen=_MAX_EPISODES)
        self._second, self._begun = 0, 0
        self._lock = Lock()

    def note(self, kind: str, subject: str) -> tuple[Episode, int]:
        """One more refusal. → the episode, and how many refusals the line now due stands for (0: none is)."""
        now = self._clock()
        with self._lock:
            episode = self._episodes.get((kind, subject))
            if episode is None:
                episode = self._begin(kind, subject, now)
            else:
                self._episodes.move_to_end((kind, subject))
            episode.unreported += 1
            episode.total += 1
            if now < episode.next_line:
                return episode, 0
            if episode.total == 1 and not self._may_begin(now):
                episode.next_line = now + self._interval
                return episode, 0
            due, episode.unreported = episode.unreported, 0
            episode.next_line = now + self._interval
            return episode, due

    def _may_begin(self, now: float) -> bool:
        """The first lines of a second are bounded: the rest of its subjects get theirs an interval later."""
        second = int(now)
        if second != self._second:
            self._second, self._begun = second, 0
        self._begun += 1
        return self._begun <= MAX_FIRST_LINES

    def _begin(self, kind: str, subject: str, now: float) -> Episode:
        episode = self._episodes[kind, subject] = Episode(subject, kind, next_line=now)
        if len(self._episodes) > _MAX_EPISODES:
            # An attacker from many addresses must not fill the memory: the oldest ends early.
            _, oldest = self._episodes.popitem(last=False)
            self._ended.append(oldest)
        return episode

    def overdue(self) -> list[tuple[Episode, int]]:
        """Episodes that ended with refusals not yet reported, because nothing came any more or too many did."""
        now = self._clock()
        with self._lock:
            over = [key for key, each in self._episodes.items() if now >= each.next_line + self._interval]
            episodes = [*self._ended, *(self._episodes.pop(key) for key in over)]
            self._ended.clear()
        return [(episode, episode.unreported) for episode in episodes if episode.unreported]

    def all_unreported(self) -> list[tuple[Episode, int]]:
        """What is left when the process ends."""
        with self._lock:
            episodes = [*self._ended, *self._episodes.values()]
            self._ended.clear()
            self._episodes.clear()
        return [(episode, episode.unreported) for episode in episodes if episode.unreported]
