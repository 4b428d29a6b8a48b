"""Approximate counters in any cache that Django can talk to, without a read that is written back."""

from __future__ import annotations

import hashlib
import os
import time
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from secguard.detection.identity import NO_VALUE, VALUE_SIZE
from secguard.detection.store import (
    ABANDON,
    CLOSED,
    FAIL,
    FORGET,
    GRANTED,
    ID_SIZE,
    LINK,
    LINKED,
    OPEN,
    OPENED,
    READ,
    REFUSED,
    RESERVE,
    RESET,
    STREAM_SIZE,
    WAIT,
    Collected,
    Op,
    Panel,
    Reply,
    Watch,
)
from secguard.exceptions import StoreError
from secguard.stores.budget import request_budget

_PIECE_SIZE = STREAM_SIZE + VALUE_SIZE
#: What is counted: every attempt that holds a slot, those that failed, those whose end nobody knows.
_HELD, _FAILED, _UNKNOWN = "h", "f", "u"
_LINK_SECONDS = 30 * 24 * 3600
_TOKEN_SECONDS = 24 * 3600
#: Caches keep whole seconds, some by a clock of their own.
_SLACK_SECONDS = 5
#: An operation is up to forty trips, and none can be cut short: all those of a request may take ten times as long as
#: one answer of Redis.
_TIMEOUTS = 10
#: How long a lock outlives a process that died with it, and how often it is asked for.
_LOCK_SECONDS, _LOCK_PAUSE = 5, 0.001


def _text(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).rstrip(b"=").decode()


def _tag(watch: Watch) -> str:
    """A rule's name may be long; a key may not."""
    return _text(hashlib.blake2s(watch.rule.encode(), digest_size=6).digest())


def _pieces(payload: bytes) -> list[bytes]:
    return [payload[at : at + _PIECE_SIZE] for at in range(0, len(payload), _PIECE_SIZE)]


def _counts_stream(watch: Watch, stream: bytes) -> bool:
    return any(watch.streams[at : at + STREAM_SIZE] == stream for at in range(0, len(watch.streams), STREAM_SIZE))


def _piece_for(watch: Watch, payload: bytes) -> bytes | None:
    return next((piece for piece in _pieces(payload) if _counts_stream(watch, piece[:STREAM_SIZE])), None)


def _has_value(watch: Watch, piece: bytes) -> bool:
    """An event without the value whose difference is counted counts for nothing."""
    return not watch.distinct or piece[STREAM_SIZE:] != NO_VALUE


class _Metered:
    """A cache whose every call counts against the time that the request at hand may wait."""

    def __init__(self, cache: Any, timeout: float) -> None:
        self._cache, self._most = cache, timeout * _TIMEOUTS

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._cache, name)

        def metered(*arguments: Any) -> Any:
            budget = request_budget()
            if budget.real >= self._most and name != "delete":  # locks are given back all the same
                raise StoreError(f"the cache was slow: the {self._most * 1000:g} ms of a request are used up")
            began = time.monotonic()
            try:
                return method(*arguments)
            finally:
                waited = time.monotonic() - began
                budget.spend(waited, waited)

        return metered


