"""Who may wait in a process, for how long, and whose turn it is to ask."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from secguard.blocking.waiting import (
    ASYNC_WAITERS,
    DOOR_SECONDS,
    UNKNOWN_THREADS_WAITERS,
    Stay,
    WaitingRoom,
    runs_event_loop,
    server_threads,
    waiters_for_threads,
)
from secguard.detection.detector import ASKING, QUEUING, TAKEN
from secguard.testing import ManualClock

KEY, OTHER_KEY = b"sg:a:one", b"sg:a:two"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def stays() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def queue(stack: ExitStack, room: WaitingRoom, number: int = 1, seconds: float = 10) -> list[bool]:
    """So many attempts come and ask whether they may queue."""
    return [stack.enter_context(room.stay(seconds)).may_pause(True) for _ in range(number)]


# -- how long ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("queuing", [True, False])
def test_an_attempt_waits_no_longer_than_it_may(clock: ManualClock, queuing: bool) -> None:
    with WaitingRoom(5, clock).stay(3) as stay:
        assert stay.may_pause(queuing)
        clock.advance(2.9)
        assert stay.may_pause(queuing)
        clock.advance(0.1)
        assert not stay.may_pause(queuing)


def test_the_time_begins_with_the_first_pause(clock: ManualClock) -> None:
    with WaitingRoom(5, clock).stay(3) as stay:
        clock.advance(100)
        assert stay.may_pause(True)


@pytest.mark.parametrize("queuing", [True, False])
def test_with_no_time_to_wait_nobody_waits(clock: ManualClock, queuing: bool) -> None:
    with WaitingRoom(5, clock).stay(0) as stay:
        assert not stay.may_pause(queuing)


# -- how many ------------------------------------------------------------------------------------------------


def test_only_so_many_queue(clock: ManualClock, stays: ExitStack) -> None:
    room = WaitingRoom(3, clock)
    assert queue(stays, room, 5) == [True, True, True, False, False]


def test_with_a_limit_of_nought_nobody_queues(clock: ManualClock, stays: ExitStack) -> None:
    assert queue(stays, WaitingRoom(0, clock)) == [False]


def test_a_place_falls_free_when_somebody_leaves(clock: ManualClock, stays: ExitStack) -> None:
    room = WaitingRoom(1, clock)
    with room.stay(10) as first:
        assert first.may_pause(True)
        assert queue(stays, room) == [False]
    assert queue(stays, room) == [True]


def test_a_place_falls_free_when_somebody_fails(clock: ManualClock, stays: ExitStack) -> None:
    room = WaitingRoom(1, clock)

    def fail() -> None:
        with room.stay(10) as first:
            assert first.may_pause(True)
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert queue(stays, room) == [True]


def test_one_attempt_takes_one_place_however_often_it_asks(clock: ManualClock, stays: ExitStack) -> None:
    room = WaitingRoom(2, clock)
    with room.stay(10) as first:
        assert [first.may_pause(True) for _ in range(10)] == [True] * 10
        assert queue(stays, room, 2) == [True, False]
    assert queue(stays, room) == [True]


def test_who_waits_a_moment_for_a_turn_takes_no_place(clock: ManualClock, stays: ExitStack) -> None:
    room = WaitingRoom(1, clock)
    others = [stays.enter_context(room.stay(10)) for _ in range(20)]
    assert all(other.may_pause(False) for other in others)
    assert queue(stays, room) == [True]


def test_places_are_counted_right_among_threads(clock: ManualClock) -> None:
    room = WaitingRoom(10, clock)
    everybody_asked = threading.Barrier(50)

    def ask() -> bool:
        with room.stay(10) as stay:
            may = stay.may_pause(True)
            everybody_asked.wait(timeout=30)
            return may

    with ThreadPoolExecutor(50) as pool:
        asked = list(pool.map(lambda _: ask(), range(50)))
    assert asked.count(True) == 10
    with ExitStack() as stack:
        assert queue(stack, room, 11).count(True) == 10


# -- the door ------------------------------------------------------------------------------------------------


def test_where_the_limit_is_a_guess_one_too_many_stands_at_the_door_for_a_while(clock: ManualClock) -> None:
    room = WaitingRoom(None, clock)
    with ExitStack() as stack:
        assert all(queue(stack, room, UNKNOWN_THREADS_WAITERS))
        late = stack.enter_context(room.stay(10))
        assert late.may_pause(True)
        clock.advance(DOOR_SECONDS - 0.01)
        assert late.may_pause(True)
        clock.advance(0.01)
        assert not late.may_pause(True)


def test_who_stands_at_the_door_gets_the_place_that_falls_free(clock: ManualClock) -> None:
    room = WaitingRoom(None, clock)
    with ExitStack() as stack:
        with ExitStack() as first:
            queue(first, room, UNKNOWN_THREADS_WAITERS)
            late = stack.enter_context(room.stay(10))
            assert late.may_pause(True)
        assert late.may_pause(True)
        clock.advance(DOOR_SECONDS)
        assert late.may_pause(True)


def test_nobody_stands_at_the_door_longer_than_he_may_wait(clock: ManualClock) -> None:
    room = WaitingRoom(None, clock)
    with ExitStack() as stack:
        queue(stack, room, UNKNOWN_THREADS_WAITERS)
        late = stack.enter_context(room.stay(DOOR_SECONDS / 2))
        assert late.may_pause(True)
        clock.advance(DOOR_SECONDS / 2)
        assert not late.may_pause(True)


def test_a_limit_that_was_set_has_no_door(clock: ManualClock, stays: ExitStack) -> None:
    room = WaitingRoom(1, clock)
    assert queue(stays, room, 2) == [True, False]


# -- event loops -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("queuing", [True, False])
async def test_the_thread_of_an_event_loop_never_waits(clock: ManualClock, queuing: bool) -> None:
    with WaitingRoom(5, clock).stay(10) as stay:
        assert not stay.may_pause(queuing)


async def test_a_coroutine_waits(clock: ManualClock) -> None:
    with WaitingRoom(5, clock).astay(10) as stay:
        assert stay.may_pause(True)


async def test_coroutines_hold_no_thread_so_more_of_them_wait(clock: ManualClock) -> None:
    room = WaitingRoom(None, clock)
    room.door_seconds = 0
    with ExitStack() as stack:
        asked = [stack.enter_context(room.astay(10)).may_pause(True) for _ in range(ASYNC_WAITERS + 1)]
    assert asked == [True] * ASYNC_WAITERS + [False]


async def test_a_limit_that_was_set_holds_for_coroutines_too(clock: ManualClock) -> None:
    room = WaitingRoom(2, clock)
    with ExitStack() as stack:
        assert [stack.enter_context(room.astay(10)).may_pause(True) for _ in range(3)] == [True, True, False]


def test_whether_an_event_loop_runs_here_is_known() -> None:
    async def inside() -> tuple[bool, bool]:
        return runs_event_loop(), await asyncio.to_thread(runs_event_loop)

    assert not runs_event_loop()
    assert asyncio.run(inside()) == (True, False)


# -- how many threads there are ----------------------------------------------------------------------------------


def test_a_thread_of_a_pool_knows_how_many_there_are() -> None:
    with ThreadPoolExecutor(12) as pool:
        assert pool.submit(server_threads).result() == 12


def test_a_thread_of_a_pool_knows_it_even_where_an_event_loop_sent_it() -> None:
    async def ask() -> int | None:
        with ThreadPoolExecutor(7) as pool:
            return await asyncio.get_running_loop().run_in_executor(pool, server_threads)

    assert asyncio.run(ask()) == 7


def test_any_other_thread_does_not_tell() -> None:
    found: list[int | None] = [server_threads()]
    for arguments in ((), (5,), (object(),)):
        thread = threading.Thread(target=lambda *args: found.append(server_threads()), args=arguments)
        thread.start()
        thread.join()
    assert found == [None] * 4


def test_what_a_thread_was_given_to_call_is_not_called() -> None:
    found: list[object] = []
    work = threading.Thread(
        target=lambda callback: found.append(server_threads()), args=(lambda: found.append("called"),)
    )
    work.start()
    work.join()
    assert found == [None]


def test_waitress_names_its_threads() -> None:
    found: list[int | None] = []
    everybody_runs = threading.Barrier(3)

    def serve() -> None:
        everybody_runs.wait(timeout=30)
        found.append(server_threads())
        everybody_runs.wait(timeout=30)

    threads = [threading.Thread(target=serve, name=f"waitress-{n}") for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [3, 3, 3]


def test_uwsgi_tells_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt={"threads": b"6"}))
    assert server_threads() == 6
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt={}))
    assert server_threads() == 1


def test_mod_wsgi_tells_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mod_wsgi", SimpleNamespace(threads_per_process=15))
    assert server_threads() == 15


@pytest.mark.parametrize(
    ("threads", "waiters"),
    [(None, UNKNOWN_THREADS_WAITERS), (1, ASYNC_WAITERS), (2, 1), (4, 3), (8, 7), (16, 14), (30, 27), (100, 88)],
)
def test_an_eighth_of_the_threads_stays_free_for_others(threads: int | None, waiters: int) -> None:
    assert waiters_for_threads(threads) == waiters


def test_the_limit_follows_from_the_pool_that_serves(clock: ManualClock) -> None:
    room = WaitingRoom(None, clock)
    room.door_seconds = 0

    def ask() -> list[bool]:
        with ExitStack() as stack:
            return queue(stack, room, 9)

    with ThreadPoolExecutor(8) as pool:
        assert pool.submit(ask).result().count(True) == 7


# -- turns -------------------------------------------------------------------------------------------------------


def enter(stack: ExitStack, room: WaitingRoom) -> Stay:
    return stack.enter_context(room.stay(10))


def test_the_first_who_asks_has_the_turn(clock: ManualClock, stays: ExitStack) -> None:
    room = WaitingRoom(5, clock)
    first, second = enter(stays, room), enter(stays, room)
    assert first.take_turn(KEY) == TAKEN
    assert first.take_turn(KEY) == TAKEN
    assert second.take_turn(KEY) == ASKING


def test_the_others_are_told_when_the_first_has_to_queue(clock: ManualClock, stays: ExitStack) -> None:
    room = WaitingRoom(5, clock)
    first, second = enter(stays, room), enter(stays, room)
    first.take_turn(KEY)
    first.may_pause(True)
    assert second.take_turn(KEY) == QUEUING


def test_a_turn_ends_when_its_holder_leaves(clock: ManualClock, stays: ExitStack) -> None:
    room = WaitingRoom(5, clock)
    second = enter(stays, room)
    with room.stay(10) as first:
        first.take_turn(KEY)
        assert second.take_turn(KEY) == ASKING
    assert second.take_turn(KEY) == TAKEN


def test_every_limit_has_a_turn_of_its_own(clock: ManualClock, stays: ExitStack) -> None:
    room = WaitingRoom(5, clock)
    assert enter(stays, room).take_turn(KEY) == TAKEN
    assert enter(stays, room).take_turn(OTHER_KEY) == TAKEN


def test_of_many_threads_one_has_the_turn(clock: ManualClock) -> None:
    room = WaitingRoom(5, clock)
    everybody_asked = threading.Barrier(32)

    def ask() -> str:
        with room.stay(10) as stay:
            answer = stay.take_turn(KEY)
            everybody_asked.wait(timeout=30)
            return answer

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: ask(), range(32)))
    assert sorted(answers) == [ASKING] * 31 + [TAKEN]
