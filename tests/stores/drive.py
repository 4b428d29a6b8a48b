"""Drives a store through operations on one record, at times that the test chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from secguard.detection.store import (
    ABANDON,
    FAIL,
    FORGET,
    LINK,
    READ,
    RESERVE,
    RESET,
    Op,
    Panel,
    Reply,
    Watch,
)
from secguard.stores.redis import RedisStore

#: Milliseconds; a multiple of every part into which an approximate store cuts the windows used here.
NOW = 1_800_000_000_000
WINDOW = 60_000
LEASE = 10_000
KEY = b"sg:a:AAAAAAAAAAAAAAAAAAAAAA"
OTHER_KEY = b"sg:a:BBBBBBBBBBBBBBBBBBBBBB"

LOGIN, DENIED = b"LL", b"DD"
ANNA, BERT, CARL, DORA = (letter * 8 for letter in (b"a", b"b", b"c", b"d"))

GUESSES = Watch("guesses", LOGIN, False, WINDOW, 3, True)
NAMES = Watch("names", LOGIN, True, WINDOW, 3, True)
TALLY = Watch("tally", LOGIN, False, WINDOW, 3, False)
DENIALS = Watch("denials", DENIED, False, WINDOW, 3, False)

Execute = Callable[[Sequence[Op], int], list[Reply]]


def panel(*watches: Watch, cap: int = 1_000, lease: int = LEASE) -> Panel:
    return Panel(watches, lease_ms=lease, cap=cap)


def number(n: int) -> bytes:
    """The id of an attempt."""
    return b"%06d" % n


async def hang_up(store: Any) -> None:
    """Close the idle connections of this event loop."""
    if isinstance(store, RedisStore):
        await store.aclose()


class Drive:
    """One record of a store. ``at``: milliseconds after NOW."""

    def __init__(self, store: Any, execute: Execute) -> None:
        self.store, self.execute = store, execute
        self.panel = panel(GUESSES)

    def under(self, *watches: Watch, **limits: int) -> Drive:
        self.panel = panel(*watches, **limits)
        return self

    def do(self, code: bytes, ids: bytes = b"", payload: bytes = b"", *, at: int = 0, key: bytes = KEY) -> Reply:
        return self.execute([Op(code, key, self.panel, ids, payload)], NOW + at)[0]

    def reserve(self, n: int, value: bytes = ANNA, stream: bytes = LOGIN, **where: Any) -> Reply:
        return self.do(RESERVE, number(n), stream + value, **where)

    def fail(self, n: int, value: bytes = ANNA, stream: bytes = LOGIN, **where: Any) -> Reply:
        return self.do(FAIL, number(n), stream + value, **where)

    def forget(self, n: int, **where: Any) -> Reply:
        """Free the slot; forgive nothing."""
        return self.do(FORGET, number(n), **where)

    def succeed(self, n: int, value: bytes = ANNA, stream: bytes = LOGIN, **where: Any) -> Reply:
        return self.do(FORGET, number(n), stream + value, **where)

    def abandon(self, n: int, **where: Any) -> Reply:
        return self.do(ABANDON, number(n), **where)

    def read(self, **where: Any) -> Reply:
        return self.do(READ, **where)

    def reset(self, **where: Any) -> Reply:
        return self.do(RESET, **where)

    def link(self, target: bytes, **where: Any) -> Reply:
        return self.do(LINK, payload=target, **where)

    def count(self, **where: Any) -> int:
        """What the first rule counts."""
        return self.read(**where).counts[0]

    def threat(self, **where: Any) -> int:
        return self.read(**where).threats[0]

    @property
    def part(self) -> int:
        """By how much a window of this store may be too long."""
        return 0 if self.store.exact else WINDOW // 10


def hammer(url: str, first: int, threads: int, each: int, records: int) -> None:
    """Fail from many threads at once, on records in turn. To be run in several processes."""
    store, guard = RedisStore(url, timeout=60), panel(TALLY)

    def fail(thread: int) -> None:
        for n in range(first + thread * each, first + (thread + 1) * each):
            store.execute([Op(FAIL, b"sg:a:%d" % (n % records), guard, number(n), LOGIN + ANNA)], NOW)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fail, range(threads)))
    store.close()
