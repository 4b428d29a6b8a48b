"""Who attacks whom and from where: the latest threats, counted by address, account and country."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from math import ceil, sqrt
from operator import attrgetter
from typing import NamedTuple

from secguard.dashboard.countries import ENGLISH
from secguard.dashboard.links import Links
from secguard.dashboard.windows import Frame
from secguard.events import VOCABULARY, Category, EventType, Severity
from secguard.models import EventRecord
from secguard.records import database

#: So many of the latest threats are counted: they cost the same whatever the table holds.
MOST_ROWS = 5_000
#: Lines of a panel.
MOST_SHOWN = 10
#: Shades of the map.
LEVELS = 4
#: What operators did, and what they decided, is no attack: it is information of the same category.
_OPERATORS_ACTS = frozenset(
    str(name)
    for name, spec in VOCABULARY.items()
    if (spec.category, spec.severity) == (Category.THREAT, Severity.INFO) and name != EventType.NOT_FOUND
)
#: How networks begin that are nobody's on the internet: private, shared by a carrier's customers, link-local, loopback
#: (of IPv6 as its /64, as all are), for documentation.
_RESERVED = (
    *(f"172.{second}." for second in range(16, 32)),
    *(f"100.{second}." for second in range(64, 128)),
    *("10.", "127.", "169.254.", "192.168.", "192.0.2.", "198.51.100.", "203.0.113."),
    *("fc", "fd", "fe80", "::/", "2001:db8:"),
)


class Threat(NamedTuple):
    """What is counted of a row."""

    timestamp: datetime
    event_type: str
    network: str
    country: str
    account: str
    account_digest: str


@dataclass(frozen=True)
class Recent:
    """The rows that are counted, the latest first: those of the frame, or the latest of them, and then ``bounded``.

    ``since``: the first one's time.
    """

    frame: Frame
    threats: list[Threat]
    since: datetime
    bounded: bool


def recent_in(frame: Frame) -> Recent:
    """One query for all panels of this module. Raises the database's errors."""
    rows = (
        EventRecord.objects.using(database())
        .filter(category=Category.THREAT.value, timestamp__gte=frame.start)
        .order_by("-timestamp")
        .values_list(*Threat._fields)[: MOST_ROWS + 1]
    )
    found = [Threat(*row) for row in rows]
    since, bounded = frame.start, len(found) > MOST_ROWS
    if bounded:
        # Those of one moment are counted together or not at all: the lists behind the numbers begin at a time.
        beyond = found.pop().timestamp
        found = [threat for threat in found if threat.timestamp > beyond] or found
        since = found[-1].timestamp
    return Recent(frame, [each for each in found if each.event_type not in _OPERATORS_ACTS], since, bounded)


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
    """Those with the most threats."""
    found = _counted(threat.network for threat in recent.threats)
    last = _last(recent, attrgetter("network"))
    return [
        Attacker(
            network, network, count, last[network], links.address(network), _events(recent, links, network=network)
        )
        for network, count in found.most_common(MOST_SHOWN)
    ]


def accounts(recent: Recent, links: Links) -> list[Attacker]:
    """Those with the most threats, by their digests: of some rows the name is hidden."""
    found = _counted(threat.account_digest for threat in recent.threats)
    last = _last(recent, attrgetter("account_digest"))
    names = {threat.account_digest: threat.account for threat in recent.threats if threat.account}
    return [
        Attacker(
            digest,
            names.get(digest, digest[:8]),
            count,
            last[digest],
            links.account(digest),
            _events(recent, links, account_digest=digest),
        )
        for digest, count in found.most_common(MOST_SHOWN)
    ]


def _counted(keys: Iterable[str]) -> Counter[str]:
    """How often each came; equal ones in the order in which they were last seen."""
    return Counter(filter(None, keys))


def _last(recent: Recent, key: Callable[[Threat], str]) -> dict[str, datetime]:
    return {key(threat): threat.timestamp for threat in reversed(recent.threats)}


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
    """All countries, and how many threats had none."""
    found = _counted(threat.country for threat in recent.threats if threat.network)
    last = _last(recent, attrgetter("country"))
    nowhere = [threat.network for threat in recent.threats if threat.network and not threat.country]
    reserved = sum(network.startswith(_RESERVED) for network in nowhere)
    most = max(found.values(), default=0)
    return Origins(
        [
            Attacker(
                code,
                ENGLISH.get(code, code),
                count,
                last[code],
                events_url=_events(recent, links, country=code),
                level=ceil(LEVELS * sqrt(count / most)),
            )
            for code, count in found.most_common()
        ],
        reserved,
        len(nowhere) - reserved,
        _events(recent, links, country=""),
    )
