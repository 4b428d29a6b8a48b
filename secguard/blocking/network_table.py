"""Networks as integers, and a table of them that finds what covers an address at one price, however many there are.

A network is one integer, its *key*: the number of its first address, followed by eight bits that say version and
prefix length. Keys of one version sort as the networks lie: by first address, and the wider of two first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TypeAlias

#: When it ends, the reference (a UUID as its number), whether a rule made it. A plain tuple: the collector of garbage
#: leaves those alone.
Row: TypeAlias = "tuple[float, int | str, bool]"

FOREVER = float("inf")
#: Networks for which a table counts the single addresses (IPv6: /64) inside that rules have blocked.
COUNTED_PREFIXES = {4: (24,), 6: (56, 48)}

_BITS = {4: 32, 6: 128}
#: What is added to a prefix length for its code in a key.
_CODES = {4: 0, 6: 100}
_SINGLE_IPV4, _SINGLE_IPV6 = 32, 164
_SINGLE = (_SINGLE_IPV4, _SINGLE_IPV6)


def key_of(network: str) -> int:
    """The key of a network in canonical form. Raises ValueError for anything else."""
    address, slash, length = network.partition("/")
    version, family = (6, AF_INET6) if ":" in address else (4, AF_INET)
    bits = _BITS[version]
    try:
        number = int.from_bytes(inet_pton(family, address), "big")
        prefix = bits if not slash else int(length) if length.isascii() and length.isdigit() else -1
    except (OSError, ValueError):
        prefix = -1
    if not 0 <= prefix <= bits:
        raise ValueError(f"{network!r:.80} is no network: give an address, or CIDR such as '192.0.2.0/24'.")
    return number >> bits - prefix << bits - prefix + 8 | _CODES[version] + prefix


def bounds_of(key: int) -> tuple[int, int, int]:
    """Version, first and last address of a network."""
    version = 4 if key & 255 < 100 else 6
    shift = _BITS[version] - (key & 255) + _CODES[version]
    return version, key >> 8, key >> 8 | (1 << shift) - 1


def is_single(key: int) -> bool:
    """Is it what one client has: an IPv4 address, or an IPv6 /64?"""
    return key & 255 in _SINGLE


def text_of(key: int) -> str:
    """The network of a key in canonical form: an IPv4 address, else CIDR."""
    number, code = key >> 8, key & 255
    if code <= 32:
        text = inet_ntop(AF_INET, number.to_bytes(4, "big"))
        return text if code == _SINGLE_IPV4 else f"{text}/{code}"
    # The C library is faster, and writes the lowest addresses as if they were IPv4.
    text = inet_ntop(AF_INET6, number.to_bytes(16, "big")) if number >> 48 else str(IPv6Address(number))
    return f"{text}/{code - 100}"


def pack_reference(reference: str) -> int | str:
    """A UUID in canonical form as its number, a third of the memory; any other text as it is."""
    if len(reference) == 36:
        try:
            number = int(reference.replace("-", ""), 16)
        except ValueError:
            return reference
        if number >> 128 == 0 and unpack_reference(number) == reference:
            return number
    return reference


def unpack_reference(packed: int | str) -> str:
    if isinstance(packed, str):
        return packed
    text = packed.to_bytes(16, "big").hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class _Wide:
    """The networks of one version that are no single addresses: sorted keys, and for each a bit mask of the prefix
    lengths of all networks that contain it, itself too.

    Readers hold one while the next is made: it is never changed once they can see it.
    """

    __slots__ = ("_bits", "_code", "_version", "keys", "masks")

    def __init__(self, version: int, keys: list[int], masks: list[int]) -> None:
        self._version, self._bits, self._code = version, _BITS[version], _CODES[version]
        self.keys, self.masks = keys, masks

    def lengths_around(self, number: int) -> int:
        """The mask of the prefix lengths of all networks that contain this address.

        The nearest network that begins at or before the address lies inside all of them, since two networks are
        either nested or apart.
        """
        at = bisect_right(self.keys, number << 8 | 255) - 1
        if at < 0:
            return 0
        shared = self._bits - ((self.keys[at] >> 8) ^ number).bit_length()
        return self.masks[at] & (2 << shared) - 1

    def changed(self, added: set[int], removed: set[int]) -> _Wide:
        """A copy with these changes."""
        if (len(added) + len(removed)) * 32 > len(self.keys):
            return _nested(self._version, sorted({*self.keys, *added} - removed))
        copy = _Wide(self._version, self.keys.copy(), self.masks.copy())
        for key in removed:
            copy._remove(key)
        for key in added:
            copy._add(key)
        return copy

    def _add(self, key: int) -> None:
        length = (key & 255) - self._code
        outer = self.lengths_around(key >> 8) & (1 << length) - 1
        at = bisect_left(self.keys, key)
        self.keys.insert(at, key)
        self.masks.insert(at, outer)
        for inside in range(at, self._end(key)):
            self.masks[inside] |= 1 << length

    def _remove(self, key: int) -> None:
        length = (key & 255) - self._code
        at = bisect_left(self.keys, key)
        for inside in range(at, self._end(key)):
            self.masks[inside] &= ~(1 << length)
        del self.keys[at], self.masks[at]

    def _end(self, key: int) -> int:
        """Behind the last network inside this one."""
        last = key >> 8 | (1 << self._bits - (key & 255) + self._code) - 1
        return bisect_right(self.keys, last << 8 | 255)


def _nested(version: int, keys: list[int]) -> _Wide:
    """Made from sorted keys in one pass."""
    bits, code = _BITS[version], _CODES[version]
    masks: list[int] = []
    around: list[tuple[int, int]] = []
    same: dict[int, int] = {}
    for key in keys:
        first, length = key >> 8, (key & 255) - code
        while around and around[-1][0] < first:
            around.pop()
        mask = (around[-1][1] if around else 0) | 1 << length
        mask = same.setdefault(mask, mask)
        around.append((first | (1 << bits - length) - 1, mask))
        masks.append(mask)
    return _Wide(version, keys, masks)


class NetworkTable:
    """Networks with one row or several; of several the one that lasts longest is in force.

    ``find`` may be called while another thread writes. Writers come one at a time, and call ``publish`` at the end.
    """

    __slots__ = ("_changed", "_ends", "_inside", "_more", "_rows", "_wide_ipv4", "_wide_ipv6", "automatic")

    def __init__(self) -> None:
        self.automatic = 0  # networks with a row of a rule
        self._rows: dict[int, Row] = {}
        self._more: dict[int, tuple[Row, ...]] = {}
        self._ends: list[tuple[float, int]] = []
        self._inside: dict[int, int] = {}
        self._changed: set[int] = set()
        self._wide_ipv4, self._wide_ipv6 = _nested(4, []), _nested(6, [])

    def __len__(self) -> int:
        return len(self._rows)

    # -- readers -------------------------------------------------------------------------------------------

    def find(self, version: int, number: int, clock: Callable[[], float]) -> tuple[int, Row] | None:
        """The row in force that lasts longest, with its key, of the networks around this address."""
        if version == 4:
            key, wide, bits, code = number << 8 | _SINGLE_IPV4, self._wide_ipv4, 32, 0
        elif version == 6:
            key, wide, bits, code = number >> 64 << 72 | _SINGLE_IPV6, self._wide_ipv6, 128, 100
        else:
            return None
        best = None
        row = self._rows.get(key)
        if row is not None and row[0] > clock():
            best = key, row
            if row[0] == FOREVER:
                return best
        lengths = wide.lengths_around(number) if wide.keys else 0
        while lengths:
            length = lengths.bit_length() - 1
            shift = bits - length
            key = number >> shift << shift + 8 | code + length
            row = self._rows.get(key)
            if row is not None and row[0] > (clock() if best is None else best[1][0]):
                best = key, row
            lengths ^= 1 << length
        return best

    # -- writers -------------------------------------------------------------------------------------------

    def add(self, key: int, row: Row) -> None:
        """Add a row; one with the same reference is replaced."""
        if row[0] != FOREVER:
            heappush(self._ends, (row[0], key))
        self._add(key, row)

    def load(self, rows: Iterable[tuple[int, Row]]) -> None:
        """Add many."""
        for key, row in rows:
            if row[0] != FOREVER:
                self._ends.append((row[0], key))
            self._add(key, row)
        heapify(self._ends)

    def _add(self, key: int, row: Row) -> None:
        if key in self._rows:
            self._set(key, [row, *(each for each in self._all(key) if each[1] != row[1])])
            return
        self._rows[key] = row
        if not is_single(key):
            self._changed.add(key)
        if row[2]:
            self._count(key, 1)

    def remove(self, key: int, reference: int | str) -> bool:
        """→ whether it was there."""
        rows = self._all(key)
        left = [each for each in rows if each[1] != reference]
        if len(left) < len(rows):
            self._set(key, left)
        return len(left) < len(rows)

    def remove_all(self, key: int) -> list[int | str]:
        """→ the references that were there."""
        rows = self._all(key)
        self._set(key, [])
        return [each[1] for each in rows]

    def drop_ended(self, now: float) -> None:
        """Forget the rows whose time has come."""
        while self._ends and self._ends[0][0] <= now:
            key = heappop(self._ends)[1]
            rows = self._all(key)
            left = [each for each in rows if each[0] > now]
            if len(left) < len(rows):
                self._set(key, left)

    def publish(self) -> None:
        """Let readers see which networks there are now. (New single addresses they see already.)"""
        if self._changed:
            changed, self._changed = self._changed, set()
            self._wide_ipv4 = self._publish(self._wide_ipv4, {key for key in changed if key & 255 < 100})
            self._wide_ipv6 = self._publish(self._wide_ipv6, {key for key in changed if key & 255 >= 100})
        if len(self._ends) > 2 * len(self._rows) + 1_000:
            self._ends = [(row[0], key) for key in self._rows for row in self._all(key) if row[0] != FOREVER]
            heapify(self._ends)

    def _publish(self, wide: _Wide, changed: set[int]) -> _Wide:
        if not changed:
            return wide
        keys = wide.keys
        known = {key for key in changed if (at := bisect_left(keys, key)) < len(keys) and keys[at] == key}
        there = changed & self._rows.keys()
        return wide.changed(there - known, known - there)

    def count_inside(self, version: int, number: int, prefix: int) -> int:
        """How many single addresses rules have blocked in the network of one of ``COUNTED_PREFIXES``."""
        return self._inside.get(number >> _BITS[version] - prefix << 8 | _CODES[version] + prefix, 0)

    def _all(self, key: int) -> tuple[Row, ...]:
        row = self._rows.get(key)
        return () if row is None else (row, *self._more.get(key, ()))

    def _set(self, key: int, rows: list[Row]) -> None:
        """These are the rows of this network."""
        before = self._all(key)
        if rows:
            if len(rows) > 1:
                rows.sort(key=_expires, reverse=True)
                self._more[key] = tuple(rows[1:])
            elif len(before) > 1:
                del self._more[key]
            self._rows[key] = rows[0]
        else:
            self._rows.pop(key, None)
            self._more.pop(key, None)
        if bool(rows) != bool(before) and not is_single(key):
            self._changed.add(key)
        difference = any(map(_is_automatic, rows)) - any(map(_is_automatic, before))
        if difference:
            self._count(key, difference)

    def _count(self, key: int, difference: int) -> None:
        self.automatic += difference
        if not is_single(key):
            return
        version = 4 if key & 255 == _SINGLE_IPV4 else 6
        for prefix in COUNTED_PREFIXES[version]:
            around = key >> 8 + _BITS[version] - prefix << 8 | _CODES[version] + prefix
            count = self._inside.get(around, 0) + difference
            if count:
                self._inside[around] = count
            else:
                del self._inside[around]


def _expires(row: Row) -> float:
    return row[0]


def _is_automatic(row: Row) -> bool:
    return row[2]
