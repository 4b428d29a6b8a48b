"""The blocklist as every worker holds it: in memory, so that asking costs no I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from threading import Lock
from typing import NamedTuple

from secguard.network import ClientAddress

FOREVER = float("inf")
#: Seconds for which a block raised here survives a full load that does not know it.
RECENT = 60.0


class BlockEntry(NamedTuple):
    """One block. ``expires``: on the replica's monotonic clock, so that no wall clock can undo it.

    ``automatic``: a rule raised it.
    """

    network: str
    reference: str
    expires: float
    automatic: bool = False


class Replica:
    """Networks that are blocked, with the look-up that every request makes.

    Single addresses, which are nearly all, are one dict look-up; other networks one for each prefix
    length in use. Readers take no lock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.loaded = False
        self._lock = Lock()
        self._raised: dict[str, tuple[BlockEntry, float]] = {}
        self._blocks: dict[str, dict[str, BlockEntry]] = {}
        self._single: dict[str, BlockEntry] = {}
        self._wide: dict[tuple[int, int], dict[int, BlockEntry]] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def find(self, address: ClientAddress) -> BlockEntry | None:
        """The block that this address is under, if there is one."""
        entry = self._single.get(address.subject)
        if entry is None and self._wide:
            entry = self._find_wide(address)
        if entry is None or entry.expires > self.clock():
            return entry
        self._drop_expired(entry.network)
        return self.find(address)

    def is_allowed(self, address: ClientAddress) -> bool:
        """Has an operator said that this address is never refused?"""
        return False

    def active(self) -> int:
        """How many blocks of rules are in force."""
        return sum(any(entry.automatic for entry in entries.values()) for entries in self._blocks.values())

    def count_inside(self, address: ClientAddress, prefix: int) -> int:
        """How many addresses (IPv6: /64) rules have blocked inside the network of this prefix around the address."""
        wide = ip_network(address.network_of(prefix))
        return sum(
            any(entry.automatic for entry in entries.values())
            for network, entries in self._blocks.items()
            if _is_single(parsed := ip_network(network)) and parsed.version == wide.version and parsed.subnet_of(wide)  # type: ignore[arg-type]
        )

    def _find_wide(self, address: ClientAddress) -> BlockEntry | None:
        now = self.clock()
        for (version, shift), entries in self._wide.items():
            if version == address.version:
                entry = entries.get(address.number >> shift)
                if entry is not None and entry.expires > now:
                    return entry
        return None

    def raise_here(self, entry: BlockEntry) -> None:
        """A block that this process decided on."""
        with self._lock:
            self._raised[entry.reference] = (entry, self.clock())
            self._add(entry)

    def add(self, entry: BlockEntry) -> None:
        with self._lock:
            self._add(entry)

    def _add(self, entry: BlockEntry) -> None:
        self._blocks.setdefault(entry.network, {})[entry.reference] = entry
        self._index(entry.network)

    def remove(self, network: str, reference: str) -> bool:
        """→ whether it was known."""
        with self._lock:
            self._raised.pop(reference, None)
            known = self._blocks.get(network, {}).pop(reference, None)
            self._index(network)
            return known is not None

    def remove_network(self, network: str) -> None:
        with self._lock:
            for reference in self._blocks.pop(network, {}):
                self._raised.pop(reference, None)
            self._index(network)

    def replace_all(self, entries: Iterable[BlockEntry]) -> None:
        """A full load: everything that was known before is forgotten, but for what was raised here just now.

        That may not be in the database yet.
        """
        fresh = Replica(self.clock)
        for entry in entries:
            fresh._add(entry)
        with self._lock:
            # Nothing may be raised between the look at it and the exchange: it would be lost until the next load.
            recent = self.clock() - RECENT
            self._raised = {key: (entry, at) for key, (entry, at) in self._raised.items() if at > recent}
            for entry, _ in self._raised.values():
                fresh._add(entry)
            self._blocks, self._single, self._wide = fresh._blocks, fresh._single, fresh._wide
            self.loaded = True

    def _drop_expired(self, network: str) -> None:
        now = self.clock()
        with self._lock:
            entries = self._blocks.get(network, {})
            for reference in [key for key, entry in entries.items() if entry.expires <= now]:
                del entries[reference]
            self._index(network)

    def _index(self, network: str) -> None:
        """Of several blocks of one network the one that lasts longest is in force."""
        entries = self._blocks.get(network)
        if not entries:
            self._blocks.pop(network, None)
        longest = max(entries.values(), key=lambda entry: entry.expires) if entries else None
        parsed = ip_network(network)
        if _is_single(parsed):
            _set(self._single, str(parsed.network_address) if parsed.version == 4 else str(parsed), longest)
            return
        shift = parsed.max_prefixlen - parsed.prefixlen
        slot = (parsed.version, shift)
        entries_of_slot = self._wide.get(slot, {})
        _set(entries_of_slot, int(parsed.network_address) >> shift, longest)
        # Readers iterate over the slots without a lock: a dict that changes its size would raise there.
        if entries_of_slot and slot not in self._wide:
            self._wide = {**self._wide, slot: entries_of_slot}
        elif not entries_of_slot:
            self._wide = {key: value for key, value in self._wide.items() if key != slot}


def _is_single(network: IPv4Network | IPv6Network) -> bool:
    return network.prefixlen == (32 if network.version == 4 else 64)


def _set(entries: dict, key: object, entry: BlockEntry | None) -> None:  # type: ignore[type-arg]
    if entry is None:
        entries.pop(key, None)
    else:
        entries[key] = entry
