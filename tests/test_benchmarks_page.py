"""The page that the comparison with the peers writes: from a given result, with none of the peers installed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.peers.report import render
from benchmarks.peers.results import SCENARIOS, Counts, Interval, Login, Outage, Result, Row, Setup

SETUP = Setup(
    date="2026-11-23",
    command='make bench-peers ARGS="--quick"',
    machine="A processor, 2 cores, Linux",
    load="0.1",
    versions="Python 3.11.7, Django 5.2",
    pairs=10,
    attackers=500,
    guesses=100,
    patience=8.0,
    timeout=0.25,
)
FINE, ERROR, NOTHING = Login(302, 0.0123), Login(500, 5.04), Login(None, 8.0)


def row(title: str, added: float | None, checks: tuple[int, ...], later: Login) -> Row:
    """A candidate that adds as much to every request, and leaves as many bytes."""
    cost = added or 0
    return Row(
        title,
        added={} if added is None else {name: Interval(added, added - 9.6, added + 10) for name in SCENARIOS},
        status=dict.fromkeys(SCENARIOS, "200"),
        counts=dict.fromkeys(SCENARIOS, Counts(cost / 100, cost / 50, 1)),
        store_bytes=cost,
        checks_in_turn=5,
        checks_at_once=checks,
        outages={"hung": Outage(FINE, (FINE, later, FINE))},
    )


BARE = row("bare Django", None, (100, 100), FINE)
PEER = row("a peer", 250, (60, 58, 71), NOTHING)
SECGUARD = row("secguard", 1500, (5, 5), ERROR)


def result(*rows: Row) -> Result:
    noise = dict.fromkeys(SCENARIOS, Interval(-0.3, -2, 1))
    return Result(SETUP, dict.fromkeys(SCENARIOS, 1234.5), noise, list(rows))


@pytest.fixture
def page() -> str:
    return render(result(BARE, PEER, SECGUARD))


def cells(page: str, name: str) -> list[str]:
    (line,) = (line for line in page.splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_a_column_is_a_candidate(page: str) -> None:
    assert cells(page, "measured") == ["bare Django", "a peer", "secguard"]


def test_a_time_is_what_is_added_with_its_interval(page: str) -> None:
    assert cells(page, "a page: µs") == ["1,234", "+250 (+240 to +260)", "+1,500 (+1,490 to +1,510)"]


def test_trips_commands_and_statements_stand_together(page: str) -> None:
    assert cells(page, "a right login: trips (commands), SQL") == ["0, 1", "2.5 (5), 1", "15 (30), 1"]


def test_password_checks_are_a_range_where_they_differ(page: str) -> None:
    assert cells(page, "passwords checked of 100 at once") == ["100", "58–71", "5"]


def test_an_outage_tells_the_first_login_and_the_slowest_later_one(page: str) -> None:
    assert cells(page, "store hung: first login; later") == [
        "302 in 12 ms; 302 in 12 ms",
        "302 in 12 ms; none in 8 s",
        "302 in 12 ms; 500 in 5.0 s",
    ]


def test_the_page_says_where_and_how_it_was_measured(page: str) -> None:
    told = " ".join(page.split())
    for fact in (SETUP.date, SETUP.command, SETUP.machine, SETUP.versions, f"over {SETUP.pairs} chunks"):
        assert fact in told


def test_the_page_admits_where_secguard_costs_more(page: str) -> None:
    _, _, admitted = " ".join(page.split()).partition("## Where secguard costs more")
    assert "**Time** of a right login: +1,500 µs; a peer +250." in admitted
    assert "**Work of the store** for a page: 30 commands; a peer 5." in admitted
    assert "**Memory of the store**, an attacker: 1,500 bytes; a peer 250." in admitted


def test_the_page_admits_checks_beyond_the_limit_and_why_they_were() -> None:
    overrun = replace(SECGUARD, checks_at_once=(5, 12), away_at_once=3)
    admitted = " ".join(render(result(BARE, PEER, overrun)).split())
    assert "**Parallel guesses**: up to 12 checks, where 5 are the limit." in admitted
    assert "within `STORE_TIMEOUT` (3 in all)" in admitted


def test_the_page_admits_nothing_that_is_not_so() -> None:
    cheap = replace(PEER, title="secguard", checks_at_once=(5, 5))
    assert render(result(BARE, SECGUARD, cheap)).endswith("\n- Nowhere, in this run.\n")


def test_a_difference_within_the_intervals_is_none() -> None:
    similar = row("secguard", 255, (5,), FINE)
    assert "**Time**" not in render(result(BARE, PEER, similar))


def test_prose_is_no_wider_than_that_of_the_other_pages(page: str) -> None:
    assert all(len(line) <= 120 for line in page.splitlines() if not line.startswith("|"))
