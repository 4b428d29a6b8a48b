"""How the guard itself is doing: what is in force, when it had to do without, and this process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from secguard import records
from secguard.conf import get_settings
from secguard.dashboard.links import Links
from secguard.dashboard.windows import Frame
from secguard.events import Category, EventType
from secguard.models import EventRecord
from secguard.pipeline import get_replica, get_store
from secguard.records.summary import counts_in_force

#: The latest of the events that say that a part was away, or back.
MOST_EVENTS = 200
#: Periods that are shown.
MOST_SHOWN = 5


@dataclass(frozen=True)
class Outage:
    """A time when a part of the guard was away. ``began`` or ``ended`` is None if its event is not there."""

    component: str
    began: datetime | None
    ended: datetime | None
    seconds: float | None
    error: str


def outages(frame: Frame) -> list[Outage]:
    """Those that began or ended in the frame, the latest first. One query. Raises the database's errors.

    Each process says so for itself; those of one component are paired in the order of their times.
    """
    types = (EventType.DEGRADED.value, EventType.RECOVERED.value)
    rows = (
        EventRecord.objects.using(records.database())
        .filter(event_type__in=types, timestamp__gte=frame.start)
        .order_by("-timestamp")
        .values_list("timestamp", "event_type", "extra")[:MOST_EVENTS]
    )
    found: list[Outage] = []
    going_on: dict[str, list[Outage]] = {}
    for moment, event_type, extra in reversed(rows):
        said: dict[str, Any] = extra if isinstance(extra, dict) else {}
        component = str(said.get("component", ""))[:64]
        if event_type == EventType.DEGRADED.value:
            begun = Outage(component, moment, None, None, str(said.get("error", ""))[:200])
            going_on.setdefault(component, []).append(begun)
            continue
        seconds = said.get("seconds")
        waiting = going_on.get(component)
        begun = waiting.pop(0) if waiting else Outage(component, None, None, None, "")
        lasted = float(seconds) if isinstance(seconds, (int, float)) else None
        found.append(Outage(component, begun.began, moment, lasted, begun.error))
    found += [outage for waiting in going_on.values() for outage in waiting]
    return sorted(found, key=lambda outage: outage.ended or frame.end, reverse=True)


def outages_url(frame: Frame, links: Links) -> str:
    return links.events({"category__exact": Category.SYSTEM.value}, frame.start)


@dataclass(frozen=True)
class InForce:
    """How many decisions hold now."""

    by_rules: int
    by_operators: int
    by_lists: int
    locks: int
    allowed: int

    @property
    def blocks(self) -> int:
        return self.by_rules + self.by_operators + self.by_lists


def in_force() -> InForce:
    """Three queries. Raises the database's errors."""
    counts = counts_in_force()
    kinds = ("blocks_by_rules", "blocks_by_operators", "blocks_by_lists", "locks", "allowed_networks")
    return InForce(*(counts[kind] for kind in kinds))


@dataclass(frozen=True)
class Health:
    """Of the process that answers. ``unread_for``: seconds since the database could last be asked for blocks."""

    mode: str
    store: str
    shared: bool
    exact: bool
    degraded: bool
    fail_mode: str
    networks: int
    loaded: bool
    unread_for: float | None


def health() -> Health:
    """No query."""
    settings, store, replica = get_settings(), get_store(), get_replica()
    return Health(
        settings.mode,
        type(store.primary).__name__,
        store.shared,
        store.exact,
        store.degraded,
        settings.fail_mode,
        len(replica),
        replica.loaded,
        records.get_synchroniser().unread_for,
    )
