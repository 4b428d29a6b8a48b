"""The spans of time that the dashboard shows, and the parts that they are counted in."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from django.utils import timezone as django_timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from secguard.models import EventCount
from secguard.records.database import moment_at

_DAY = 86_400


@dataclass(frozen=True)
class Window:
    """A span that ends now. ``part``: seconds of each number on the chart; ``span``: which counts it is made of."""

    name: str
    label: str | Promise
    part: int
    parts: int
    span: EventCount.Span

    def at(self, now: datetime) -> Frame:
        """The window as it is at this moment: its parts are whole, the last one goes on."""
        if self.part == _DAY:
            # Days are those of the calendar that the reader lives by: one may have 23 hours.
            today = _local(now).date()
            starts = [_midnight(now, today - timedelta(days=back)) for back in range(self.parts - 1, -1, -1)]
            return Frame(self, now, tuple(starts), _midnight(now, today + timedelta(days=1)))
        last = int(now.timestamp()) // self.part * self.part
        first = last - (self.parts - 1) * self.part
        starts = [moment_at(start) for start in range(first, last + 1, self.part)]
        return Frame(self, now, tuple(starts), moment_at(last + self.part))


@dataclass(frozen=True)
class Frame:
    """A window at a moment: ``starts`` of its parts, and the ``end`` of the last one."""

    window: Window
    now: datetime
    starts: tuple[datetime, ...]
    end: datetime

    @property
    def start(self) -> datetime:
        return self.starts[0]

    def part_of(self, moment: datetime) -> int:
        """Which part a moment of the window is in."""
        return bisect_right(self.starts, moment) - 1

    def spans(self) -> Iterable[tuple[datetime, datetime]]:
        """Start and end of each part."""
        return zip(self.starts, (*self.starts[1:], self.end), strict=True)


WINDOWS = {
    window.name: window
    for window in (
        Window("1h", _("1 hour"), 60, 60, EventCount.Span.MINUTE),
        Window("24h", _("24 hours"), 900, 96, EventCount.Span.MINUTE),
        Window("7d", _("7 days"), 3_600, 168, EventCount.Span.HOUR),
        Window("30d", _("30 days"), _DAY, 30, EventCount.Span.HOUR),
    )
}
DEFAULT = WINDOWS["24h"]


def window_named(name: str | None) -> Window:
    """The window of that name; the default one for whatever else was asked for."""
    return WINDOWS.get(name or "", DEFAULT)


def _local(moment: datetime) -> datetime:
    return django_timezone.localtime(moment) if django_timezone.is_aware(moment) else moment


def _midnight(now: datetime, day: date) -> datetime:
    zone = django_timezone.get_current_timezone() if django_timezone.is_aware(now) else None
    return datetime.combine(day, time.min, zone)
