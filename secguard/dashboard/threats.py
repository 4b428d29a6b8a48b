"""Threats by rule: how many opened in the window, and those that cannot have ended by themselves yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Sum

from secguard.dashboard.links import Links
from secguard.dashboard.windows import Frame
from secguard.events import EventType
from secguard.logging import get_event_logger
from secguard.models import EventCount, EventRecord
from secguard.records import database

_TYPE = EventType.SUSPICIOUS_ACTIVITY.value
#: The latest threats that are looked at, and of those that are open, how many are shown.
MOST_THREATS, MOST_SHOWN = 2_000, 10
#: How exact the times of events are.
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class OpenedThreat:
    """A threat that opened less than its rule's window ago. ``count``: the events that made it."""

    opened_at: datetime
    rule: str
    network: str
    country: str
    account: str
    account_digest: str
    count: int | None


@dataclass(frozen=True)
class Threats:
    """``opened``: by rule, in the frame. ``still_open``: the latest first. ``bounded``: there may be more of them."""

    frame: Frame
    opened: dict[str, int]
    still_open: list[OpenedThreat]
    bounded: bool

    @property
    def total(self) -> int:
        return sum(self.opened.values())

    @property
    def oldest(self) -> timedelta:
        """How long ago the first of those that are open began."""
        return self.frame.now - self.still_open[-1].opened_at if self.still_open else timedelta()

    def by_rule(self, links: Links) -> list[dict[str, object]]:
        """Those with the most open threats first."""
        windows = _windows()
        counts = dict.fromkeys(self.opened, 0)
        for threat in self.still_open:
            counts[threat.rule] = counts.get(threat.rule, 0) + 1
        order = sorted(counts, key=lambda rule: (-counts[rule], -self.opened.get(rule, 0), rule))
        return [
            {
                "rule": rule,
                "open": counts[rule],
                "open_url": links.events(_of(rule), self.frame.now - windows.get(rule, timedelta())),
                "opened": self.opened.get(rule, 0),
                "opened_url": links.events(_of(rule), self.frame.start),
            }
            for rule in order
        ]

    def latest(self, links: Links) -> list[dict[str, object]]:
        return [
            {
                "threat": threat,
                "address_url": links.address(threat.network),
                "account_url": links.account(threat.account_digest),
                "url": links.events(_of(threat.rule), threat.opened_at, threat.opened_at + _MILLISECOND),
            }
            for threat in self.still_open[:MOST_SHOWN]
        ]


def threats_in(frame: Frame) -> Threats:
    """Two queries. Raises the database's errors.

    A threat stays open for its rule's window at least, unless it is reset: the rows say so without asking the store.
    """
    opened = (
        EventCount.objects.using(database())
        .filter(span=frame.window.span, start__gte=frame.start, start__lt=frame.end, event_type=_TYPE)
        .order_by()
        .values_list("rule")
        .annotate(Sum("count"))
    )
    windows = _windows()
    longest = max(windows.values(), default=timedelta())
    fields = ("timestamp", "rule", "network", "country", "account", "account_digest", "count")
    rows = (
        EventRecord.objects.using(database())
        .filter(event_type=_TYPE, timestamp__gt=frame.now - longest)
        .order_by("-timestamp")
        .values_list(*fields)[:MOST_THREATS]
    )
    found = [OpenedThreat(*row) for row in rows]
    still_open = [threat for threat in found if threat.opened_at > frame.now - windows.get(threat.rule, timedelta())]
    return Threats(frame, dict(opened), still_open, len(found) == MOST_THREATS)


def _of(rule: str) -> dict[str, str]:
    return {"event_type__exact": _TYPE, "rule": rule}


def _windows() -> dict[str, timedelta]:
    return {rule.name: timedelta(milliseconds=rule.window_ms) for rule in get_event_logger().effective_rules()}
