"""Stands between the counters and everybody who faces a user: whatever the store does, an answer comes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock

from secguard.detection.store import FORGET, REFUSED, RESERVE, Collected, Op, Pending, Reply, Store
from secguard.stores.memory import MemoryStore

#: Seconds between two looks at a store that is away: one probe a second and process.
PROBE_INTERVAL = 1.0
#: What a login is told while FAIL_MODE is "closed", in milliseconds.
_CLOSED_RETRY_MS = 5_000


#: Slots to give back once the store is there again, at most, and how many with one operation.
_MAX_OWED, _MAX_OWED_AT_ONCE = 1_000, 50


class Breaker:
    """Open after one failure, then one trial a second. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, interval: float = PROBE_INTERVAL) -> None:
        self._clock = clock
        self._interval = interval
        self._lock = Lock()
        self.opened_at: float | None = None
        self._next_probe = 0.0

    def may_try(self) -> bool:
        """Is the store to be asked? While open, one caller an interval is told yes."""
        if self.opened_at is None:
            return True
        now = self._clock()
        with self._lock:
            if self.opened_at is not None and now < self._next_probe:
                return False
            self._next_probe = now + self._interval
            return True

    def failed(self) -> bool:
        """Note a failure. → True if this one opened the breaker."""
        now = self._clock()
        with self._lock:
            first = self.opened_at is None
            if first:
                self.opened_at = now
            self._next_probe = now + self._interval
            return first

    def succeeded(self) -> float | None:
        """Note a success. → how long the breaker was open, in seconds, if this one closed it."""
        if self.opened_at is None:
            return None
        with self._lock:
            opened, self.opened_at = self.opened_at, None
        return None if opened is None else self._clock() - opened


class _GuardedPending:
    """Replies under way from the primary store; if they do not come, the operations are done locally."""

    __slots__ = ("_inner", "_now", "_ops", "_store")

    def __init__(self, store: ResilientStore, inner: Pending, ops: Sequence[Op], now: int | None) -> None:
        self._store, self._inner, self._ops, self._now = store, inner, ops, now

    def collect(self) -> list[Reply]:
        try:
            return self._store.worked(self._inner.collect())
        except Exception as error:
            return self._store.fell_back(error, self._ops, self._now)


class ResilientStore:
    """A store that never raises.

    While ``primary`` is away, ``fail_mode`` decides: ``local`` counts in this process (bounded), ``open``
    counts nothing, ``closed`` refuses reservations. What was counted locally is not merged afterwards: other
    processes counted too, and added up they would punish the honest for an outage.
    ``on_degraded(error)`` and ``on_recovered(seconds, operations)`` are called once an episode.
    """

    def __init__(
        self,
        primary: Store,
        *,
        fail_mode: str = "local",
        on_degraded: Callable[[Exception], None] = lambda error: None,
        on_recovered: Callable[[float, int], None] = lambda seconds, operations: None,
        breaker: Breaker | None = None,
    ) -> None:
        self.primary = primary
        self.shared = primary.shared
        self.exact = primary.exact
        self.breaker = breaker or Breaker()
        self.on_degraded = on_degraded
        self.on_recovered = on_recovered
        self._fail_mode = fail_mode
        self._local = MemoryStore()
        self._local_operations = 0
        self._owed: deque[Op] = deque(maxlen=_MAX_OWED)
        self._tokens: dict[str, str | None] = {}

    @property
    def degraded(self) -> bool:
        return self.breaker.opened_at is not None

    def execute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        if not ops:
            return []
        if not self.breaker.may_try():
            return self._locally(ops, now)
        wanted = self._with_owed(ops) if self._owed else list(ops)
        try:
            return self.worked(self.primary.execute(wanted, now))[-len(ops) :]
        except Exception as error:
            return self.fell_back(error, wanted, now)[-len(ops) :]

    async def aexecute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        if not ops:
            return []
        if not self.breaker.may_try():
            return self._locally(ops, now)
        wanted = self._with_owed(ops) if self._owed else list(ops)
        try:
            return self.worked(await self.primary.aexecute(wanted, now))[-len(ops) :]
        except Exception as error:
            return self.fell_back(error, wanted, now)[-len(ops) :]

    def send(self, ops: Sequence[Op], now: int | None = None) -> Pending:
        if not ops or not self.breaker.may_try():
            return Collected(self._locally(ops, now))
        try:
            return _GuardedPending(self, self.primary.send(ops, now), ops, now)
        except Exception as error:
            return Collected(self.fell_back(error, ops, now))

    # -- tokens: None while nobody knows, which changes nothing ---------------------------------------

    def get_token(self, name: str) -> str | None:
        if not self.breaker.may_try():
            return self._tokens.get(name)
        try:
            return self._know(name, self.primary.get_token(name))
        except Exception as error:
            self._note(error)
            return self._tokens.get(name)

    async def aget_token(self, name: str) -> str | None:
        if not self.breaker.may_try():
            return self._tokens.get(name)
        try:
            return self._know(name, await self.primary.aget_token(name))
        except Exception as error:
            self._note(error)
            return self._tokens.get(name)

    def set_token(self, name: str, value: str) -> None:
        if not self.breaker.may_try():
            return
        try:
            self.primary.set_token(name, value)
            self.worked([])
        except Exception as error:
            self._note(error)

    def _know(self, name: str, token: str | None) -> str | None:
        self.worked([])
        self._tokens[name] = token
        return token

    # -- outcomes -------------------------------------------------------------------------------------

    def worked(self, replies: list[Reply]) -> list[Reply]:
        """The store answered. If it had been away, say so."""
        seconds = self.breaker.succeeded()
        if seconds is not None:
            operations, self._local_operations = self._local_operations, 0
            self.on_recovered(seconds, operations)
        return replies

    def fell_back(self, error: Exception, ops: Sequence[Op], now: int | None) -> list[Reply]:
        self._note(error)
        return self._locally(ops, now)

    def _note(self, error: Exception) -> None:
        if self.breaker.failed():
            self.on_degraded(error)

    def _with_owed(self, ops: Sequence[Op]) -> list[Op]:
        """These operations, after those that the store still has to hear of."""
        owed: list[Op] = []
        with suppress(IndexError):
            while len(owed) < _MAX_OWED_AT_ONCE:
                owed.append(self._owed.popleft())
        return [*owed, *ops]

    def _locally(self, ops: Sequence[Op], now: int | None) -> list[Reply]:
        self._local_operations += len(ops)
        # A slot that is not given back would be held for its lease, and then limit like a failure.
        self._owed.extend(op for op in ops if op.code == FORGET and op.ids)
        if self._fail_mode == "local":
            return self._local.execute(ops, now)
        if self._fail_mode == "closed":
            return [_refused(op) for op in ops]
        return [Reply() for op in ops]


def _refused(op: Op) -> Reply:
    return Reply(REFUSED, _CLOSED_RETRY_MS) if op.code == RESERVE and op.panel.limiting else Reply()
