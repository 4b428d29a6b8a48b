"""Measures everything and writes docs/benchmarks.md, or prints it. Nothing here passes or fails."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.peers import machine
from benchmarks.peers.candidates import AGAIN, BARE, CANDIDATES, Candidate
from benchmarks.peers.counting import count
from benchmarks.peers.guessing import GUESSES, checks_at_once, checks_in_turn, times_away
from benchmarks.peers.outage import CASES, PATIENCE, TIMEOUT, measure_outages
from benchmarks.peers.places import Places
from benchmarks.peers.report import render
from benchmarks.peers.results import Result, Row, Setup
from benchmarks.peers.store import running_store
from benchmarks.peers.timing import Times, measure_times

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Effort:
    generations: int
    rounds: int
    attackers: int
    bursts: int
    later_logins: int


FULL = Effort(generations=3, rounds=15, attackers=2_000, bursts=3, later_logins=3)
QUICK = Effort(generations=1, rounds=10, attackers=500, bursts=1, later_logins=1)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: minutes, and wider intervals")
    parser.add_argument("--print", action="store_true", dest="shown", help="print the page and write nothing")
    options = parser.parse_args(arguments)
    command = "make bench-peers" + (f' ARGS="{" ".join(arguments)}"' if arguments else "")
    page = render(measure(QUICK if options.quick else FULL, command))
    if options.shown:
        print(page, end="")
    else:
        PAGE.write_text(page, encoding="utf-8")
        _say(f"Wrote {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}.")


def measure(effort: Effort, command: str) -> Result:
    load = machine.load()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_store(folder / "store") as store:
            places = Places(folder, store)
            for candidate in (*CANDIDATES, AGAIN):
                _say(f"Preparing {candidate.title}.")
                places.prepare(candidate)
            _say("Times.")
            times = measure_times(places, effort.generations, effort.rounds)
            rows = {candidate.key: _measure_one(places, candidate, times, effort) for candidate in CANDIDATES}
            for number, case in enumerate(CASES):
                _say(f"The store is {case}.")
                for key, outage in measure_outages(
                    folder / f"store-{number}", places, case, effort.later_logins
                ).items():
                    rows[key].outages[case] = outage
            setup = _setup(effort, command, load, store.described)
    return Result(setup, times.floor, times.intervals(AGAIN.key), list(rows.values()))


def _measure_one(places: Places, candidate: Candidate, times: Times, effort: Effort) -> Row:
    _say(f"Counting: {candidate.title}.")
    counts, store_bytes, database_bytes = count(places, candidate, effort.attackers)
    in_turn, before = checks_in_turn(places, candidate), times_away(places, candidate)
    at_once = tuple(checks_at_once(places, candidate) for _ in range(effort.bursts))
    return Row(
        candidate.title,
        added={} if candidate == BARE else times.intervals(candidate.key),
        status=times.answers(candidate.key),
        counts=counts,
        store_bytes=store_bytes,
        database_bytes=database_bytes,
        checks_in_turn=in_turn,
        checks_at_once=at_once,
        away_at_once=times_away(places, candidate) - before,
    )


def _setup(effort: Effort, command: str, load: str, store: str) -> Setup:
    return Setup(
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        command=command,
        machine=machine.machine(),
        load=load,
        versions=machine.versions(store),
        pairs=effort.generations * effort.rounds,
        attackers=effort.attackers,
        guesses=GUESSES,
        patience=PATIENCE,
        timeout=TIMEOUT,
    )


def _say(text: str) -> None:
    print(f"{datetime.now(timezone.utc):%H:%M:%S} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
