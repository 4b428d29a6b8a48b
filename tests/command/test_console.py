"""What people and programs read: tables, durations, JSON, progress."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.core.management.base import BaseCommand

from secguard.management.console import Progress, cell, duration, number_of, write_json, write_table
from secguard.testing import ManualClock
from tests.command.running import Terminal


def printed(write: Any, *arguments: Any) -> str:
    out = io.StringIO()
    write(BaseCommand(stdout=out), *arguments)
    return out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "for good"),
        (0, "0s"),
        (0.25, "0.2s"),
        (1, "1s"),
        (59.2, "1m"),
        (61, "1m 1s"),
        (899.4, "15m"),
        (3_600, "1h"),
        (3_661, "1h 2m"),
        (43_200, "12h"),
        (86_399, "1d"),
        (86_401, "1d 1h"),
        (172_800, "2d"),
        (604_800, "7d"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units_rounded_up(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_columns_are_as_wide_as_they_must_be() -> None:
    rows = [{"one": "a", "two_words": None, "last": 1}, {"one": "日本", "two_words": True, "last": "x" * 90}]
    assert printed(write_table, rows, ("one", "two_words", "last")).splitlines() == [
        "one   two words  last",
        "a     -          1",
        "日本  yes        " + "x" * 79 + "…",
    ]


def test_times_say_that_they_are_utc_or_where_they_are() -> None:
    time = datetime(2026, 11, 23, 9, 11, 2, 325_000, tzinfo=timezone.utc)
    assert cell(time) == "2026-11-23 09:11:02Z"
    assert cell(time.astimezone(timezone(timedelta(hours=2)))) == "2026-11-23 11:11:02+02:00"
    assert cell(time.replace(tzinfo=None)) == "2026-11-23 09:11:02"


def test_numbers_have_their_nouns() -> None:
    assert [number_of(1, "block"), number_of(0, "block"), number_of(2_000, "entry", "entries")] == [
        "1 block",
        "0 blocks",
        "2,000 entries",
    ]


@dataclass
class Thing:
    name: str


def test_json_takes_whatever_a_verb_tells() -> None:
    time = datetime(2026, 11, 23, tzinfo=timezone.utc)
    assert json.loads(printed(write_json, [Thing("a"), time, timedelta(1)])) == [
        {"name": "a"},
        "2026-11-23T00:00:00+00:00",
        "1 day, 0:00:00",
    ]


def test_progress_is_told_now_and_then_and_wiped_out() -> None:
    stream, clock = Terminal(), ManualClock()
    with Progress("rows", stream, clock) as progress:
        progress(1)
        progress(2)
        clock.advance(1)
        progress(1_500)
    assert stream.getvalue() == "\rrows: 1\rrows: 1,500\r\x1b[K"


def test_progress_is_silent_where_nobody_watches() -> None:
    stream = io.StringIO()
    with Progress("rows", stream) as progress:
        progress(1)
    assert stream.getvalue() == ""
