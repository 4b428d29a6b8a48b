"""What was measured. Plain data: who renders it needs none of the packages."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Scenario → what the report calls it.
SCENARIOS = {
    "clean": "a page",
    "failed": "a failed login from a new address",
    "repeated": "a failed login, an address's 2nd to 4th",
    "right": "a right login",
    "refused": "a login that is refused",
}


@dataclass(frozen=True)
class Interval:
    """A median, and where it lies with 95 %."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True)
class Counts:
    """Of one request, on average."""

    trips: float
    commands: float
    sql: float


@dataclass(frozen=True)
class Login:
    """One answer over HTTP: its status, or none within the client's patience."""

    status: int | None
    seconds: float


@dataclass(frozen=True)
class Outage:
    """Right logins while the store was away: the first one, and those after it."""

    first: Login
    later: tuple[Login, ...]


@dataclass
class Row:
    """All of one candidate. Keys are scenarios, or what happened to the store."""

    title: str
    added: dict[str, Interval] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)
    store_bytes: float = 0
    database_bytes: float = 0
    checks_in_turn: int = 0
    checks_at_once: tuple[int, ...] = ()
    #: How often the store was taken for away meanwhile.
    away_at_once: int = 0
    outages: dict[str, Outage] = field(default_factory=dict)


@dataclass(frozen=True)
class Setup:
    """Where and how it was measured."""

    date: str
    command: str
    machine: str
    load: str
    versions: str
    pairs: int
    attackers: int
    guesses: int
    patience: float
    timeout: float


@dataclass(frozen=True)
class Result:
    setup: Setup
    #: Median µs of bare Django, by scenario.
    floor: dict[str, float]
    #: What bare Django seems to add to itself.
    noise: dict[str, Interval]
    #: Bare Django first, secguard last.
    rows: list[Row]
