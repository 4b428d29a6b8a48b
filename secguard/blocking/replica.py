"""The blocklist as every worker holds it: in memory, so that asking costs no I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from threading import Lock
from typing import NamedTuple

from secguard.blocking.network_table import (
    COUNTED_PREFIXES,
    FOREVER,
    NetworkTable,
    Row,
    is_single,
    key_of,
    pack_reference,
    text_of,
    unpack_reference,
)
from secguard.failures import report_failure
from secguard.network import ClientAddress

__all__ = ["COUNTED_PREFIXES", "FOREVER", "RECENT", "BlockEntry", "Replica"]

#: Seconds for which a block raised here survives a full load that does not know it.
RECENT = 60.0
#: References that were lifted before they were known here, at most: a bound, far above what operators do in RECENT.
_MAX_LIFTED = 10_000


class BlockEntry(NamedTuple):
    """One block, or one allowed network. ``expires``: on the replica's monotonic clock, so that no wall clock can
    undo it.

    ``automatic``: a rule raised it.
    """

    network: str
    reference: str
    expires: float
    automatic: bool = False


class Replica:
    """Networks that are blocked, and those that never are, with the look-ups that every request makes.

    Single addresses, which are nearly all, are one dict look-up; all other networks together one binary search.
    Readers take no lock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.loaded = False
        self._lock = Lock()
        self._blocks, self._allowed = NetworkTable(), NetworkTable()
        # Both by reference, oldest first, and no older than RECENT.
        self._raised: dict[str, tuple[BlockEntry, float]] = {}
        self._lifted: dict[str, float] = {}

    def __len__(self) -> int:
        """How many networks are blocked."""
        with self._lock:
            return len(self._current())

    # -- asked by requests ---------------------------------------------------------------------------------

    def find(self, address: ClientAddress) -> BlockEntry | None:
        """The block that this address is under, if there is one."""
        found = self._blocks.find(address.version, address.number, self.clock)
        if found is None:
            return None
        key, (expires, reference, automatic) = found
        network = address.subject if is_single(key) else text_of(key)
        return BlockEntry(network, unpack_reference(reference), expires, automatic)

    def is_allowed(self, address: ClientAddress) -> bool:
        """Has an operator said that this address is never refused?"""
        allowed = self._allowed
        return len(allowed) > 0 and allowed.find(address.version, address.number, self.clock) is not None

    def active(self) -> int:
        """How many networks rules have blocked."""
        with self._lock:
            return self._current().automatic

    def count_inside(self, address: ClientAddress, prefix: int) -> int:
        """How many addresses (IPv6: /64) rules have blocked inside the network of this prefix around the address.

        ``prefix``: one of ``COUNTED_PREFIXES``; there are no counts of others, and a KeyError says so.
        """
        if prefix not in COUNTED_PREFIXES[address.version]:
            raise KeyError(f"/{prefix} is not counted: use one of {COUNTED_PREFIXES[address.version]}")
        with self._lock:
            return self._current().count_inside(address.version, address.number, prefix)

    def _current(self) -> NetworkTable:
        """The blocks, without those that have ended."""
        self._blocks.drop_ended(self.clock())
        self._blocks.publish()
        return self._blocks

    # -- blocks --------------------------------------------------------------------------------------------

    def raise_here(self, entry: BlockEntry) -> None:
        """A block that this process decided on. One that was lifted elsewhere meanwhile stays lifted."""
        now = self.clock()
        with self._lock:
            self._forget_old(now)
            if entry.reference not in self._lifted:
                self._raised.pop(entry.reference, None)
                self._raised[entry.reference] = (entry, now)
                self._blocks.add(*_row(entry))
                self._blocks.drop_ended(now)
                self._blocks.publish()

    def add(self, entry: BlockEntry) -> None:
        """Raises ValueError for what is no network."""
        with self._lock:
            self._blocks.add(*_row(entry))
            self._blocks.publish()

    def add_all(self, entries: Iterable[BlockEntry]) -> None:
        """What is no network is reported, and left out."""
        with self._lock:
            for row in _rows(entries):
                self._blocks.add(*row)
            self._current()

    def remove(self, network: str, reference: str) -> bool:
        """→ whether it was known."""
        return bool(self.remove_all([(network, reference)]))

    def remove_all(self, blocks: Iterable[tuple[str, str]]) -> set[str]:
        """``blocks``: network and reference of each. → the references that were known."""
        now, known = self.clock(), set()
        with self._lock:
            self._forget_old(now)
            for network, reference in blocks:
                self._raised.pop(reference, None)
                with suppress(ValueError):  # what is no network was left out
                    if self._blocks.remove(key_of(network), pack_reference(reference)):
                        known.add(reference)
                    elif len(self._lifted) < _MAX_LIFTED:
                        # Whoever raises it here has saved it before, and it was lifted in between.
                        self._lifted.setdefault(reference, now)
            self._current()
        return known

    def remove_network(self, network: str) -> None:
        with self._lock:
            for reference in self._blocks.remove_all(key_of(network)):
                self._raised.pop(unpack_reference(reference), None)
            self._blocks.publish()

    def replace_all(self, entries: Iterable[BlockEntry]) -> None:
        """A full load: everything that was known before is forgotten, but for what was raised here just now.

        That may not be in the database yet. What is no network is reported, and left out.
        """
        fresh = NetworkTable()
        fresh.load(_rows(entries))
        with self._lock:
            # Nothing may be raised between the look at it and the exchange: it would be lost until the next load.
            self._forget_old(self.clock())
            fresh.load(_row(entry) for entry, _ in self._raised.values())
            fresh.publish()
            self._blocks = fresh
            self.loaded = True

    def saved(self, references: Iterable[str]) -> None:
        """The database has these blocks now, and decides from here on whether they are in force."""
        with self._lock:
            for reference in references:
                self._raised.pop(reference, None)

    def _forget_old(self, now: float) -> None:
        for reference in _until(((key, at) for key, (_, at) in self._raised.items()), now - RECENT):
            del self._raised[reference]
        for reference in _until(self._lifted.items(), now - RECENT):
            del self._lifted[reference]

    # -- allowed networks ----------------------------------------------------------------------------------

    def add_allowed(self, entry: BlockEntry) -> None:
        """This network is never refused. What is no network is reported, and left out."""
        with self._lock:
            for row in _rows([entry]):
                self._allowed.add(*row)
            self._allowed.drop_ended(self.clock())
            self._allowed.publish()

    def remove_allowed(self, network: str, reference: str | None = None) -> bool:
        """Take back one row, or all of this network. → whether there was one."""
        known = False
        with self._lock, suppress(ValueError):
            key = key_of(network)
            if reference is None:
                known = bool(self._allowed.remove_all(key))
            else:
                known = self._allowed.remove(key, pack_reference(reference))
            self._allowed.publish()
        return known

    def replace_allowed(self, entries: Iterable[BlockEntry]) -> None:
        """A full load of the allowed networks. What is no network is reported, and left out."""
        fresh = NetworkTable()
        fresh.load(_rows(entries))
        fresh.publish()
        with self._lock:
            self._allowed = fresh


def _row(entry: BlockEntry) -> tuple[int, Row]:
    return key_of(entry.network), (entry.expires, pack_reference(entry.reference), entry.automatic)


def _rows(entries: Iterable[BlockEntry]) -> Iterator[tuple[int, Row]]:
    for entry in entries:
        try:
            yield _row(entry)
        except ValueError as error:
            report_failure("the row %s is left out: its network cannot be read", entry.reference, error=error)


def _until(times: Iterable[tuple[str, float]], last: float) -> list[str]:
    """The keys at the beginning whose time is no later."""
    found = []
    for key, at in times:
        if at > last:
            break
        found.append(key)
    return found
