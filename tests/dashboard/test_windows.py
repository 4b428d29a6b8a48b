from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from django.utils import timezone as django_timezone

from secguard.dashboard.windows import WINDOWS, window_named
from tests.dashboard.conftest import NOW


@pytest.mark.parametrize(("name", "parts"), [("1h", 60), ("24h", 96), ("7d", 168), ("30d", 30)])
def test_a_window_has_its_parts_and_ends_with_the_one_that_goes_on(name: str, parts: int) -> None:
    frame = WINDOWS[name].at(NOW)
    assert len(frame.starts) == parts
    assert frame.starts[-1] <= NOW < frame.end
    assert frame.part_of(NOW) == parts - 1
    assert frame.part_of(frame.start) == 0


def test_a_quarter_of_an_hour_begins_when_the_clock_says_so() -> None:
    assert WINDOWS["24h"].at(NOW).starts[-1] == datetime(2026, 3, 14, 15, 0, tzinfo=timezone.utc)


def test_days_begin_at_the_midnights_of_the_readers_zone() -> None:
    with django_timezone.override("America/New_York"):
        frame = WINDOWS["30d"].at(NOW)
    assert frame.starts[-1] == datetime(2026, 3, 14, 4, 0, tzinfo=timezone.utc)
    # The clocks went forward on the eighth: it had 23 hours.
    lengths = {end.astimezone(timezone.utc) - start.astimezone(timezone.utc) for start, end in frame.spans()}
    assert lengths == {timedelta(hours=23), timedelta(hours=24)}


@pytest.mark.parametrize("asked", [None, "", "2h", "24h'--", "x" * 10_000])
def test_whatever_else_is_asked_for_is_a_day(asked: str | None) -> None:
    assert window_named(asked).name == "24h"


def test_without_time_zones_the_frame_is_naive_as_the_rows_are(settings: object) -> None:
    settings.USE_TZ = False  # type: ignore[attr-defined]
    now = datetime(2026, 3, 14, 15, 9, 26)
    for window in WINDOWS.values():
        frame = window.at(now)
        assert frame.starts[-1] <= now < frame.end
        assert all(start.tzinfo is None for start in frame.starts)
