"""How often everything happened, from this process's memory into the database: rarely, and in bulk. Never raises."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from django.db import transaction
from django.db.models import F

from secguard import emit
from secguard.conf import until_settings_change
from secguard.failures import report_failure
from secguard.models import EventCount
from secguard.records.database import database, moment_at
from secguard.tally import TallyKey

#: Seconds between two times that a process writes what it has counted.
INTERVAL = 10.0
#: While the database is away, at most.
LONGEST_INTERVAL = 60.0
_Key = tuple[int, int, str, str]


class Rollups:
    """Writes the tally of this process, at most once in ten seconds. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._interval = INTERVAL
        self._next = clock() + INTERVAL
        self._lock = Lock()

    @property
    def due(self) -> bool:
        return self._clock() >= self._next and len(emit.get_tally()) > 0

    def flush(self) -> None:
        """Write what was counted since the last time. What cannot be written is counted once more. Never raises."""
        if not self._lock.acquire(blocking=False):
            return  # another thread does it
        try:
            tally = emit.get_tally()
            counts = tally.take()
            try:
                if counts:
                    add(counts)
                self._interval = INTERVAL
            except Exception:
                tally.give_back(counts)
                self._interval = min(self._interval * 2, LONGEST_INTERVAL)
                report_failure("the counts of events could not be saved; they are kept and saved later")
            self._next = self._clock() + self._interval
        finally:
            self._lock.release()


@until_settings_change
def get_rollups() -> Rollups:
    return Rollups()


def add(counts: Mapping[TallyKey, int]) -> None:
    """Add numbers to those of the minutes and hours that they are of. Raises the database's errors."""
    sums: Counter[_Key] = Counter()
    for key, count in counts.items():
        for span in EventCount.Span:
            sums[int(span), key.minute // span * span, key.event_type, key.rule] += count
    alias = database()
    rows = EventCount.objects.using(alias)
    # In the same order everywhere: two processes that add to the same rows must not wait for each other.
    wanted = sorted(sums)
    # By itself: what ignores conflicts may lock the rows that are there, until the transaction ends.
    rows.bulk_create([EventCount(**_fields(each)) for each in wanted], ignore_conflicts=True)
    with transaction.atomic(using=alias):
        for each in wanted:
            rows.filter(**_fields(each)).update(count=F("count") + sums[each])


def _fields(key: _Key) -> dict[str, Any]:
    span, start, event_type, rule = key
    return {"span": span, "start": moment_at(start), "event_type": event_type, "rule": rule}
