"""Whatever the store of the counters does, an answer comes; and its absence is said once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import redis
from django.db import DatabaseError

from secguard.detection.store import FAIL, FORGET, GRANTED, READ, REFUSED, RESERVE, Op, Pending, Reply
from secguard.exceptions import StoreError
from secguard.stores import MemoryStore, RedisStore, ResilientStore
from secguard.stores.breaker import PROBE_INTERVAL, Breaker
from secguard.stores.resilient import PROOF, Outage
from secguard.testing import ManualClock
from tests.stores.drive import ANNA, GUESSES, KEY, LOGIN, NOW, TALLY, hang_up, number, panel

if TYPE_CHECKING:
    from tests.conftest import RestartableServer

PANEL = panel(GUESSES)
ERRORS = [
    redis.ConnectionError("refused"),
    redis.TimeoutError("slow"),
    redis.ResponseError("OOM command not allowed"),
    redis.ReadOnlyError("READONLY"),
    redis.BusyLoadingError("LOADING"),
    redis.AuthenticationError("NOAUTH"),
    ConnectionResetError("reset"),
    TimeoutError("slow"),
    OSError(24, "Too many open files"),
    StoreError("not done"),
    DatabaseError("locked"),
    sqlite3.OperationalError("locked"),
    KeyError("a bug"),
    AttributeError("a bug"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a bug"),
    RecursionError("a bug"),
    MemoryError(),
    asyncio.TimeoutError(),
    StopIteration(),
    Exception(),
]


class Moody:
    """A store that does its work, or fails with what it is told to."""

    shared = True
    exact = True

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.works = MemoryStore()
        self.asked = 0

    def _ask(self) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error

    def execute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        self._ask()
        return self.works.execute(ops, now)

    async def aexecute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        await asyncio.sleep(0)
        self._ask()
        return self.works.execute(ops, now)

    def send(self, ops: Sequence[Op], now: int | None = None) -> Pending:
        self._ask()
        return Promise(self, ops, now)

    def get_token(self, name: str) -> str | None:
        self._ask()
        return self.works.get_token(name)

    async def aget_token(self, name: str) -> str | None:
        await asyncio.sleep(0)
        self._ask()
        return self.works.get_token(name)

    def set_token(self, name: str, value: str) -> None:
        self._ask()
        self.works.set_token(name, value)


class ReadOnly(Moody):
    """A store whose server answers questions and takes no writes."""

    is_read_only = True

    def execute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        self._look_at(ops)
        return super().execute(ops, now)

    async def aexecute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        self._look_at(ops)
        return await super().aexecute(ops, now)

    def send(self, ops: Sequence[Op], now: int | None = None) -> Pending:
        self._look_at(ops)
        return super().send(ops, now)

    def _look_at(self, ops: Sequence[Op]) -> None:
        if self.is_read_only and any(op.code != READ for op in ops):
            raise redis.ReadOnlyError


class Promise:
    def __init__(self, store: Moody, ops: Sequence[Op], now: int | None) -> None:
        self._store, self._ops, self._now = store, ops, now

    def collect(self) -> list[Reply]:
        if self._store.error is not None:
            raise self._store.error
        return self._store.works.execute(self._ops, self._now)


class Guard:
    """A resilient store around a moody one, with a clock and an ear of its own."""

    def __init__(self, fail_mode: str = "local", primary: Any = None) -> None:
        self.clock = ManualClock()
        self.primary = Moody() if primary is None else primary
        self.degraded: list[Exception] = []
        self.recovered: list[tuple[float, int]] = []
        self.store = ResilientStore(
            self.primary,
            fail_mode=fail_mode,
            on_degraded=self.degraded.append,
            on_recovered=lambda outage: self.recovered.append((outage.seconds, outage.operations)),
            breaker=Breaker(clock=self.clock),
        )

    def do(self, *codes: bytes, first: int = 0) -> list[Reply]:
        return self.store.execute(ops(*codes, first=first), NOW)

    def go_away_and_come_back(self, after: float) -> None:
        """Noticed by a failure each time, ``after`` seconds apart."""
        self.primary.error = redis.ConnectionError()
        self.do(FAIL)
        self.primary.error = None
        self.clock.advance(after)
        self.do(FAIL)

    def count(self) -> int:
        return self.do(READ)[0].counts[0]


def ops(*codes: bytes, first: int = 0) -> list[Op]:
    return [Op(code, KEY, PANEL, number(first + n), LOGIN + ANNA) for n, code in enumerate(codes)]


def executing(store: ResilientStore, given: list[Op]) -> list[Reply]:
    return store.execute(given, NOW)


def awaiting(store: ResilientStore, given: list[Op]) -> list[Reply]:
    return asyncio.run(store.aexecute(given, NOW))


def sending(store: ResilientStore, given: list[Op]) -> list[Reply]:
    return store.send(given, NOW).collect()


Way = Callable[[ResilientStore, list[Op]], list[Reply]]
every_way = pytest.mark.parametrize("way", [executing, awaiting, sending])


# -- nothing is raised -------------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_no_exception_of_the_store_reaches_the_caller(way: Way, error: Exception) -> None:
    guard = Guard()
    guard.primary.error = error
    for n in range(3):
        (reply,) = way(guard.store, ops(FAIL, first=n))
        assert reply.counts == (n + 1,)
    # Python itself replaces a StopIteration that leaves a coroutine.
    assert [type(error)] == [type(each) for each in guard.degraded] or isinstance(error, StopIteration)
    assert guard.store.degraded


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_no_exception_reaches_who_asks_for_a_token(error: Exception) -> None:
    guard = Guard()
    guard.store.set_token("blocks", "known")
    assert guard.store.get_token("blocks") == "known"
    guard.primary.error = error
    assert guard.store.get_token("blocks") == "known"
    assert asyncio.run(guard.store.aget_token("blocks")) == "known"
    guard.store.set_token("blocks", "lost")
    assert guard.store.get_token("blocks") == "known"
    assert len(guard.degraded) == 1


class Forgetful(Moody):
    """Does what it is told, and its replies get lost."""

    def execute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        replies = self.works.execute(ops, now)
        self._ask()
        return replies


@pytest.mark.parametrize("lost_at", [RESERVE, FAIL])
@pytest.mark.parametrize("written", [True, False], ids=["written", "not written"])
def test_an_attempt_whose_reply_was_lost_counts_once_in_the_end(lost_at: bytes, written: bool) -> None:
    guard = Guard(primary=Forgetful() if written else Moody())
    for code in (RESERVE, FAIL):
        if code == lost_at:
            guard.primary.error = redis.ConnectionError("closed")
        guard.do(code)
    guard.primary.error = None
    guard.clock.advance(PROBE_INTERVAL)
    assert guard.count() == 1
    guard.do(FAIL, first=1)
    assert guard.count() == 2


def test_what_is_owed_is_owed_once_however_often_the_store_is_tried() -> None:
    guard, told = Guard(), []
    guard.store.on_recovered = told.append
    guard.primary.error = redis.ConnectionError("closed")
    guard.do(RESERVE)
    guard.do(FAIL)
    for _ in range(60):
        guard.clock.advance(PROBE_INTERVAL)
        guard.do(READ)
    assert len(guard.store._owed) == 1
    guard.primary.error = None
    guard.clock.advance(PROBE_INTERVAL)
    assert guard.count() == 1
    assert (len(guard.store._owed), [outage.failures for outage in told]) == (0, [1])


async def test_a_probe_that_is_cancelled_loses_nothing_that_is_owed() -> None:
    guard = Guard()
    guard.primary.error = redis.ConnectionError("closed")
    guard.do(RESERVE)
    guard.do(FAIL)
    guard.primary.error = asyncio.CancelledError()  # type: ignore[assignment]
    guard.clock.advance(PROBE_INTERVAL)
    with pytest.raises(asyncio.CancelledError):
        await guard.store.aexecute(ops(READ), NOW)
    assert len(guard.store._owed) == 1


def test_an_answer_that_is_older_than_the_outage_does_not_end_it() -> None:
    guard = Guard()
    pending = guard.store.send(ops(FAIL), NOW)
    guard.primary.error = redis.ConnectionError("closed")
    guard.do(READ)
    guard.primary.error = None
    pending.collect()
    assert guard.store.degraded
    assert guard.recovered == []
    guard.clock.advance(PROBE_INTERVAL)
    guard.do(READ)
    assert not guard.store.degraded


def test_a_failure_between_two_steps_of_a_recovery_leaves_no_outage_without_an_end() -> None:
    guard = Guard()
    guard.primary.error = redis.ConnectionError("closed")
    guard.do(READ)
    succeeded = guard.store.breaker.succeeded

    def overtaken() -> float | None:
        seconds = succeeded()
        guard.store.breaker.succeeded = succeeded  # type: ignore[method-assign]
        guard.store._note(redis.TimeoutError("late"))
        return seconds

    guard.store.breaker.succeeded = overtaken  # type: ignore[method-assign]
    guard.primary.error = None
    guard.clock.advance(PROBE_INTERVAL)
    guard.do(READ)
    for _ in range(5):
        guard.clock.advance(PROBE_INTERVAL)
        guard.do(READ)
    assert not guard.store.degraded
    guard.clock.advance(60)
    guard.do(READ)
    assert len(guard.recovered) == 1


def test_an_attempt_in_doubt_that_was_right_leaves_nothing() -> None:
    guard = Guard()
    guard.primary.error = redis.ConnectionError("closed")
    guard.do(RESERVE)
    guard.do(FORGET)
    guard.primary.error = None
    guard.clock.advance(PROBE_INTERVAL)
    assert guard.count() == 0


def test_what_failed_while_the_store_was_away_is_not_told_to_it() -> None:
    guard = Guard()
    guard.primary.error = redis.ConnectionError("closed")
    guard.do(READ)
    for first in range(5):
        guard.do(RESERVE, first=first)
        guard.do(FAIL, first=first)
    guard.primary.error = None
    guard.clock.advance(PROBE_INTERVAL)
    assert guard.count() == 0


@pytest.mark.parametrize("ask", [lambda store: store.get_token("t"), lambda store: asyncio.run(store.aget_token("t"))])
def test_each_way_to_a_token_finds_out_for_itself_that_the_store_is_away(ask: Callable[[Any], Any]) -> None:
    guard = Guard()
    guard.primary.error = redis.ConnectionError()
    assert ask(guard.store) is None
    assert len(guard.degraded) == 1
    guard.clock.advance(PROBE_INTERVAL)
    guard.primary.error = None
    guard.primary.works.set_token("t", "news")
    assert ask(guard.store) == "news"
    assert guard.recovered == [(PROBE_INTERVAL, 0)]


@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.get_token("t"),
        lambda store: asyncio.run(store.aget_token("t")),
        lambda store: store.execute(ops(READ), NOW),
        lambda store: asyncio.run(store.aexecute(ops(READ), NOW)),
        lambda store: store.send(ops(READ), NOW).collect(),
    ],
    ids=["token", "token awaited", "question", "question awaited", "question sent"],
)
def test_a_store_that_answers_questions_and_takes_no_writes_is_not_back(ask: Callable[[Any], Any]) -> None:
    guard = Guard(primary=ReadOnly())
    for _ in range(5):
        guard.do(FAIL)
        guard.clock.advance(PROBE_INTERVAL)
        ask(guard.store)
        assert guard.store.degraded
        guard.clock.advance(PROBE_INTERVAL)
    assert (len(guard.degraded), guard.recovered) == (1, [])
    guard.primary.is_read_only = False
    ask(guard.store)
    assert not guard.store.degraded
    assert guard.primary.works.execute([Op(READ, op.key, op.panel) for op in PROOF[:1]], NOW)[0].counts == (0,)


def test_what_a_store_failed_with_last_is_told_when_it_is_back() -> None:
    told: list[Outage] = []
    guard = Guard()
    guard.store.on_recovered = told.append
    for error in (redis.ConnectionError("closed"), redis.AuthenticationError("NOAUTH")):
        guard.primary.error = error
        guard.do(FAIL)
        guard.clock.advance(PROBE_INTERVAL)
    guard.primary.error = None
    guard.do(FAIL)
    assert [str(error) for error in guard.degraded] == ["closed"]
    assert [outage.last_error for outage in told] == ["AuthenticationError: NOAUTH"]


def test_a_token_that_cannot_be_set_degrades() -> None:
    guard = Guard()
    guard.primary.error = redis.ConnectionError()
    guard.store.set_token("blocks", "x")
    assert len(guard.degraded) == 1


def test_a_token_that_can_be_set_recovers() -> None:
    guard = Guard()
    guard.primary.error = redis.ConnectionError()
    guard.do(READ)
    guard.primary.error = None
    guard.clock.advance(PROBE_INTERVAL)
    guard.store.set_token("blocks", "x")
    assert not guard.store.degraded
    assert guard.store.get_token("blocks") == "x"


def test_a_reply_that_does_not_come_is_counted_here() -> None:
    guard = Guard()
    under_way = guard.store.send(ops(FAIL), NOW)
    guard.primary.error = redis.TimeoutError()
    assert under_way.collect()[0].counts == (1,)
    assert len(guard.degraded) == 1


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_ends_the_process_or_the_task_is_not_swallowed(end: type[BaseException]) -> None:
    guard = Guard()
    guard.primary.error = end()  # type: ignore[assignment]
    with pytest.raises(end):
        guard.do(FAIL)
    assert not guard.store.degraded


@every_way
@pytest.mark.parametrize("away", [True, False])
def test_nothing_to_do_asks_nobody(way: Way, away: bool) -> None:
    guard = Guard()
    guard.primary.error = redis.ConnectionError() if away else None
    assert way(guard.store, []) == []
    assert guard.primary.asked == 0


@every_way
def test_while_the_store_works_it_alone_counts(way: Way) -> None:
    guard = Guard()
    assert way(guard.store, ops(FAIL, FAIL))[1].counts == (2,)
    assert len(guard.primary.works) == 1
    assert (guard.degraded, guard.recovered, guard.store.degraded) == ([], [], False)


def test_it_is_as_shared_and_exact_as_what_it_protects() -> None:
    assert (Guard().store.shared, Guard().store.exact) == (True, True)
    assert Guard(primary=MemoryStore()).store.shared is False


# -- what happens meanwhile --------------------------------------------------------------------------------------


@every_way
def test_local_counts_on_and_limits_in_this_process(way: Way) -> None:
    guard = Guard("local")
    guard.primary.error = redis.ConnectionError()
    for n in range(3):
        assert way(guard.store, ops(RESERVE, first=n))[0].status == GRANTED
        way(guard.store, ops(FAIL, first=n))
    assert way(guard.store, ops(RESERVE, first=9))[0].status == REFUSED


@every_way
def test_open_counts_nothing_and_limits_nobody(way: Way) -> None:
    guard = Guard("open")
    guard.primary.error = redis.ConnectionError()
    for n in range(10):
        way(guard.store, ops(FAIL, first=n))
    assert way(guard.store, ops(RESERVE, READ, first=10)) == [Reply(), Reply()]


@every_way
def test_closed_refuses_attempts_and_says_when_to_come_back(way: Way) -> None:
    guard = Guard("closed")
    guard.primary.error = redis.ConnectionError()
    reserved, failed, read = way(guard.store, ops(RESERVE, FAIL, READ))
    assert reserved.status == REFUSED
    assert reserved.retry_after_ms > 0
    assert (failed, read) == (Reply(), Reply())


@pytest.mark.parametrize("fail_mode", ["local", "open", "closed"])
def test_every_mode_asks_the_store_again_once_it_is_back(fail_mode: str) -> None:
    guard = Guard(fail_mode)
    guard.primary.error = redis.ConnectionError()
    guard.do(FAIL)
    guard.primary.error = None
    guard.clock.advance(PROBE_INTERVAL)
    assert guard.do(RESERVE)[0].status == GRANTED
    assert not guard.store.degraded


@every_way
def test_a_slot_that_could_not_be_given_back_is_given_back_later(way: Way) -> None:
    guard = Guard()
    for n in range(3):
        guard.do(RESERVE, first=n)
    guard.primary.error = redis.ConnectionError()
    (reply,) = way(guard.store, [Op(FORGET, KEY, PANEL, number(0) + number(1))])
    assert reply.status == GRANTED
    guard.primary.error = None
    guard.clock.advance(PROBE_INTERVAL)
    assert [reply.status for reply in guard.do(RESERVE, RESERVE, first=8)] == [GRANTED, GRANTED]


@every_way
def test_closed_refuses_only_what_could_be_limited(way: Way) -> None:
    guard = Guard("closed")
    guard.primary.error = redis.ConnectionError()
    assert way(guard.store, [Op(RESERVE, KEY, panel(TALLY), number(1), LOGIN + ANNA)]) == [Reply()]


def test_what_is_counted_here_is_bounded() -> None:
    guard = Guard()
    guard.primary.error = redis.ConnectionError()
    for n in range(12_000):
        guard.store.execute([Op(FAIL, b"sg:a:%d" % n, PANEL, number(n), LOGIN + ANNA)], NOW)
    assert len(guard.store._local) <= 10_000


# -- episodes ----------------------------------------------------------------------------------------------------


def test_an_episode_is_told_once_at_its_beginning_and_once_at_its_end() -> None:
    guard = Guard()
    guard.primary.error = redis.ConnectionError("refused")
    for _ in range(50):
        guard.do(FAIL)
        guard.clock.advance(0.3)
    assert [str(error) for error in guard.degraded] == ["refused"]
    assert guard.recovered == []
    guard.primary.error = None
    guard.clock.advance(PROBE_INTERVAL)
    for _ in range(10):
        guard.do(FAIL)
    assert len(guard.degraded) == 1
    ((seconds, _),) = guard.recovered
    assert seconds == pytest.approx(50 * 0.3 + PROBE_INTERVAL)


def test_the_next_episode_is_told_again() -> None:
    guard = Guard()
    for _ in range(3):
        guard.go_away_and_come_back(PROBE_INTERVAL)
        guard.clock.advance(60)
    assert (len(guard.degraded), len(guard.recovered)) == (3, 3)


def test_a_store_that_comes_and_goes_is_told_of_twice_and_not_each_second() -> None:
    guard = Guard()
    for _ in range(20):
        guard.go_away_and_come_back(4)
    assert (len(guard.degraded), len(guard.recovered)) == (2, 1)
    for _ in range(2):
        guard.clock.advance(10)
        guard.do(FAIL)
    assert (len(guard.degraded), len(guard.recovered)) == (2, 2)


def test_a_store_that_comes_and_goes_is_asked_less_often_but_every_four_seconds() -> None:
    clock = ManualClock()
    breaker = Breaker(clock)
    for interval in (1, 2, 4, 4):
        assert breaker.failed()
        clock.advance(interval - 0.01)
        assert not breaker.may_try()
        clock.advance(0.01)
        assert breaker.may_try()
        breaker.succeeded()


def test_nobody_else_asks_while_somebody_looks_whether_the_store_is_back() -> None:
    clock = ManualClock()
    breaker = Breaker(clock)
    breaker.failed()
    clock.advance(PROBE_INTERVAL)
    assert breaker.may_try()
    clock.advance(5 * PROBE_INTERVAL)
    assert not breaker.may_try()
    breaker.gave_up()
    clock.advance(PROBE_INTERVAL)
    assert breaker.may_try()


def test_the_fail_mode_may_depend_on_the_request_at_hand() -> None:
    modes = iter(["closed", "open"])
    store = ResilientStore(Moody(), fail_mode=lambda: next(modes), breaker=Breaker(ManualClock()))
    store.primary.error = redis.ConnectionError()  # type: ignore[attr-defined]
    assert [store.execute(ops(RESERVE), NOW)[0].status for _ in range(2)] == [REFUSED, GRANTED]


def test_recovery_says_how_many_operations_were_done_here() -> None:
    guard = Guard()
    guard.primary.error = redis.ConnectionError()
    guard.do(FAIL, FAIL)
    guard.do(RESERVE)
    guard.store.send(ops(FAIL), NOW).collect()
    guard.primary.error = None
    guard.clock.advance(PROBE_INTERVAL)
    guard.do(READ, READ, READ)
    assert [operations for _, operations in guard.recovered] == [4]
    guard.clock.advance(60)
    guard.primary.error = redis.ConnectionError()
    guard.do(FAIL)
    guard.primary.error = None
    guard.clock.advance(PROBE_INTERVAL)
    guard.do(READ)
    assert [operations for _, operations in guard.recovered] == [4, 1]


def test_while_it_is_away_the_store_is_asked_once_an_interval() -> None:
    guard = Guard()
    guard.primary.error = redis.ConnectionError()
    guard.do(FAIL)
    for _ in range(80):
        guard.clock.advance(PROBE_INTERVAL / 8)
        guard.do(FAIL)
        guard.store.get_token("blocks")
        guard.store.set_token("blocks", "x")
    assert guard.primary.asked == 1 + 10


def test_of_many_threads_one_looks_whether_the_store_is_back() -> None:
    guard = Guard()
    guard.primary.error = redis.ConnectionError()
    guard.do(FAIL)
    guard.clock.advance(PROBE_INTERVAL)
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda n: guard.do(FAIL, first=n), range(500)))
    assert guard.primary.asked == 2
    assert len(guard.degraded) == 1


def test_many_threads_that_find_the_store_away_at_once_make_one_episode() -> None:
    guard = Guard()
    guard.primary.error = redis.ConnectionError()
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda n: guard.do(FAIL, first=n), range(500)))
    assert len(guard.degraded) == 1


def test_a_breaker_that_was_not_open_has_nothing_to_close() -> None:
    breaker = Breaker(clock=ManualClock())
    assert breaker.may_try()
    assert breaker.succeeded() is None


# -- a real server -----------------------------------------------------------------------------------------------


def test_a_server_that_is_killed_and_comes_back(restartable_server: RestartableServer) -> None:
    primary = RedisStore(restartable_server.url, timeout=10)
    guard = Guard(primary=primary)
    assert guard.do(FAIL)[0].counts == (1,)
    under_way = guard.store.send(ops(FAIL, first=1), NOW)
    assert under_way.collect()[0].counts == (2,)
    restartable_server.stop()
    guard.store.set_token("blocks", "x")
    assert guard.store.get_token("blocks") is None
    assert guard.do(FAIL, FAIL, first=2)[1].counts == (2,)
    assert guard.store.send(ops(FAIL, first=4), NOW).collect()[0].counts == (3,)
    assert asyncio.run(guard.store.aexecute(ops(RESERVE, first=5), NOW))[0].status == REFUSED
    assert (len(guard.degraded), guard.recovered) == (1, [])
    assert isinstance(guard.degraded[0], redis.ConnectionError)
    restartable_server.start()
    guard.clock.advance(PROBE_INTERVAL)
    assert guard.do(FAIL, first=6)[0].counts == (1,)
    assert guard.recovered == [(PROBE_INTERVAL, 4)]
    primary.close()


async def test_a_server_that_is_killed_and_comes_back_to_coroutines(restartable_server: RestartableServer) -> None:
    primary = RedisStore(restartable_server.url, timeout=10)
    guard = Guard(primary=primary)
    assert (await guard.store.aexecute(ops(FAIL), NOW))[0].counts == (1,)
    restartable_server.stop()
    assert (await guard.store.aexecute(ops(FAIL), NOW))[0].counts == (1,)
    assert await guard.store.aget_token("blocks") is None
    assert len(guard.degraded) == 1
    restartable_server.start()
    guard.clock.advance(PROBE_INTERVAL)
    await guard.store.aexecute(ops(FAIL), NOW)
    assert guard.recovered == [(PROBE_INTERVAL, 1)]
    await hang_up(primary)


def test_a_server_that_is_away_at_the_start(dead_redis_url: str) -> None:
    guard = Guard(primary=RedisStore(dead_redis_url, timeout=10))
    assert guard.do(FAIL)[0].counts == (1,)
    assert len(guard.degraded) == 1
