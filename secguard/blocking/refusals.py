"""A flood of refusals is one line a minute and subject, or a bounded number of them; not a line each."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

#: Seconds between two lines about one subject.
INTERVAL = 60.0
_MAX_EPISODES = 10_000
#: Lines that are written at once, in one second: an attack from everywhere must not fill the disk.
MAX_LINES_PER_SECOND = 100


@dataclass(slots=True)
class Episode:
    """The refusals of one subject that follow each other. ``reference`` stands in its log lines.

    ``pages``: what was rendered for this subject, so that a flood is answered from memory. ``lines_left``: those
    that it may still have before ``next_line``.
    """

    subject: str
    kind: str
    next_line: float
    reference: str = field(default_factory=lambda: os.urandom(8).hex())
    lines_left: int = 0
    unreported: int = 0
    total: int = 0
    pages: dict[object, object] = field(default_factory=dict)


@dataclass(slots=True)
class Crowd:
    """How many subjects, and how many refusals of theirs, had no line of their own."""

    subjects: int = 0
    refusals: int = 0

    def add(self, episode: Episode) -> None:
        self.subjects += 1
        self.refusals += episode.unreported


def _crowd_of(episode: Episode) -> str:
    """The kind; of refusals at locked accounts there are as many as locks."""
    return "locked" if episode.kind.startswith("locked:") else episode.kind


class RefusalLog:
    """Counts refusals by subject and says when one is due for a line. Thread-safe, bounded.

    The subjects are those of the last minutes. Where they are too many the oldest lose their names: they are a *crowd*.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, interval: float = INTERVAL) -> None:
        self._clock = clock
        self._interval = interval
        self._episodes: OrderedDict[tuple[str, str], Episode] = OrderedDict()
        self._crowds: dict[str, Crowd] = {}
        self._second, self._begun = 0, 0
        self._lock = Lock()

    def note(self, kind: str, subject: str, lines: int = 1) -> tuple[Episode, int]:
        """One more refusal. → the episode, and how many refusals the line now due stands for (0: none is).

        ``lines``: how many the subject may have in an interval. The first lines stand for a refusal each.
        """
        now = self._clock()
        with self._lock:
            episode = self._episodes.get((kind, subject))
            if episode is None:
                episode = self._begin(kind, subject, now)
            else:
                self._episodes.move_to_end((kind, subject))
            episode.unreported += 1
            episode.total += 1
            if now >= episode.next_line:
                episode.next_line, episode.lines_left = now + self._interval, lines
            if episode.lines_left and not self._may_write(now):
                episode.lines_left = 0
            if not episode.lines_left:
                return episode, 0
            episode.lines_left -= 1
            due, episode.unreported = episode.unreported, 0
            return episode, due

    def _may_write(self, now: float) -> bool:
        """The lines of a second are bounded: what is beyond is counted, and said an interval later."""
        second = int(now)
        if second != self._second:
            self._second, self._begun = second, 0
        self._begun += 1
        return self._begun <= MAX_LINES_PER_SECOND

    def _begin(self, kind: str, subject: str, now: float) -> Episode:
        episode = self._episodes[kind, subject] = Episode(subject, kind, next_line=now)
        if len(self._episodes) > _MAX_EPISODES:
            # An attacker from many addresses must not fill the memory, nor the log with a line for each of them.
            _, oldest = self._episodes.popitem(last=False)
            if oldest.unreported:
                self._lose_name(oldest)
        return episode

    def _lose_name(self, episode: Episode) -> None:
        self._crowds.setdefault(_crowd_of(episode), Crowd()).add(episode)

    def overdue(self) -> list[tuple[Episode, int]]:
        """Episodes that ended with refusals not yet reported, because nothing came any more or too many did.

        At most as many as may have a line in a second; the rest are a crowd.
        """
        now = self._clock()
        with self._lock:
            over = [key for key, each in self._episodes.items() if now >= each.next_line + self._interval]
            ended = [self._episodes.pop(key) for key in over]
            untold = [episode for episode in ended if episode.unreported]
            for episode in untold[MAX_LINES_PER_SECOND:]:
                self._lose_name(episode)
        return [(episode, episode.unreported) for episode in untold[:MAX_LINES_PER_SECOND]]

    def crowds(self) -> dict[str, Crowd]:
        """Those who lost their names since this was last asked, by kind."""
        with self._lock:
            crowds, self._crowds = self._crowds, {}
        return crowds

    def begin_anew(self) -> None:
        """As if nothing had been refused."""
        with self._lock:
            self._episodes.clear()
            self._crowds.clear()
            self._begun = 0

    def all_unreported(self) -> list[tuple[Episode, int]]:
        """What is left when the process ends."""
        with self._lock:
            episodes = list(self._episodes.values())
            self._episodes.clear()
        return [(episode, episode.unreported) for episode in episodes if episode.unreported]
