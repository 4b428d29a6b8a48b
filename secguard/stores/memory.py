"""Exact counters in this process: for one process, for tests and replay, and while the shared store is away."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from secguard.detection.identity import NO_VALUE, VALUE_SIZE
from secguard.detection.store import (
    ABANDON,
    CLOSED,
    FAIL,
    FAILED,
    FORGET,
    GRANTED,
    ID_SIZE,
    IN_FLIGHT,
    LINK,
    LINKED,
    OPEN,
    OPENED,
    READ,
    REFUSED,
    RESERVE,
    RESET,
    STREAM_SIZE,
    UNKNOWN,
    WAIT,
    Collected,
    Op,
    Panel,
    Reply,
    Watch,
    streams_of,
)

_ENTRY_SIZE = STREAM_SIZE + VALUE_SIZE
#: So many bytes of a key say of what kind its subject is, as b"sg:a:" does.
_KIND_SIZE = 5


@dataclass(slots=True)
class Entry:
    """One event on a subject's record. ``time`` in milliseconds."""

    time: int
    state: bytes
    stream: bytes
    value: bytes
    owner: bytes


@dataclass(slots=True)
class Record:
    """What is known of one subject: entries, oldest first, and when each open threat closes."""

    entries: list[Entry] = field(default_factory=list)
    threats: dict[str, int] = field(default_factory=dict)
    link: bytes = b""

    def advance(self, now: int, panel: Panel) -> None:
        """Forget what no rule can see any more. A clock that stepped back makes nothing last longer."""
        for entry in self.entries:
            entry.time = min(entry.time, now)
        self.entries = [entry for entry in self.entries if entry.time > now - panel.horizon_ms]
        self.threats = {
            rule: min(closes, now + panel.horizon_ms) for rule, closes in self.threats.items() if closes > now
        }

    def append(self, op: Op, state: bytes, now: int) -> None:
        for stream, value in _pieces(op.payload):
            self.entries.append(Entry(now, state, stream, value, op.ids))
            alike = [entry for entry in self.entries if entry.stream == stream]
            if len(alike) > op.panel.cap:
                self.entries.remove(alike[0])

    def owned(self, owner: bytes) -> list[Entry]:
        return [entry for entry in self.entries if entry.owner == owner]

    def threat(self, watch: Watch) -> int:
        return OPEN if watch.rule in self.threats else CLOSED


def _pieces(payload: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (payload[at : at + STREAM_SIZE], payload[at + STREAM_SIZE : at + _ENTRY_SIZE])
        for at in range(0, len(payload), _ENTRY_SIZE)
    ]


def _value_for(watch: Watch, payload: bytes) -> bytes | None:
    streams = streams_of(watch)
    return next((value for stream, value in _pieces(payload) if stream in streams), None)


def _last_seen(watch: Watch, entries: Iterable[Entry], now: int) -> list[int]:
    """When each counted event, or each distinct value, was last seen within the watch's window."""
    streams = streams_of(watch)
    inside = [entry for entry in entries if entry.stream in streams and entry.time > now - watch.window_ms]
    if not watch.distinct:
        return [entry.time for entry in inside]
    return list({entry.value: entry.time for entry in inside if entry.value != NO_VALUE}.values())


def _in_flight(entry: Entry, op: Op, now: int) -> bool:
    return entry.state == IN_FLIGHT and now < entry.time + op.panel.lease_ms


def _failed(record: Record) -> list[Entry]:
    return [entry for entry in record.entries if entry.state == FAILED]


def reserve(record: Record, op: Op, now: int) -> Reply:
    known = bool(record.owned(op.ids))
    mine = [(watch, _value_for(watch, op.payload)) for watch in op.panel.watches]
    status, retry_after = GRANTED, 0
    for watch, value in mine:
        if watch.limiting and not known and value is not None:
            answer, wait = _limit(record, watch, op, now)
            status, retry_after = max(status, answer), max(retry_after, wait)
    counts = tuple(0 if value is None else _count_if_failed(record, watch, value, now) for watch, value in mine)
    threats = tuple(record.threat(watch) for watch in op.panel.watches)
    # Where nothing is limited what is in flight counts for nothing: only its failure will be written.
    if status == GRANTED and not known and op.panel.limiting:
        record.append(op, IN_FLIGHT, now)
    return Reply(status, retry_after, counts, threats)


def _limit(record: Record, watch: Watch, op: Op, now: int) -> tuple[int, int]:
    held = sorted(_last_seen(watch, (each for each in record.entries if not _in_flight(each, op, now)), now))
    if len(held) >= watch.threshold:
        return REFUSED, held[len(held) - watch.threshold] + watch.window_ms - now
    return (WAIT if len(_last_seen(watch, record.entries, now)) >= watch.threshold else GRANTED), 0


