"""Failures of secguard's own are told, and a flood of them is not."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from secguard import failures
from secguard.failures import INTERVAL, report_failure
from secguard.testing import ManualClock

Told = Callable[[], list[str]]


@pytest.fixture
def clock() -> ManualClock:
    clock = ManualClock()
    failures.begin_anew(clock)
    return clock


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Told:
    return lambda: [record.getMessage() for record in caplog.records if record.name == "secguard"]


def fail(message: str = "the %s broke", *arguments: object, error: Exception | None = None) -> None:
    report_failure(message, *(arguments or ("pipe",)), error=error or ValueError("why"))


def test_the_same_failure_is_told_once(clock: ManualClock, told: Told) -> None:
    for _ in range(1_000):
        fail()
    assert told() == ["the pipe broke"]


def test_a_minute_later_it_is_told_again_and_how_often_it_came_meanwhile(clock: ManualClock, told: Told) -> None:
    for _ in range(10):
        fail()
    clock.advance(INTERVAL)
    fail()
    assert told() == ["the pipe broke", "the pipe broke (9 times more since it was last told)"]


def test_another_failure_is_told_at_once(clock: ManualClock, told: Told) -> None:
    fail()
    fail("the drum of the %s broke")
    fail(error=KeyError("another"))
    assert told() == ["the pipe broke", "the drum of the pipe broke", "the pipe broke"]


def test_what_it_was_about_makes_it_no_other(clock: ManualClock, told: Told) -> None:
    for number in range(1_000):
        fail("the %s broke", number)
    assert told() == ["the 0 broke"]
    assert len(failures._told._next) == 1


class Silent:
    def __repr__(self) -> str:
        raise RuntimeError("no name")


@pytest.mark.parametrize(
    ("message", "arguments"), [("%r broke", (Silent(),)), ("%s and %s broke", ("one",)), ("%d", "x")]
)
def test_a_failure_that_cannot_be_told_harms_nobody(
    message: str, arguments: tuple[object, ...], clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    raising = logging.StreamHandler()
    raising.setFormatter(logging.Formatter())
    raising.handleError = _raise  # type: ignore[method-assign]
    failures.internal_logger.addHandler(raising)
    try:
        report_failure(message, *arguments, error=ValueError("why"))
    finally:
        failures.internal_logger.removeHandler(raising)
    assert message in capsys.readouterr().err


def _raise(record: logging.LogRecord) -> None:
    raise
