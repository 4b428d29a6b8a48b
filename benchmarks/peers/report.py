"""Renders a result as a page of the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.peers.reading import reading
from benchmarks.peers.results import SCENARIOS, Interval, Login, Outage, Result, Row

Cell = Callable[[Row], str]


def render(result: Result) -> str:
    setup = result.setup
    return "\n".join(
        [
            "# Benchmarks",
            "",
            "Written by the benchmark itself; whoever wants other numbers runs it on another machine.",
            "",
            "```sh",
            setup.command,
            "```",
            "",
            f"- **Date:** {setup.date}",
            f"- **Machine:** {setup.machine}; load average at the start {setup.load}",
            f"- **Versions:** {setup.versions}",
            "- **Site:** one page and Django's login, sessions and accounts in a SQLite file (WAL, connections kept),",
            "  MD5 as the hasher, django-redis as the cache, Valkey on loopback. Everybody is limited to 5 failures",
            "  an address; all else is as the packages come.",
            "",
            *_table(result),
            "",
            *reading(result),
            "",
        ]
    )


def _table(result: Result) -> Iterator[str]:
    yield _line("", *(row.title for row in result.rows))
    yield _line("---", *("---:" for _ in result.rows))
    for name, cell in _measures(result):
        yield _line(name, *(cell(row) for row in result.rows))


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _measures(result: Result) -> Iterator[tuple[str, Cell]]:
    setup = result.setup
    for scenario, called in SCENARIOS.items():
        yield f"{called}: µs", lambda row, scenario=scenario: _time(result, row, scenario)
    yield "the answer then", lambda row: row.status["refused"]
    for scenario, called in SCENARIOS.items():
        yield f"{called}: trips (commands), SQL", lambda row, scenario=scenario: _counted(row, scenario)
    yield "bytes in the store, an attacker", lambda row: _number(row.store_bytes)
    yield "bytes in the database, an attacker", lambda row: _number(row.database_bytes)
    yield "passwords checked of 20 guesses in turn", lambda row: f"{row.checks_in_turn}"
    yield f"passwords checked of {setup.guesses} at once", lambda row: _range(row.checks_at_once)
    for case in result.rows[0].outages:
        yield f"store {case}: first login; later", lambda row, case=case: _outage(row.outages[case], setup.patience)


def _time(result: Result, row: Row, scenario: str) -> str:
    """Bare Django's time, or what somebody adds to it."""
    if scenario not in row.added:
        return f"{result.floor[scenario]:,.0f}"
    return added(row.added[scenario])


def added(interval: Interval) -> str:
    low, high = (_signed(end) for end in (interval.low, interval.high))
    return f"{_signed(interval.middle)} ({low} to {high})"


def _signed(number: float) -> str:
    rounded = f"{number:+,.0f}"
    return "0" if rounded in ("+0", "-0") else rounded.replace("-", "−")


def _counted(row: Row, scenario: str) -> str:
    counts = row.counts[scenario]
    trips = f"{_short(counts.trips)} ({_short(counts.commands)})" if counts.commands else _short(counts.trips)
    return f"{trips}, {_short(counts.sql)}"


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _number(number: float) -> str:
    """What is within the server's own coming and going is nothing."""
    return f"{number:,.0f}" if number >= 1 else "0"


def _range(numbers: tuple[int, ...]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low}–{high}"


def _outage(outage: Outage, patience: float) -> str:
    if not outage.later:
        return _login(outage.first, patience)
    slowest = max(outage.later, key=lambda login: login.seconds)
    return f"{_login(outage.first, patience)}; {_login(slowest, patience)}"


def _login(login: Login, patience: float) -> str:
    if login.status is None:
        return f"none in {patience:g} s"
    seconds = login.seconds
    return f"{login.status} in {f'{seconds:.1f} s' if seconds >= 1 else f'{seconds * 1000:.0f} ms'}"