class _Numbers:
    """Whole numbers in a cache that several processes add to, each with a timeout."""

    def __init__(self, cache: Any, backend: BaseCache) -> None:
        self._cache = cache
        # Of a proxy such as django.core.cache.cache the backend behind it.
        self.backend = backend
        # The incr that a backend inherits (database, files) reads and writes back, and with the cache's
        # default timeout at that: a count of 15 minutes would end after five.
        self._atomic = type(self.backend).incr is not BaseCache.incr
        self._own_turn = Lock()

    def change(self, key: str, by: int, seconds: int) -> int:
        """The number under ``key`` after adding ``by``. A missing one is 0, and never made negative."""
        if not self._atomic:
            with self.locked(key, wait=True):
                value = max(0, (self._cache.get(key) or 0) + by)
                self._cache.set(key, value, seconds)
                return int(value)
        for _ in range(3):
            try:
                value = self._cache.incr(key, by) if by > 0 else self._cache.decr(key, -by)
            except ValueError:  # missing
                if by <= 0:
                    return 0
                if self._cache.add(key, by, seconds):
                    return by
                continue
            if value is None:
                break
            if value == by:
                # Django's RedisCache asks whether the key exists and then increments: a key that expired
                # in between comes back without a timeout.
                self._cache.touch(key, seconds)
            return int(value)
        raise StoreError("the cache keeps no counters")

    @contextmanager
    def locked(self, key: str, *, wait: bool) -> Iterator[bool]:
        """Whether it is our turn. A lock whose owner died ends by itself, and so does waiting for it."""
        if not wait:
            ours = bool(self._cache.add(f"{key}:l", 1, _LOCK_SECONDS))
        else:
            self._own_turn.acquire()
            give_up = time.monotonic() + _LOCK_SECONDS
            while not (ours := bool(self._cache.add(f"{key}:l", 1, _LOCK_SECONDS))) and time.monotonic() < give_up:
                time.sleep(_LOCK_PAUSE)
        try:
            yield ours
        finally:
            if ours:
                self._cache.delete(f"{key}:l")
            if wait:
                self._own_turn.release()


class _Attempt(NamedTuple):
    """What is kept of an id: when it was reserved, in milliseconds, and its entries."""

    when: int
    payload: bytes

    def pack(self) -> str:
        """As text: a cache may be set to serialize as JSON."""
        return f"{self.when}:{self.payload.hex()}"

    @classmethod
    def unpack(cls, packed: str) -> _Attempt:
        when, _, payload = packed.partition(":")
        return cls(int(when), bytes.fromhex(payload))


