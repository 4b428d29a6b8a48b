"""Renders a result as a page of the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.peers.reading import reading, weaknesses
from benchmarks.peers.results import SCENARIOS, Login, Result, Row, Setup
from benchmarks.peers.wording import bullet, interval, short

Cell = Callable[[Row], str]


def render(result: Result) -> str:
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "secguard beside its peers, on the same site and in the same run. The benchmark writes this page itself:",
            "",
            "```sh",
            result.setup.command,
            "```",
            "",
            *map(bullet, _conditions(result.setup)),
            "",
            *_table(result),
            "",
            "## How to read it",
            "",
            *map(bullet, reading(result)),
            "",
            "## Where secguard costs more",
            "",
            *map(bullet, weaknesses(result)),
            "",
        ]
    )


def _conditions(setup: Setup) -> Iterator[str]:
    yield f"**Date:** {setup.date}"
    yield f"**Machine:** {setup.machine}, load average {setup.load} at the start"
    yield f"**Versions:** {setup.versions}"
    yield (
        "**Site:** a page and Django's login; accounts and sessions in a SQLite file (WAL, connections kept), MD5 as"
        " the hasher, django-redis as the cache, Valkey on loopback. Everybody limits an address to 5 failures in"
        " 15 minutes; all else is as the packages come."
    )


def _table(result: Result) -> Iterator[str]:
    titles = [row.title for row in result.rows]
    yield _line("measured", titles)
    yield _line("---", ["---:" for _ in titles])
    for name, cell in _measures(result):
        yield _line(name, [cell(row) for row in result.rows])


def _line(name: str, cells: list[str]) -> str:
    return f"| {' | '.join([name, *cells])} |"


def _measures(result: Result) -> Iterator[tuple[str, Cell]]:
    for scenario, called in SCENARIOS.items():
        yield f"{called}: µs", partial(_time, result, scenario)
    yield f"the status of {SCENARIOS['refused']}", lambda row: row.status["refused"]
    for scenario, called in SCENARIOS.items():
        yield f"{called}: trips (commands), SQL", partial(_counted, scenario)
    yield "bytes in the store, an attacker", lambda row: _number(row.store_bytes)
    yield "bytes in the database, an attacker", lambda row: _number(row.database_bytes)
    yield "passwords checked of 20 guesses in turn", lambda row: f"{row.checks_in_turn}"
    yield f"passwords checked of {result.setup.guesses} at once", lambda row: _range(row.checks_at_once)
    for case in result.rows[0].outages:
        yield f"store {case}: first login; later", partial(_outage, case, result.setup.patience)


def _time(result: Result, scenario: str, row: Row) -> str:
    """Bare Django's time, or what somebody adds to it."""
    if scenario not in row.added:
        return f"{result.floor[scenario]:,.0f}"
    return interval(row.added[scenario])


def _counted(scenario: str, row: Row) -> str:
    counts = row.counts[scenario]
    commands = f" ({short(counts.commands)})" if counts.commands else ""
    return f"{short(counts.trips)}{commands}, {short(counts.sql)}"


def _number(number: float) -> str:
    """Less than a byte is the server's own coming and going."""
    return f"{number:,.0f}" if number >= 1 else "0"


def _range(numbers: tuple[int, ...]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low}–{high}"


def _outage(case: str, patience: float, row: Row) -> str:
    outage = row.outages[case]
    slowest = max(outage.later, key=lambda login: login.seconds)
    return f"{_login(outage.first, patience)}; {_login(slowest, patience)}"


def _login(login: Login, patience: float) -> str:
    if login.status is None:
        return f"none in {patience:g} s"
    seconds = login.seconds
    return f"{login.status} in {f'{seconds:.1f} s' if seconds >= 1 else f'{seconds * 1000:.0f} ms'}"
