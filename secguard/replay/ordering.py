"""Attempts in the order of their times, from logs that are nearly so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import chain, islice
from operator import itemgetter

from secguard.replay.attempts import AT, Attempt

#: A line that stands this many attempts or fewer from its place is put in order.
SLACK = 20_000
#: Attempts that go on together: the more there are, the more of a subject's are judged at once; the fewer, the more of
#: them are still in the processor's cache. What bounds the memory.
_BATCH = 20_000
_time = itemgetter(AT)


def in_order(batches: Iterable[list[Attempt]]) -> Iterator[list[Attempt]]:
    """One log's. Attempts of the same time stay as they were. What comes too late for its place comes late: whoever
    counts must not let it turn back the clock."""
    held: list[Attempt] = []
    for batch in batches:
        held += batch
        if len(held) > SLACK + _BATCH:
            held.sort(key=_time)
            ready = len(held) - SLACK
            for first in range(0, ready, _BATCH):
                yield held[first : min(first + _BATCH, ready)]
            held = held[-SLACK:]
    held.sort(key=_time)
    yield held


def merged(logs: list[Iterator[list[Attempt]]]) -> Iterator[list[Attempt]]:
    """Several logs as one; at the same time the first goes first."""
    ordered = [in_order(log) for log in logs]
    if len(ordered) == 1:
        yield from ordered[0]
        return
    attempts = merge(*map(chain.from_iterable, ordered), key=_time)
    while batch := list(islice(attempts, _BATCH)):
        yield batch
