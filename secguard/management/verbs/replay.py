"""Run old attempts through the rules, on their own clock: what would have been found, blocked and refused.

FILE is a log (plain, gz, bz2 or xz), - the standard input, db:axes the tables of django-axes, db:events secguard's own
events. Formats: secguard's own JSON lines, other JSON lines and CSV with the fields ts, ip, username and outcome
(failure or success), sshd, and the combined log of nginx and Apache. Several are taken in the order of their times.
Nothing live is touched: no counter, no block, no row.

Exit codes: 0 replayed, 1 wrong input, or a file that cannot be read.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError
from django.shortcuts import resolve_url

from secguard.conf import get_settings
from secguard.context import get_resolver
from secguard.detection import DEFAULT_RULES, Rule
from secguard.exceptions import InvalidRule
from secguard.logging import get_event_logger
from secguard.management.arguments import whole
from secguard.management.console import Progress, write_json
from secguard.management.replay_tables import write_report
from secguard.replay import Simulation, run, run_in_two
from secguard.replay.attempts import Attempt, People
from secguard.replay.beside import BesideError, is_worth_it
from secguard.replay.changes import changed
from secguard.replay.ordering import merged
from secguard.replay.readers import ALIASES, FORMATS, Notes, Reading, Times, UnreadableError, Watch, attempts_of
from secguard.replay.readers.reading import FAILURE_STATUSES, FIELDS
from secguard.replay.report import comparison_facts, facts_of, sweep_facts
from secguard.replay.sweep import Sweep

DEFAULTS, IN_FORCE = "defaults", "in force"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help="a log, - for the standard input, db:axes, db:events")
    parser.add_argument("--format", choices=("auto", *FORMATS, *ALIASES), default="auto", help="default: look at it")
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="FIELD=NAME",
        help="what ts, ip, username or outcome is called in JSON or CSV: ts=time, ip=client.address",
    )
    parser.add_argument(
        "--login-path", action="append", metavar="PATH", help="access logs: a POST to it is an attempt (LOGIN_URL)"
    )
    parser.add_argument(
        "--failure-status", type=_statuses, metavar="STATUS,…", help="access logs: answers to a wrong password"
    )
    parser.add_argument("--year", type=whole, help="syslog: of the first line (default: by the file's date)")
    parser.add_argument("--timezone", type=_zone, help="of times that do not say theirs (default: UTC)")
    parser.add_argument(
        "--rule", action="append", default=[], metavar="NAME.FIELD=VALUE", help="another rule: brute_force.threshold=3"
    )
    parser.add_argument(
        "--compare",
        nargs="*",
        metavar="NAME.FIELD=VALUE",
        help="with the rules in force, with these changes to them, or with secguard's own: defaults",
    )
    parser.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="RULE[=N,N-N]",
        help="what other thresholds of this rule would have done",
    )
    parser.add_argument("--show-skipped", action="store_true", help="show the lines that could not be read")
    parser.add_argument("--limit", type=whole, default=20, help="rows shown of each table (default: 20)")


def handle(command: BaseCommand, **options: Any) -> int:
    files, comparison = _sorted_out(options["files"], options["compare"])
    if not files:
        raise CommandError("Give a FILE, - for the standard input, or db:axes or db:events.")
    settings, notes = get_settings(), Notes()
    in_force = get_event_logger().effective_rules()
    rules = _changed(in_force, options["rule"], "--rule")
    simulation = Simulation(rules, settings)
    other = None if comparison is None else Simulation(_others(in_force, comparison), settings)
    try:
        sweeps = [Sweep(wanted, rules, settings) for wanted in options["sweep"]]
    except InvalidRule as error:
        raise CommandError(f"--sweep: {error}") from None
    swept = [each for sweep in sweeps for each in sweep.simulations]
    everything = [simulation, *([] if other is None else [other]), *swept]
    try:
        with Progress("lines read") as progress:
            _replay(files, options, notes, everything, progress)
    except (UnreadableError, BesideError) as error:
        raise CommandError(str(error)) from None
    facts = facts_of(simulation, notes)
    if other is not None:
        facts["compared"] = comparison_facts(other)
    if sweeps:
        facts["sweeps"] = sweep_facts(sweeps)
    if options["show_skipped"]:
        facts["skipped_lines"] = [skipped._asdict() for skipped in notes.skipped]
    if options["json"]:
        write_json(command, facts)
    else:
        write_report(command, facts, options["limit"])
    return 0


def _replay(
    files: list[str],
    options: dict[str, Any],
    notes: Notes,
    simulations: list[Simulation],
    progress: Watch,
) -> None:
    format_ = ALIASES.get(options["format"], options["format"])

    def read(notes: Notes, watch: Watch) -> Iterator[list[Attempt]]:
        reading = _reading(options, notes)
        return merged([attempts_of(name, reading, format_, watch) for name in files])

    if is_worth_it(files):
        run_in_two(lambda: read(notes, progress), lambda: read(Notes(), lambda lines, share: None), simulations)
    else:
        run(read(notes, progress), simulations)


def _reading(options: dict[str, Any], notes: Notes) -> Reading:
    paths = options["login_path"] or [resolve_url(django_settings.LOGIN_URL)]
    times = Times() if options["timezone"] is None else Times(options["timezone"])
    return Reading(
        People(get_resolver()),
        times,
        notes,
        _names(options["map"]),
        options["year"],
        frozenset(path.partition("?")[0].rstrip("/") or "/" for path in paths),
        options["failure_status"] or FAILURE_STATUSES,
    )


def _sorted_out(files: list[str], comparison: list[str] | None) -> tuple[list[str], list[str] | None]:
    """A file that stands behind --compare is no rule."""
    if comparison is None:
        return files, None
    rules = [each for each in comparison if "=" in each or each == DEFAULTS]
    return [*files, *(each for each in comparison if each not in rules)], rules


def _changed(rules: tuple[Rule, ...], changes: list[str], option: str) -> tuple[Rule, ...]:
    try:
        return changed(rules, changes)
    except InvalidRule as error:
        raise CommandError(f"{option}: {error}") from None


def _others(in_force: tuple[Rule, ...], comparison: list[str]) -> tuple[Rule, ...]:
    base = DEFAULT_RULES if DEFAULTS in comparison else in_force
    return _changed(base, [each for each in comparison if each != DEFAULTS], "--compare")


def _names(given: list[str]) -> dict[str, str]:
    """Our field → the log's. Either side may be ours: ``time=ts`` is as clear as ``ts=time``."""
    names = {name: name for name in FIELDS}
    for pair in (part for each in given for part in each.split(",")):
        ours, equals, theirs = (part.strip() for part in pair.partition("="))
        if ours not in FIELDS and theirs in FIELDS:
            ours, theirs = theirs, ours
        if not equals or ours not in FIELDS or not theirs:
            raise CommandError(f"--map {pair!r}: write FIELD=NAME, with one of {', '.join(FIELDS)} for FIELD.")
        names[ours] = theirs
    return names


def _statuses(text: str) -> frozenset[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and len(part) == 3 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of statuses: give 401,403")
    return frozenset(map(int, parts))


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise argparse.ArgumentTypeError(f"{text!r} is no time zone: give one such as Europe/Berlin") from None