def _count_if_failed(record: Record, watch: Watch, value: bytes, now: int) -> int:
    trial = Entry(now, FAILED, watch.streams[:STREAM_SIZE], value, b"")
    return len(_last_seen(watch, [*_failed(record), trial], now))


def fail(record: Record, op: Op, now: int) -> Reply:
    owned = record.owned(op.ids)
    again = any(entry.state == FAILED for entry in owned)
    for entry in owned:
        entry.state = FAILED
    if not owned:
        record.append(op, FAILED, now)
    counts, threats = [], []
    for watch in op.panel.watches:
        count, threat = 0, record.threat(watch)
        if _value_for(watch, op.payload) is not None:
            count = len(_last_seen(watch, _failed(record), now))
            if count >= watch.threshold and not again:
                threat = threat or OPENED
                record.threats[watch.rule] = now + watch.window_ms
        counts.append(count)
        threats.append(threat)
    return Reply(GRANTED, 0, tuple(counts), tuple(threats))


def read(record: Record, op: Op, now: int) -> Reply:
    counts = tuple(len(_last_seen(watch, _failed(record), now)) for watch in op.panel.watches)
    return Reply(GRANTED, 0, counts, tuple(record.threat(watch) for watch in op.panel.watches))


def forget(record: Record, op: Op, now: int) -> Reply:
    reply = read(record, op, now)
    alike = _pieces(op.payload)
    forgiven = {op.ids[at : at + ID_SIZE] for at in range(0, len(op.ids), ID_SIZE)}
    for entry in record.entries:
        if (entry.stream, entry.value) in alike and not _in_flight(entry, op, now):
            forgiven.add(entry.owner)
    record.entries = [entry for entry in record.entries if entry.owner not in forgiven]
    return reply


def abandon(record: Record, op: Op, now: int) -> Reply:
    reply = read(record, op, now)
    for entry in record.owned(op.ids):
        if entry.state == IN_FLIGHT:
            entry.state = UNKNOWN
    return reply


_OPERATIONS: dict[bytes, Callable[[Record, Op, int], Reply]] = {
    RESERVE: reserve,
    FAIL: fail,
    FORGET: forget,
    ABANDON: abandon,
    READ: read,
}


class MemoryStore:
    """Exact sliding windows in this process's memory, thread-safe.

    ``clock``: seconds, monotonic by default, since nothing else shares the counters. ``max_subjects``: beyond it
    subjects are forgotten, which bounds the memory (about 1 kB each): of the kind that there are most of (addresses,
    accounts, rates, …) the one least recently touched. So a flood of one kind pushes out others only until it is the
    largest itself.
    """

    shared = False
    exact = True

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, max_subjects: int = 10_000) -> None:
        self._clock = clock
        self._max_subjects = max_subjects
        self._kinds: dict[bytes, OrderedDict[bytes, Record]] = {}
        self._tokens: dict[str, str] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return sum(map(len, self._kinds.values()))

    def execute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        with self._lock:
            moment = int(self._clock() * 1000) if now is None else now
            return [self._apply(op, moment) for op in ops]

    async def aexecute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        return self.execute(ops, now)

    def send(self, ops: Sequence[Op], now: int | None = None) -> Collected:
        return Collected(self.execute(ops, now))

    def get_token(self, name: str) -> str | None:
        return self._tokens.get(name)

    async def aget_token(self, name: str) -> str | None:
        return self._tokens.get(name)

    def set_token(self, name: str, value: str) -> None:
        self._tokens[name] = value

    def _apply(self, op: Op, now: int) -> Reply:
        records = self._kinds.setdefault(op.key[:_KIND_SIZE], OrderedDict())
        if op.code == RESET:
            records.pop(op.key, None)
            return Reply()
        record = records.get(op.key) or Record()
        if op.code == LINK:
            # A record that still counts others' failures stays: an attack on this name must not end with a login.
            record.advance(now, op.panel)
            if not (record.entries or record.threats):
                record = Record(link=op.payload)
            reply = Reply(LINKED, link=record.link) if record.link else Reply()
        elif record.link:
            return Reply(LINKED, link=record.link)
        else:
            record.advance(now, op.panel)
            reply = _OPERATIONS[op.code](record, op, now)
        self._keep(records, op.key, record)
        return reply

    def _keep(self, records: OrderedDict[bytes, Record], key: bytes, record: Record) -> None:
        if not (record.entries or record.threats or record.link):
            records.pop(key, None)
            return
        records[key] = record
        records.move_to_end(key)
        while len(self) > self._max_subjects:
            max(self._kinds.values(), key=len).popitem(last=False)
