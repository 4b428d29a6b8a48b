"""Who attacks whom and from where: the latest threats, counted by address, account and country."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from math import ceil, sqrt
from typing import Any

from django.db.models import BooleanField, Case, Count, Max, Q, QuerySet, Value, When

from secguard.dashboard.countries import ENGLISH
from secguard.dashboard.links import Links
from secguard.dashboard.windows import Frame
from secguard.events import VOCABULARY, Category, EventType, Severity
from secguard.models import EventRecord
from secguard.records import database

#: So many of the latest threats are counted: a panel costs the same whatever the table holds.
MOST_ROWS = 10_000
#: Lines of a panel.
MOST_SHOWN = 10
#: Shades of the map.
LEVELS = 4
#: What operators did, and what they decided, is no attack: it is information of the same category.
_OPERATORS_ACTS = sorted(
    str(name)
    for name, spec in VOCABULARY.items()
    if (spec.category, spec.severity) == (Category.THREAT, Severity.INFO) and name != EventType.NOT_FOUND
)
#: How networks begin that are nobody's on the internet: private, link-local, loopback, for documentation.
_RESERVED = (
    *(f"172.{second}." for second in range(16, 32)),
    *("10.", "127.", "169.254.", "192.168.", "192.0.2.", "198.51.100.", "203.0.113."),
    *("fc", "fd", "fe80", "::1", "2001:db8:"),
)


@dataclass(frozen=True)
class Recent:
    """The rows that are counted: those of the frame, or the latest of them. ``since``: the first one's time."""

    frame: Frame
    since: datetime
    bounded: bool

    def rows(self) -> QuerySet[EventRecord]:
        return _threats(self.since)


def recent_in(frame: Frame) -> Recent:
    """One query, of the index alone. Raises the database's errors."""
    times = _threats(frame.start).order_by("-timestamp").values_list("timestamp", flat=True)
    beyond = list(times[MOST_ROWS : MOST_ROWS + 1])
    return Recent(frame, beyond[0] if beyond else frame.start, bool(beyond))


def _threats(since: datetime) -> QuerySet[EventRecord]:
    rows = EventRecord.objects.using(database()).filter(category=Category.THREAT.value, timestamp__gte=since)
    return rows.exclude(event_type__in=_OPERATORS_ACTS).order_by()


@dataclass(frozen=True)
class Attacker:
    """So many threats had something in common, the last one at ``last``. ``level``: 1 to LEVELS, for a shade."""

    key: str
    name: str
    count: int
    last: datetime
    url: str = ""
    events_url: str = ""
    level: int = 0


def addresses(recent: Recent, links: Links) -> list[Attacker]:
    """One query. Raises the database's errors."""
    found = _largest(recent.rows().exclude(network="").values_list("network"))
    return [
        Attacker(network, network, count, last, links.address(network), _events(recent, links, network=network))
        for network, count, last in found
    ]


def accounts(recent: Recent, links: Links) -> list[Attacker]:
    """One query. Raises the database's errors."""
    rows = recent.rows().exclude(account_digest="")
    found = _largest(rows.values_list("account_digest").annotate(name=Max("account")))
    return [
        Attacker(
            digest,
            name or digest[:8],
            count,
            last,
            links.account(digest),
            _events(recent, links, account_digest=digest),
        )
        for digest, name, count, last in found
    ]


def _largest(rows: Any) -> Iterable[Any]:
    return list(rows.annotate(number=Count("pk"), last=Max("timestamp")).order_by("-number", "-last")[:MOST_SHOWN])


def _events(recent: Recent, links: Links, **filters: str) -> str:
    return links.events({"category__exact": Category.THREAT.value, **filters}, recent.since)


@dataclass(frozen=True)
class Origins:
    """``countries``: all of them, by their share. The rest have none: ``reserved`` networks, and ``unknown`` ones."""

    countries: list[Attacker]
    reserved: int
    unknown: int
    without_url: str

    @property
    def shown(self) -> list[Attacker]:
        return self.countries[:MOST_SHOWN]

    @property
    def others(self) -> int:
        """Threats from the countries that have no line of their own."""
        return sum(country.count for country in self.countries[MOST_SHOWN:])

    @property
    def is_empty(self) -> bool:
        return not (self.countries or self.reserved or self.unknown)


def origins(recent: Recent, links: Links) -> Origins:
    """One query, of a line for each country. Raises the database's errors."""
    nobodys = Q()
    for beginning in _RESERVED:
        nobodys |= Q(network__startswith=beginning)
    is_reserved = Case(When(Q(country="") & nobodys, then=True), default=Value(False), output_field=BooleanField())
    rows = recent.rows().exclude(network="").annotate(reserved=is_reserved).values_list("country", "reserved")
    found = list(rows.annotate(number=Count("pk"), last=Max("timestamp")).order_by("-number", "country"))
    most = max((count for country, _, count, _ in found if country), default=0)
    return Origins(
        [
            Attacker(
                code,
                ENGLISH.get(code, code),
                count,
                last,
                events_url=_events(recent, links, country=code),
                level=ceil(LEVELS * sqrt(count / most)),
            )
            for code, _, count, last in found
            if code
        ],
        sum(count for code, reserved, count, _ in found if not code and reserved),
        sum(count for code, reserved, count, _ in found if not code and not reserved),
        _events(recent, links, country=""),
    )