class _Page:
    """The counters of one subject at one moment. ``name``: the start of its keys."""

    def __init__(self, cache: Any, numbers: _Numbers, name: str, panel: Panel, now: int, slots: int) -> None:
        self._cache, self._numbers, self._name, self._panel, self._now = cache, numbers, name, panel, now
        self._slots = slots

    # -- keys and timeouts -------------------------------------------------------------------------

    def _slot_ms(self, watch: Watch) -> int:
        return -(-watch.window_ms // self._slots)

    def _slots_in(self, watch: Watch) -> range:
        """The slots that the window touches, and the next: another process's clock may be ahead."""
        size = self._slot_ms(watch)
        return range((self._now - watch.window_ms + 1) // size, self._now // size + 2)

    def _seconds(self, watch: Watch) -> int:
        return (watch.window_ms + 2 * self._slot_ms(watch)) // 1000 + _SLACK_SECONDS

    @property
    def lifetime(self) -> int:
        """Seconds after which nothing that was written now is left."""
        lease = self._panel.lease_ms // 1000 + _SLACK_SECONDS
        return lease + max((self._seconds(watch) for watch in self._panel.watches), default=0)

    def _totals(self, kind: str, watch: Watch) -> dict[int, str]:
        head = f"{self._name}:{kind}{_tag(watch)}"
        return {slot: f"{head}:{slot}" for slot in self._slots_in(watch)}

    def _pair_key(self, kind: str, watch: Watch, piece: bytes, slot: int) -> str:
        return f"{self._name}:{kind}{_tag(watch)}:{_text(piece)}:{slot}"

    def _threat_key(self, watch: Watch) -> str:
        return f"{self._name}:t{_tag(watch)}"

    def _id_key(self, kind: str, id_: bytes) -> str:
        return f"{self._name}:{kind}:{_text(id_)}"

    # -- counters ------------------------------------------------------------------------------------

    def _sums(self, kinds: Iterable[str], watches: Iterable[Watch]) -> dict[str, int]:
        """One number a watch: what the slots of its window hold of these kinds together."""
        keys = {watch.rule: [key for kind in kinds for key in self._totals(kind, watch).values()] for watch in watches}
        found = self._cache.get_many([key for each in keys.values() for key in each])
        return {rule: sum(max(0, found.get(key, 0)) for key in each) for rule, each in keys.items()}

    def _pairs(self, kind: str, watch: Watch, piece: bytes) -> dict[int, int]:
        """How many entries of one value each slot of the window holds, oldest slot first."""
        keys = {self._pair_key(kind, watch, piece, slot): slot for slot in self._slots_in(watch)}
        found = self._cache.get_many(list(keys))
        return {slot: found[key] for key, slot in keys.items() if found.get(key, 0) > 0}

    def _enter(self, kind: str, watch: Watch, piece: bytes, when: int) -> tuple[int, int] | None:
        """Count an entry. Its slot and the slot's new total, or None if the value had been counted before."""
        slot = when // self._slot_ms(watch)
        if watch.distinct:
            slot = next(iter(self._pairs(kind, watch, piece)), slot)  # where it was first seen
        seconds = self._seconds(watch)
        alike = self._numbers.change(self._pair_key(kind, watch, piece, slot), 1, seconds)
        if watch.distinct and alike > 1:
            return None
        key = f"{self._name}:{kind}{_tag(watch)}:{slot}"
        return slot, self._numbers.change(key, 1, seconds)

    def _leave(self, kind: str, watch: Watch, piece: bytes, most: int | None, when: int | None = None) -> int:
        """Take back up to ``most`` entries of one value (all, if None). Returns how many there were."""
        pairs = self._pairs(kind, watch, piece)
        if when is not None and not watch.distinct:
            pairs = {slot: count for slot, count in pairs.items() if slot == when // self._slot_ms(watch)}
        taken, seconds = 0, self._seconds(watch)
        for slot, count in pairs.items():
            part = count if most is None else min(count, most - taken)
            if part <= 0:
                break
            left = self._numbers.change(self._pair_key(kind, watch, piece, slot), -part, seconds)
            fewer = part if not watch.distinct else int(left <= 0)
            if fewer:
                self._numbers.change(f"{self._name}:{kind}{_tag(watch)}:{slot}", -fewer, seconds)
            taken += part
        return taken

    def _counted(self, payload: bytes, *, limiting: bool = False) -> list[tuple[Watch, bytes]]:
        """The watches that count these entries, each with the entry that it counts."""
        found = [(watch, _piece_for(watch, payload)) for watch in self._panel.watches]
        return [
            (watch, piece)
            for watch, piece in found
            if piece is not None and _has_value(watch, piece) and (watch.limiting or not limiting)
        ]

    # -- threats -------------------------------------------------------------------------------------

    def _threats(self) -> dict[str, int]:
        """When each open threat closes, by rule."""
        keys = {self._threat_key(watch): watch for watch in self._panel.watches}
        found = self._cache.get_many(list(keys))
        return {keys[key].rule: closes for key, closes in found.items() if self._is_open(keys[key], closes)}

    def _is_open(self, watch: Watch, closes: int) -> bool:
        if closes > self._now + watch.window_ms:
            # The clock stepped back: nothing stays open for longer than a window from now.
            self._cache.set(self._threat_key(watch), self._now + watch.window_ms, self._seconds(watch))
        return closes > self._now

    def _hold_open(self, watch: Watch) -> int:
        """Open the threat, which exactly one caller does, or keep it open."""
        key, closes, seconds = self._threat_key(watch), self._now + watch.window_ms, self._seconds(watch)
        if self._cache.add(key, closes, seconds):
            return OPENED
        old = self._cache.get(key, 0)
        if old > self._now:
            self._cache.set(key, max(old, closes), seconds)
            return OPEN
        # Closed, but still in the cache. Who opens it again is settled by a key that names this closing.
        opened = self._cache.add(f"{key}:{old}", 1, seconds)
        if opened:
            self._cache.set(key, closes, seconds)
        return OPENED if opened else OPEN

    # -- operations ----------------------------------------------------------------------------------

    def _reply(self, payload: bytes | None, more: int = 0, status: int = GRANTED, wait: int = 0) -> Reply:
        """Counts as they are, or with ``more`` failures of the payload's entries on top."""
        sums, threats = self._sums(_FAILED, self._panel.watches), self._threats()
        counts = []
        for watch in self._panel.watches:
            piece = None if payload is None else _piece_for(watch, payload)
            count = sums[watch.rule] if payload is None or piece is not None else 0
            if piece is not None and _has_value(watch, piece):
                seen = more and watch.distinct and self._pairs(_FAILED, watch, piece)
                count += 0 if seen else more
            counts.append(min(count, self._panel.cap))
        states = (OPEN if watch.rule in threats else CLOSED for watch in self._panel.watches)
        return Reply(status, wait, tuple(counts), tuple(states))

    def reserve(self, op: Op) -> Reply:
        # Where nothing is limited there are no slots: only the failure will be written.
        is_taken = self._panel.limiting and self._is_new(op)
        status, wait = self._take_slots(op) if is_taken else (GRANTED, 0)
        return self._reply(op.payload, 1, status, wait)

    def _is_new(self, op: Op) -> bool:
        key = self._id_key("i", op.ids)
        if self._cache.add(key, _Attempt(self._now, op.payload).pack(), self.lifetime):
            return True
        if self._cache.get(key) is None:
            # Some backends answer an error of theirs like a key that exists: that must grant nothing.
            raise StoreError("the cache took no reservation")
        return False

    def _take_slots(self, op: Op) -> tuple[int, int]:
        """Count first and look afterwards: of those who came together nobody misses all the others."""
        closed = [
            (watch, self._settled(watch))
            for watch in self._panel.watches
            if watch.limiting and _piece_for(watch, op.payload) is not None
        ]
        closed = [
            (watch, settled)
            for watch, settled in closed
            # A value may have failed once and be unknown once: it holds one slot all the same.
            if sum(settled.values()) >= watch.threshold <= self._held(watch)
        ]
        if not closed:
            entered: list[tuple[Watch, bytes]] = []
            full: list[Watch] = []
            for watch, piece in self._counted(op.payload, limiting=True):
                place = self._enter(_HELD, watch, piece, self._now)
                entered.append((watch, piece))
                if self._held(watch, place) >= watch.threshold:
                    full.append(watch)
            if not full:
                return GRANTED, 0
            for watch, piece in entered:
                self._leave(_HELD, watch, piece, 1, self._now)
        self._cache.delete(self._id_key("i", op.ids))
        if not closed:
            return WAIT, 0
        return REFUSED, max(self._room_after(watch, settled) for watch, settled in closed)

    def _held(self, watch: Watch, place: tuple[int, int] | None = None) -> int:
        """Slots taken, without the one just entered at ``place``."""
        keys = self._totals(_HELD, watch)
        found = self._cache.get_many(list(keys.values()))
        held = {slot: max(0, found.get(key, 0)) for slot, key in keys.items()}
        if place is not None:
            slot, total = place
            held[slot] = total - 1
        return sum(held.values())

    def _settled(self, watch: Watch) -> dict[int, int]:
        """By slot, oldest first: attempts that hold the limit and are no longer in flight."""
        failed, unknown = self._totals(_FAILED, watch), self._totals(_UNKNOWN, watch)
        found = self._cache.get_many([*failed.values(), *unknown.values()])
        return {slot: sum(max(0, found.get(key, 0)) for key in (failed[slot], unknown[slot])) for slot in failed}

    def _room_after(self, watch: Watch, settled: dict[int, int]) -> int:
        """Milliseconds until so many slots have left the window that the limit has room."""
        left = sum(settled.values())
        for slot, count in settled.items():
            left -= count
            if left < watch.threshold:
                return max(1, (slot + 1) * self._slot_ms(watch) + watch.window_ms - 1 - self._now)
        return watch.window_ms

    def fail(self, op: Op) -> Reply:
        again = not self._cache.add(self._id_key("F", op.ids), 1, self.lifetime)
        if again:
            return self._reply(op.payload)
        attempt = self._attempt(op.ids)
        if attempt is None:
            attempt = _Attempt(self._now, op.payload)
            self._cache.set(self._id_key("i", op.ids), attempt.pack(), self.lifetime)
            for watch, piece in self._counted(op.payload, limiting=True):
                self._enter(_HELD, watch, piece, self._now)
        elif self._cache.delete(self._id_key("U", op.ids)):
            self._drop(_UNKNOWN, attempt, limiting=True)
        for watch, piece in self._counted(attempt.payload):
            self._enter(_FAILED, watch, piece, attempt.when)
        reply = self._reply(op.payload)
        threats = [
            self._hold_open(watch) if count >= watch.threshold and _piece_for(watch, op.payload) is not None else state
            for watch, count, state in zip(self._panel.watches, reply.counts, reply.threats, strict=True)
        ]
        return reply._replace(threats=tuple(threats))

    def forget(self, op: Op) -> Reply:
        reply = self._reply(None)
        for at in range(0, len(op.ids), ID_SIZE):
            self._forget_id(op.ids[at : at + ID_SIZE])
        for piece in _pieces(op.payload):
            # Of two who forgive the same failures at once only one may: both would take them off twice.
            with self._numbers.locked(f"{self._name}:x:{_text(piece)}", wait=False) as ours:
                if ours:
                    self._forgive(piece)
        return reply

    def _forget_id(self, id_: bytes) -> None:
        attempt = self._attempt(id_)
        if attempt is None or not self._cache.delete(self._id_key("i", id_)):
            return
        self._drop(_HELD, attempt, limiting=True)
        if self._cache.delete(self._id_key("F", id_)):
            self._drop(_FAILED, attempt)
        if self._cache.delete(self._id_key("U", id_)):
            self._drop(_UNKNOWN, attempt, limiting=True)

    def _forgive(self, piece: bytes) -> None:
        for watch, _ in self._counted(piece):
            settled = sum(self._leave(kind, watch, piece, None) for kind in (_FAILED, _UNKNOWN))
            if settled and watch.limiting:
                self._leave(_HELD, watch, piece, settled)

    def abandon(self, op: Op) -> Reply:
        attempt = self._attempt(op.ids)
        if attempt is not None and self._cache.get(self._id_key("F", op.ids)) is None:  # noqa: SIM102
            if self._cache.add(self._id_key("U", op.ids), 1, self.lifetime):
                for watch, piece in self._counted(attempt.payload, limiting=True):
                    self._enter(_UNKNOWN, watch, piece, attempt.when)
        return self._reply(None)

    def read(self, op: Op) -> Reply:
        return self._reply(None)

    def _attempt(self, id_: bytes) -> _Attempt | None:
        found = self._cache.get(self._id_key("i", id_))
        return None if found is None else _Attempt.unpack(found)

    def _drop(self, kind: str, attempt: _Attempt, *, limiting: bool = False) -> None:
        for watch, piece in self._counted(attempt.payload, limiting=limiting):
            self._leave(kind, watch, piece, 1, attempt.when)


_OPERATIONS: dict[bytes, Callable[[_Page, Op], Reply]] = {
    RESERVE: _Page.reserve,
    FAIL: _Page.fail,
    FORGET: _Page.forget,
    ABANDON: _Page.abandon,
    READ: _Page.read,
}


class CacheStore:
    """Counters in any Django cache, for projects without Redis. Nothing is kept that a cache may not lose.

    ``cache``: one of Django's caches; best ``django.core.cache.cache`` or a ``ConnectionProxy``, which give
    every thread a connection of its own. ``clock``: seconds since the epoch; a cache tells no time, so it is
    the clock of whichever process asks. ``slots``: into how many parts a window is cut. ``timeout``: STORE_TIMEOUT
    in seconds; a request whose calls together took ten times as long makes no further one (StoreError). A call that
    hangs only the cache's own client can end: give it a time-out.

    A window is made of whole parts, each a number that is only ever added to (``incr``) or claimed (``add``),
    so that processes never overwrite each other. What that costs, compared with the exact stores:

    - A window counts up to one part too much (a tenth, with ten slots): limits and counts last that much
      longer. Clocks may differ by one part; beyond it a slow clock does not see what a fast one counted.
    - A distinct value counts from when it was first seen, not last: it leaves one window later, and counts
      again when it is next seen. A value that comes with events of several types counts once for each.
    - A reservation that nobody settled holds its slot until it leaves the window, however short the lease:
      nothing lists the attempts, so unknown cannot be told from in flight, and those who come after wait
      where an exact store refuses. What is abandoned by name is known to be over and refuses.
    - Several who ask for the last slot at once may all be told to wait; never are more let in than the limit.
    - A success forgives what it sees: a failure counted at the same moment may outlive it.
    - An operation is several trips to the cache and not atomic as a whole: a process killed half-way leaves
      a slot taken, or a failure uncounted, until the window has passed.
    - Where a clock steps back by more than one part, counting starts anew.

    All this rests on the cache's own ``add`` and ``incr``. Both are atomic in memcached, Redis and
    LocMemCache. The database cache and the file cache have no atomic ``incr``: there every change takes a
    lock, made by ``add``, and waits for up to five seconds where its owner died. The file cache has no atomic
    ``add`` either, and is exact only among the threads of one process. A cache that culls (``MAX_ENTRIES``,
    300 unless told) or evicts forgets counters: give it room.

    Raises what the cache raises, and StoreError if it keeps nothing.
    """

    exact = False

    def __init__(
        self, cache: Any, *, clock: Callable[[], float] = time.time, slots: int = 10, timeout: float | None = None
    ) -> None:
        if slots < 1:
            raise ValueError(f"slots is {slots}; a window has at least one")
        self._clock, self._slots = clock, slots
        self._cache = cache if timeout is None else _Metered(cache, timeout)
        self._numbers = _Numbers(self._cache, cache.incr.__self__)
        self.shared = not isinstance(self._numbers.backend, (LocMemCache, DummyCache))

    def execute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        moment = int(self._clock() * 1000) if now is None else now
        keys = {op.key: op.key.decode("ascii") for op in ops}
        known = self._cache.get_many([f"{key}:{what}" for key in keys.values() for what in ("g", "k")])
        return [self._apply(op, keys[op.key], known, moment) for op in ops]

    async def aexecute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        reply: list[Reply] = await sync_to_async(self.execute, thread_sensitive=False)(ops, now)
        return reply

    def send(self, ops: Sequence[Op], now: int | None = None) -> Collected:
        return Collected(self.execute(ops, now))

    def get_token(self, name: str) -> str | None:
        token: str | None = self._cache.get(f"sg:token:{name}")
        return token

    async def aget_token(self, name: str) -> str | None:
        token: str | None = await sync_to_async(self.get_token, thread_sensitive=False)(name)
        return token

    def set_token(self, name: str, value: str) -> None:
        self._cache.set(f"sg:token:{name}", value, _TOKEN_SECONDS)

    def _apply(self, op: Op, key: str, known: dict[str, Any], now: int) -> Reply:
        """``known``: the generations and links of all records in question; kept up to date."""
        generation, link = f"{key}:g", f"{key}:k"
        if op.code == LINK:
            # No cache can say whether a record still counts others' failures: a new generation would forget them,
            # so they stay where they are, and are not looked at while the link holds.
            known[link] = op.payload.hex()
            self._cache.set(link, known[link], _LINK_SECONDS)
            return Reply(LINKED, link=op.payload)
        page = _Page(self._cache, self._numbers, f"{key}:{known.get(generation, 0)}", op.panel, now, self._slots)
        if op.code == RESET:
            # A record is many keys, which no cache can list: a new generation leaves them to their timeouts.
            known[generation] = _text(os.urandom(6))
            self._cache.set(generation, known[generation], page.lifetime)
            self._cache.delete(link)
            known.pop(link, None)
            return Reply()
        if link in known:
            return Reply(LINKED, link=bytes.fromhex(known[link]))
        return _OPERATIONS[op.code](page, op)
