"""The account locks as every worker holds them: in memory, so that asking costs no I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from threading import Lock
from typing import NamedTuple

from secguard.blocking.replica import RECENT

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
        self._raised: dict[str, tuple[LockEntry, float]] = {}
        self._entries: dict[str, dict[str, LockEntry]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, *digests: str, known_device: bool = False) -> LockEntry | None:
        """The lock that refuses a client of the account with these digests: of several the one that lasts longest."""
        found = [entry for digest in digests for entry in list(self._entries.get(digest, {}).values())]
        if not found:
            return None
        now = self.clock()
        valid = [
            entry for entry in found if entry.expires > now and not (known_device and entry.scope == UNKNOWN_DEVICES)
        ]
        return max(valid, key=lambda entry: entry.expires, default=None)

    def raise_here(self, entry: LockEntry) -> None:
        """A lock that this process decided on."""
        with self._guard:
            self._forget_raised()
            self._raised[entry.reference] = (entry, self.clock())
            self._add(entry)

    def add(self, entry: LockEntry) -> None:
        with self._guard:
            self._add(entry)

    def _add(self, entry: LockEntry) -> None:
        # A new dict each time: readers hold the old one.
        self._entries[entry.digest] = {**self._entries.get(entry.digest, {}), entry.reference: entry}

    def remove(self, digest: str, reference: str | None = None) -> bool:
        """Drop one lock of the account, or all of them. → whether there was one."""
        with self._guard:
            entries = self._entries.get(digest, {})
            gone = [key for key in entries if reference is None or key == reference]
            for key in gone:
                self._raised.pop(key, None)
            if len(gone) < len(entries):
                self._entries[digest] = {key: entry for key, entry in entries.items() if key not in gone}
            else:
                self._entries.pop(digest, None)
            return bool(gone)

    def replace_all(self, entries: Iterable[LockEntry]) -> None:
        """A full load: everything that was known before is forgotten, but for what was raised here just now.

        That may not be in the database yet.
        """
        fresh = Locks(self.clock)
        for entry in entries:
            fresh._add(entry)
        with self._guard:
            self._forget_raised()
            for entry, _ in self._raised.values():
                fresh._add(entry)
            self._entries = fresh._entries

    def saved(self, references: Iterable[str]) -> None:
        """The database has these locks now, and decides from here on whether they are in force."""
        with self._guard:
            for reference in references:
                self._raised.pop(reference, None)

    def _forget_raised(self) -> None:
        recent = self.clock() - RECENT
        self._raised = {key: (entry, at) for key, (entry, at) in self._raised.items() if at > recent}
