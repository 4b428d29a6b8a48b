"""Stands between the counters and everybody who faces a user: whatever the store does, an answer comes."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock

from secguard.detection.store import (
    ABANDON,
    FAIL,
    FORGET,
    ID_SIZE,
    REFUSED,
    RESERVE,
    RESET,
    Collected,
    Op,
    Panel,
    Pending,
    Reply,
    Store,
    Watch,
)
from secguard.stores.breaker import RELAPSE_SECONDS, Breaker
from secguard.stores.memory import MemoryStore

#: What a login is told while FAIL_MODE is "closed", in milliseconds.
_CLOSED_RETRY_MS = 5_000
#: What the store has to be told once it is there again, at most (slots given back, how those ended whose reservation
#: was in doubt), and how much with one operation.
_MAX_OWED, _MAX_OWED_AT_ONCE = 1_000, 50
#: A store that comes and goes is back when it has worked for so long. Meanwhile there is no line, or there would be
#: two each second.
_SETTLED_SECONDS = 10.0


#: Whoever finds a store back has it write first. A server that is out of memory, follows another one or forbids scripts
#: still answers what it is asked to read, and would be back and away with each request. Leaves nothing behind.
_PROOF_PANEL = Panel((Watch("proof", b"\0\0", False, 1_000, 1_000, True),), lease_ms=1_000, cap=1_000)
PROOF = (
    Op(RESERVE, b"sg:proof", _PROOF_PANEL, bytes(ID_SIZE), b"\0\0"),
    Op(RESET, b"sg:proof", _PROOF_PANEL),
)


@dataclass(slots=True)
class Outage:
    """What happened in this process while the store was away.

    ``seconds``: how long it was not asked. ``operations``: what the store would have been asked. ``attempts``,
    ``failures``: logins begun and failed meanwhile; ``refused``: those that were not let try. ``relapses``: how
    often it went away again before the outage was over. ``last_error``: what it failed with last, which may be nearer
    to the cause than what it failed with first.
    """

    seconds: float = 0.0
    operations: int = 0
    attempts: int = 0
    failures: int = 0
    refused: int = 0
    relapses: int = 0
    last_error: str = ""
    comes_and_goes: bool = False
    back_at: float = float("-inf")

    def note(self, ops: Sequence[Op], replies: Sequence[Reply]) -> None:
        """Operations that were done here. What belongs to one attempt has one id."""
        self.operations += len(ops)
        self.attempts += len({op.ids for op in ops if op.code == RESERVE})
        self.failures += len({op.ids for op in ops if op.code == FAIL})
        self.refused += len({op.ids for op, reply in zip(ops, replies, strict=True) if reply.status == REFUSED})


class _GuardedPending:
    """Replies under way from the primary store; if they do not come, the operations are done locally."""

    __slots__ = ("_inner", "_now", "_ops", "_proven", "_store")

    def __init__(self, store: ResilientStore, inner: Pending, ops: Sequence[Op], now: int | None, proven: bool) -> None:
        self._store, self._inner, self._ops, self._now = store, inner, ops, now
        self._proven = proven

    def collect(self) -> list[Reply]:
        try:
            with self._store.breaker.asking():
                return self._store.worked(self._inner.collect(), self._proven)[-len(self._ops) :]
        except Exception as error:
            return self._store.fell_back(error, self._ops, self._now)


class ResilientStore:
    """A store that never raises.

    While ``primary`` is away, ``fail_mode`` decides: ``local`` counts in this process (bounded), ``open``
    counts nothing, ``closed`` refuses reservations; a function says which it is for the request at hand. What was
    counted locally is not merged afterwards: other processes counted too, and added up they would punish the
    honest for an outage. Only what was under way when it began is told to the store in the end, by its id.
    ``on_degraded(error)`` and ``on_recovered(outage)`` are called once an outage.
    """

    def __init__(
        self,
        primary: Store,
        *,
        fail_mode: str | Callable[[], str] = "local",
        on_degraded: Callable[[Exception], None] = lambda error: None,
        on_recovered: Callable[[Outage], None] = lambda outage: None,
        breaker: Breaker | None = None,
    ) -> None:
        self.primary = primary
        self.shared = primary.shared
        self.exact = primary.exact
        self.breaker = breaker or Breaker()
        self.on_degraded = on_degraded
        self.on_recovered = on_recovered
        self._fail_mode = fail_mode if callable(fail_mode) else lambda: fail_mode
        self._local = MemoryStore()
        self._lock = Lock()
        self._outage: Outage | None = None
        self._ended_at = float("-inf")
        self._owed: deque[Op] = deque(maxlen=_MAX_OWED)
        #: Reservations that the store has made or not: the reply did not come.
        self._in_doubt: OrderedDict[bytes, None] = OrderedDict()
        self._tokens: dict[str, str | None] = {}

    @property
    def degraded(self) -> bool:
        return self.breaker.opened_at is not None

    def execute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        if not ops:
            return []
        if not self.breaker.may_try():
            return self._locally(ops, now)
        owed, proof = self._take_owed() if self._owed else [], self._proof()
        try:
            with self.breaker.asking():
                replies = self.primary.execute([*proof, *owed, *ops], now)
                return self.worked(replies, proven=bool(proof))[-len(ops) :]
        except BaseException as error:
            self._owed.extendleft(reversed(owed))  # told again, by their ids
            return self.fell_back(error, ops, now)

    async def aexecute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        if not ops:
            return []
        if not self.breaker.may_try():
            return self._locally(ops, now)
        owed, proof = self._take_owed() if self._owed else [], self._proof()
        try:
            with self.breaker.asking():
                replies = await self.primary.aexecute([*proof, *owed, *ops], now)
                return self.worked(replies, proven=bool(proof))[-len(ops) :]
        except BaseException as error:
            self._owed.extendleft(reversed(owed))  # told again, by their ids
            return self.fell_back(error, ops, now)

    def send(self, ops: Sequence[Op], now: int | None = None) -> Pending:
        if not ops or not self.breaker.may_try():
            return Collected(self._locally(ops, now))
        try:
            with self.breaker.asking():
                proof = self._proof()
                return _GuardedPending(self, self.primary.send([*proof, *ops], now), ops, now, bool(proof))
        except Exception as error:
            return Collected(self.fell_back(error, ops, now))

    # -- tokens: None while nobody knows, which changes nothing ---------------------------------------

    def get_token(self, name: str) -> str | None:
        if not self.breaker.may_try():
            return self._tokens.get(name)
        try:
            with self.breaker.asking():
                return self._know(name, self.primary.get_token(name), self._prove())
        except Exception as error:
            self._note(error)
            return self._tokens.get(name)

    async def aget_token(self, name: str) -> str | None:
        if not self.breaker.may_try():
            return self._tokens.get(name)
        try:
            with self.breaker.asking():
                token = await self.primary.aget_token(name)
                return self._know(name, token, await self.primary.aexecute(PROOF) if self.degraded else [])
        except Exception as error:
            self._note(error)
            return self._tokens.get(name)

    def set_token(self, name: str, value: str) -> None:
        if not self.breaker.may_try():
            return
        try:
            with self.breaker.asking():
                self.primary.set_token(name, value)
                proven = self._prove()
                self.worked(proven, bool(proven))
        except Exception as error:
            self._note(error)

    def _know(self, name: str, token: str | None, proven: list[Reply]) -> str | None:
        self.worked(proven, bool(proven))
        self._tokens[name] = token
        return token

    def _proof(self) -> Sequence[Op]:
        """What the store has to do first if it was away."""
        return PROOF if self.degraded else ()

    def _prove(self) -> list[Reply]:
        return self.primary.execute(PROOF) if self.degraded else []

    # -- outcomes -------------------------------------------------------------------------------------

    def worked(self, replies: list[Reply], proven: bool = False) -> list[Reply]:
        """The store answered. If it had been away, and this answer proves that it is back, say so.

        An answer may be older than the outage, or to a question that a server answers that takes no writes.
        """
        if self._outage is not None and (proven or not self.degraded):
            self._recover()
        return replies

    def _recover(self) -> None:
        seconds = self.breaker.succeeded()
        now = self.breaker.clock()
        with self._lock:
            outage = self._outage
            if outage is None or self.degraded:  # another's failure has come in between
                return
            if seconds is not None:
                outage.seconds, outage.back_at = outage.seconds + seconds, now
            if outage.comes_and_goes and now - outage.back_at < _SETTLED_SECONDS:
                return
            self._outage, self._ended_at = None, now
        self.on_recovered(outage)

    def fell_back(self, error: BaseException, ops: Sequence[Op], now: int | None) -> list[Reply]:
        """The operations done here, since there was no answer. What ends the process or the task is raised again."""
        if not isinstance(error, Exception):
            raise error
        self._note(error)
        with self._lock:
            self._in_doubt.update((op.ids, None) for op in ops if op.code == RESERVE)
            while len(self._in_doubt) > _MAX_OWED:
                self._in_doubt.popitem(last=False)
        return self._locally(ops, now, asked=True)

    def _note(self, error: Exception) -> None:
        opened = self.breaker.failed()
        with self._lock:
            if self._outage is not None:
                self._outage.relapses += opened
                self._outage.last_error = _text_of(error)
            if not opened or self._outage is not None:
                return
            self._outage = Outage(
                last_error=_text_of(error), comes_and_goes=self.breaker.clock() - self._ended_at < RELAPSE_SECONDS
            )
        self.on_degraded(error)

    def _take_owed(self) -> list[Op]:
        """What the store still has to hear of."""
        owed: list[Op] = []
        with suppress(IndexError):
            while len(owed) < _MAX_OWED_AT_ONCE:
                owed.append(self._owed.popleft())
        return owed

    def _must_tell(self, op: Op, asked: bool) -> bool:
        """Must the store hear of this operation once it is back? ``asked``: it was sent, and no answer came."""
        if op.code == FORGET:
            # A slot that is not given back would be held for its lease, and then limit like a failure.
            return bool(op.ids)
        if op.code == FAIL and asked:
            return True  # it may be written, and may not: by its id it is written once
        # How these ended has to be heard, or they would be in flight there until their lease ends.
        return op.code in (FAIL, ABANDON) and op.ids in self._in_doubt

    def _locally(self, ops: Sequence[Op], now: int | None, *, asked: bool = False) -> list[Reply]:
        self._owed.extend(op for op in ops if self._must_tell(op, asked))
        mode = self._fail_mode()
        if mode == "local":
            replies = self._local.execute(ops, now)
        elif mode == "closed":
            replies = [_refused(op) for op in ops]
        else:
            replies = [Reply() for op in ops]
        with self._lock:
            if self._outage is not None:
                self._outage.note(ops, replies)
        return replies


def _text_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip()


def _refused(op: Op) -> Reply:
    return Reply(REFUSED, _CLOSED_RETRY_MS) if op.code == RESERVE and op.panel.limiting else Reply()
