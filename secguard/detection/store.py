"""What a store of counters must do. One record per subject serves all rules of that subject.

A record holds *entries* (an event with its time, state and the value whose difference may be counted)
and *open threats* (a rule's name and when the threat closes). Every operation touches one record,
atomically; a store executes the operations of one call in one trip and in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

#: States of an entry. IN_FLIGHT counts as unknown once its lease has ended.
IN_FLIGHT, FAILED, UNKNOWN = b"R", b"F", b"U"
STREAM_SIZE = 2
ID_SIZE = 6

#: Answers to a reservation, and LINKED to any operation: the record lives under another account.
GRANTED, WAIT, REFUSED, LINKED = 0, 1, 2, 3
#: What ``Reply.threats`` says of a rule.
CLOSED, OPEN, OPENED = 0, 1, 2


class Watch(NamedTuple):
    """One rule, as a store sees it. ``streams``: the kinds of entries it counts, two bytes each."""

    rule: str
    streams: bytes
    distinct: bool
    window_ms: int
    threshold: int
    limiting: bool


def streams_of(watch: Watch) -> tuple[bytes, ...]:
    """The kinds of entries that a rule counts, one by one."""
    return tuple(watch.streams[at : at + STREAM_SIZE] for at in range(0, len(watch.streams), STREAM_SIZE))


class Panel:
    """The rules that one kind of subject is under, and the limits of its records.

    ``lease_ms``: how long a reservation may be in flight. ``cap``: entries kept of one stream.
    ``horizon_ms``: after how long an entry serves no rule any more. ``prepared``: what a store
    keeps with it. ``visible``: how many of the watches are rules; those behind them only count (all are, if not
    said).
    """

    __slots__ = ("cap", "horizon_ms", "lease_ms", "limiting", "names", "prepared", "watches")

    def __init__(self, watches: Sequence[Watch], *, lease_ms: int, cap: int, visible: int | None = None) -> None:
        self.watches = tuple(watches)
        self.names = tuple(watch.rule for watch in watches)[:visible]
        self.limiting = any(watch.limiting for watch in watches)
        self.lease_ms = lease_ms
        self.cap = cap
        self.prepared: Any = None
        self.horizon_ms = max((watch.window_ms for watch in watches), default=lease_ms)


class Op(NamedTuple):
    """One operation on one record.

    | code    | ids        | payload               | does                                                   |
    |---------|------------|-----------------------|--------------------------------------------------------|
    | reserve | one        | entries (stream+value)| adds the entries in flight, if a limit allows; where   |
    |         |            |                       | no rule limits it adds nothing                         |
    | fail    | one        | entries               | marks them failed (adds them if they are gone), opens  |
    | forget  | any number | entries               | drops these ids, and what is settled and looks alike   |
    | abandon | one        | –                     | marks them unknown                                     |
    | read    | –          | –                     | counts, changes nothing                                |
    | reset   | –          | –                     | drops the record                                       |
    | link    | –          | the target's digest   | makes an empty record point to another account's       |

    ``reserve``, ``fail``, ``forget`` and ``abandon`` are idempotent by id. Counts of a reserve are those
    that hold if the attempt fails; counts of a forget are those before it.
    """

    code: bytes
    key: bytes
    panel: Panel
    ids: bytes = b""
    payload: bytes = b""


RESERVE, FAIL, FORGET, ABANDON, READ, RESET, LINK = b"R", b"F", b"X", b"U", b"Q", b"D", b"L"


class Reply(NamedTuple):
    """What an operation found. ``counts`` and ``threats`` stand in the order of the panel's watches.

    ``retry_after_ms``: for a refusal, when the limit has room again. ``link``: the digest of the
    account under which the record lives, if ``status`` is LINKED.
    """

    status: int = GRANTED
    retry_after_ms: int = 0
    counts: tuple[int, ...] = ()
    threats: tuple[int, ...] = ()
    link: bytes = b""


class Pending(Protocol):
    """Operations that are under way; ``collect`` waits for their replies, once."""

    def collect(self) -> list[Reply]: ...


class Store(Protocol):
    """Counters. ``now`` is in milliseconds; None means the store's own clock.

    ``shared``: every process sees the same counters. ``exact``: windows slide exactly.
    Raises whatever its client raises; callers that face a user go through the resilient store.
    """

    shared: bool
    exact: bool

    def execute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]: ...

    async def aexecute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]: ...

    def send(self, ops: Sequence[Op], now: int | None = None) -> Pending: ...

    def get_token(self, name: str) -> str | None: ...

    async def aget_token(self, name: str) -> str | None: ...

    def set_token(self, name: str, value: str) -> None: ...


class Collected:
    """A ``Pending`` whose replies are there already."""

    __slots__ = ("_replies",)

    def __init__(self, replies: list[Reply]) -> None:
        self._replies = replies

    def collect(self) -> list[Reply]:
        return self._replies
