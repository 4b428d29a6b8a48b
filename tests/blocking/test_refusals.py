"""A flood of refusals is one line a minute and subject."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from secguard.blocking import refusals
from secguard.blocking.refusals import INTERVAL, MAX_LINES_PER_SECOND, RefusalLog
from secguard.testing import ManualClock

HOST, OTHER = "203.0.113.7", "203.0.113.8"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def log(clock: ManualClock) -> RefusalLog:
    return RefusalLog(clock=clock)


def due(log: RefusalLog, number: int = 1, subject: str = HOST, kind: str = "blocked") -> list[int]:
    return [log.note(kind, subject)[1] for _ in range(number)]


def rest(found: list[tuple[refusals.Episode, int]]) -> dict[str, int]:
    return {episode.subject: count for episode, count in found}


def test_the_first_refusal_is_a_line_and_the_next_are_none(log: RefusalLog) -> None:
    assert due(log, 5) == [1, 0, 0, 0, 0]


def test_a_minute_later_one_line_stands_for_all_since(log: RefusalLog, clock: ManualClock) -> None:
    due(log, 100)
    clock.advance(INTERVAL - 0.1)
    assert due(log) == [0]
    clock.advance(0.1)
    assert due(log, 3) == [101, 0, 0]


def test_no_refusal_is_lost_or_counted_twice(log: RefusalLog, clock: ManualClock) -> None:
    told = 0
    for _ in range(1_000):
        told += sum(due(log, 7))
        clock.advance(1)
    told += sum(count for _, count in log.all_unreported())
    assert told == 7_000


def test_every_subject_has_lines_of_its_own(log: RefusalLog) -> None:
    assert due(log) + due(log, subject=OTHER) + due(log) == [1, 1, 0]


def test_every_kind_of_refusal_has_lines_of_its_own(log: RefusalLog) -> None:
    assert due(log, kind="blocked") + due(log, kind="attempt") == [1, 1]


def test_all_lines_of_an_episode_carry_one_reference(log: RefusalLog, clock: ManualClock) -> None:
    first, _ = log.note("blocked", HOST)
    clock.advance(INTERVAL)
    second, count = log.note("blocked", HOST)
    assert (second.reference, count) == (first.reference, 1)
    assert second.total == 2
    other, _ = log.note("blocked", OTHER)
    assert other.reference != first.reference


def test_a_flood_that_came_to_rest_is_told_once(log: RefusalLog, clock: ManualClock) -> None:
    due(log, 50)
    clock.advance(INTERVAL)
    assert log.overdue() == []
    clock.advance(INTERVAL)
    assert rest(log.overdue()) == {HOST: 49}
    assert log.overdue() == []


def test_an_episode_without_anything_left_to_tell_ends_in_silence(log: RefusalLog, clock: ManualClock) -> None:
    first, _ = log.note("blocked", HOST)
    clock.advance(2 * INTERVAL)
    assert log.overdue() == []
    second, count = log.note("blocked", HOST)
    assert count == 1
    assert second.reference != first.reference


def test_a_flood_that_goes_on_is_not_ended(log: RefusalLog, clock: ManualClock) -> None:
    first, _ = log.note("blocked", HOST)
    for _ in range(300):
        clock.advance(1)
        episode, _ = log.note("blocked", HOST)
        log.overdue()
    assert episode.reference == first.reference
    assert episode.total == 301


def test_at_the_end_of_the_process_everything_is_told(log: RefusalLog) -> None:
    due(log, 10)
    due(log, 3, OTHER)
    due(log, 1, "203.0.113.9")
    assert rest(log.all_unreported()) == {HOST: 9, OTHER: 2}
    assert log.all_unreported() == []


def test_an_attack_from_everywhere_does_not_get_a_line_for_each_address(log: RefusalLog, clock: ManualClock) -> None:
    told = sum(due(log, 1, f"10.0.{n >> 8}.{n & 255}")[0] for n in range(1_000))
    assert told == MAX_LINES_PER_SECOND
    clock.advance(1)
    assert due(log, 1, "192.0.2.1") == [1]
    clock.advance(INTERVAL)
    assert due(log, 1, "10.0.3.200") == [2]  # the first is told with the second


def test_an_attacker_with_many_addresses_fills_no_memory(
    log: RefusalLog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "_MAX_EPISODES", 100)
    for n in range(350):
        due(log, 2, f"10.0.{n >> 8}.{n & 255}")
        clock.advance(0.1)
    assert log.overdue() == []
    crowd = log.crowds()["blocked"]
    assert (crowd.subjects, crowd.refusals) == (250, 250)
    assert log.crowds() == {}
    left = rest(log.all_unreported())
    assert len(left) == 100
    assert "10.0.0.0" not in left  # the oldest go first


def test_a_crowd_has_a_line_for_each_kind_and_none_for_each_lock(
    log: RefusalLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "_MAX_EPISODES", 1)
    for n in range(50):
        due(log, 3, f"10.0.0.{n}", kind=f"locked:{n}")
        due(log, 3, f"10.0.0.{n}", kind="blocked")
    assert {kind: (crowd.subjects, crowd.refusals) for kind, crowd in log.crowds().items()} == {
        "locked": (50, 100),
        "blocked": (49, 98),
    }


class TestSeveralLinesASubject:
    def test_the_first_are_lines_of_their_own(self, log: RefusalLog) -> None:
        assert [log.note("repeated", HOST, 3)[1] for _ in range(5)] == [1, 1, 1, 0, 0]

    def test_a_minute_later_the_first_line_stands_for_the_rest(self, log: RefusalLog, clock: ManualClock) -> None:
        for _ in range(10):
            log.note("repeated", HOST, 3)
        clock.advance(INTERVAL)
        assert [log.note("repeated", HOST, 3)[1] for _ in range(4)] == [8, 1, 1, 0]

    def test_all_of_them_together_are_bounded_in_a_second(self, log: RefusalLog, clock: ManualClock) -> None:
        told = [log.note("repeated", f"10.0.{n >> 8}.{n & 255}", 20)[1] for n in range(1_000) for _ in range(3)]
        assert sum(told) == MAX_LINES_PER_SECOND
        clock.advance(2 * INTERVAL)
        named = rest(log.overdue())
        assert len(named) == MAX_LINES_PER_SECOND
        crowd = log.crowds()["repeated"]
        assert (crowd.subjects, crowd.refusals) == (967 - 100, 3_000 - MAX_LINES_PER_SECOND - sum(named.values()))

    def test_lines_that_stand_for_many_are_bounded_too(self, log: RefusalLog, clock: ManualClock) -> None:
        subjects = [f"10.0.{n >> 8}.{n & 255}" for n in range(1_000)]
        told = sum(log.note("blocked", subject)[1] for subject in subjects for _ in range(2))
        clock.advance(INTERVAL)
        lines = [due for due in (log.note("blocked", subject)[1] for subject in subjects) if due]
        assert len(lines) == MAX_LINES_PER_SECOND
        clock.advance(2 * INTERVAL)
        left = sum(rest(log.overdue()).values()) + log.crowds()["blocked"].refusals
        assert told + sum(lines) + left == 3_000


def test_threads_lose_no_refusal(log: RefusalLog) -> None:
    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(lambda n: log.note("blocked", HOST)[1], range(5_000)))
    assert sum(told) + rest(log.all_unreported())[HOST] == 5_000
    assert told.count(1) == 1
