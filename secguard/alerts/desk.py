"""Decides what is worth a message, and when: the same once in a quiet period, many in one digest, a bounded number an
hour. Used by one thread; knows no channel."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from secguard.alert_options import AlertOptions, Trigger
from secguard.alerts.counters import Counters
from secguard.alerts.messages import MAX_LISTED, Alert, Message, alert_of
from secguard.events import Event


class Notice(NamedTuple):
    """An event that some trigger wants, and when it happened, in seconds since the epoch."""

    time: float
    event: Event


class Desk:
    """From events to messages. ``clock``: seconds, monotonic."""

    def __init__(self, options: AlertOptions, counters: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._counters = counters
        self._clock = clock
        self._waiting: list[Alert] = []
        self._more = 0
        self._next = float("-inf")
        self.lost = 0

    @property
    def next_look(self) -> float | None:
        """When something is to be sent, by the clock; None: there is nothing."""
        return self._next if self._waiting or self.lost else None

    @property
    def waiting(self) -> int:
        """How many alerts have not been made a message."""
        return len(self._waiting) + self._more

    def take(self, notices: Sequence[Notice]) -> None:
        """Look at what happened."""
        for trigger in self._options.triggers:
            wanted = [each for each in notices if trigger.wants(each.event)]
            if not wanted:
                continue
            if trigger.threshold > 1:
                self._count(trigger, wanted)
            else:
                for each in wanted:
                    self._tell(alert_of(trigger, each.event, each.time))

    def drop(self) -> None:
        """Forget what waits."""
        self._waiting, self._more, self.lost = [], 0, 0

    def _count(self, trigger: Trigger, wanted: list[Notice]) -> None:
        count = self._counters.count(trigger, len(wanted))
        if count >= trigger.threshold:
            self._tell(alert_of(trigger, wanted[-1].event, wanted[-1].time, count))

    def _tell(self, alert: Alert) -> None:
        turn = self._counters.ask(alert.key)
        if not turn.granted:
            return
        alert.repeats = turn.repeats
        self._waiting.append(alert)
        if len(self._waiting) > MAX_LISTED:
            self._more += 1
            kinds = [each.kind for each in self._waiting]
            # The newest of those that there are most of: a flood of one kind must not hide another.
            most = max(reversed(kinds), key=kinds.count)
            del self._waiting[len(kinds) - 1 - kinds[::-1].index(most)]

    def message(self, *, at_once: bool = False) -> Message | None:
        """What is to be sent now, if anything. ``at_once``: do not gather any more, since the process ends."""
        if not (self._waiting or self.lost):
            return None
        if not at_once and self._clock() < self._next:
            return None
        wait = self._counters.wait()
        if wait:
            self._next = self._clock() + max(wait, self._options.digest)
            return None
        self._next = self._clock() + self._options.digest
        alerts, more, lost = self._waiting, self._more, self.lost
        self.drop()
        kind = "alert" if len(alerts) + more == 1 else "digest"
        return Message(kind, site_of(self._options), alerts, more, lost)


def site_of(options: AlertOptions) -> str:
    """What messages call the site: what ALERTS says, else the machine."""
    return options.site or socket.gethostname() or "secguard"
