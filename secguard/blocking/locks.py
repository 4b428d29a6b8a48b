"""The account locks as every worker holds them: in memory, so that asking costs no I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from threading import Lock
from typing import NamedTuple

#: Who is locked out.
ALL, UNKNOWN_DEVICES = "all", "unknown_devices"


class LockEntry(NamedTuple):
    """One lock. ``digest``: the account's, in hexadecimal. ``expires``: on the monotonic clock."""

    digest: str
    reference: str
    expires: float
    scope: str = ALL


class Locks:
    """Accounts that are locked, by digest. Readers take no lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._guard = Lock()
        self._entries: dict[str, dict[str, LockEntry]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, digest: str, *, known_device: bool = False) -> LockEntry | None:
        """The lock that refuses a client of this account: of several the one that lasts longest."""
        entries = self._entries.get(digest)
        if not entries:
            return None
        now = self.clock()
        valid = [
            entry
            for entry in list(entries.values())
            if entry.expires > now and not (known_device and entry.scope == UNKNOWN_DEVICES)
        ]
        return max(valid, key=lambda entry: entry.expires, default=None)

    def add(self, entry: LockEntry) -> None:
        with self._guard:
            self._entries[entry.digest] = {**self._entries.get(entry.digest, {}), entry.reference: entry}

    def remove(self, digest: str, reference: str | None = None) -> bool:
        """Drop one lock of the account, or all of them. → whether there was one."""
        with self._guard:
            entries = self._entries.pop(digest, {})
            left = {key: entry for key, entry in entries.items() if reference is not None and key != reference}
            if left:
                self._entries[digest] = left
            return len(left) < len(entries)

    def replace_all(self, entries: Iterable[LockEntry]) -> None:
        fresh: dict[str, dict[str, LockEntry]] = {}
        for entry in entries:
            fresh.setdefault(entry.digest, {})[entry.reference] = entry
        with self._guard:
            self._entries = fresh
