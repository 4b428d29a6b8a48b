"""Logins and refusals over time, from the counts: whole, whatever has a row."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Sum

from secguard.dashboard.links import Links
from secguard.dashboard.windows import Frame
from secguard.events import EventType
from secguard.models import EventCount
from secguard.records import database

#: What the chart shows, in the order of its lines.
SHOWN: dict[str, str] = {
    "failed": EventType.LOGIN_FAILED.value,
    "succeeded": EventType.LOGIN_SUCCESS.value,
    "refused": EventType.ATTEMPT_REFUSED.value,
    "blocked": EventType.REQUEST_BLOCKED.value,
}


@dataclass(frozen=True)
class Trends:
    """``numbers``: for each line of the chart how many in each part of the frame."""

    frame: Frame
    numbers: dict[str, list[int]]

    def total(self, line: str) -> int:
        return sum(self.numbers[line])

    @property
    def is_empty(self) -> bool:
        return not any(map(self.total, self.numbers))

    def rows(self, links: Links) -> list[dict[str, object]]:
        """The chart as a table, the latest part first; parts in which nothing happened are left out."""
        found = []
        for at, (start, end) in enumerate(self.frame.spans()):
            cells = [
                (counts[at], links.events({"event_type__exact": SHOWN[line]}, start, end) if counts[at] else "")
                for line, counts in self.numbers.items()
            ]
            if any(count for count, _ in cells):
                found.append({"start": start, "url": links.events({}, start, end), "cells": cells})
        return found[::-1]


def trends_in(frame: Frame) -> Trends:
    """One query. Raises the database's errors."""
    numbers = {line: [0] * len(frame.starts) for line in SHOWN}
    lines = {event_type: line for line, event_type in SHOWN.items()}
    counts = (
        EventCount.objects.using(database())
        .filter(span=frame.window.span, start__gte=frame.start, start__lt=frame.end, event_type__in=lines)
        .order_by()
        .values_list("start", "event_type")
        .annotate(Sum("count"))
    )
    for start, event_type, count in counts:
        numbers[lines[event_type]][frame.part_of(start)] += count
    return Trends(frame, numbers)
