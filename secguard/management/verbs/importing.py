"""Block what a list of addresses and networks names, and no longer what only its last version named.

One entry a line: an address, CIDR or a range; or CSV whose first line names a column such as ip, network or cidr.
Comments begin with # or ;. What is on the list stays blocked until it is imported without it, removed, or ends. Lines
that cannot be read, and what is never refused anyway, are skipped and shown. It is all or nothing.

Exit codes: 0 imported or removed, 1 wrong input: nothing was changed.
"""

from __future__ import annotations

import argparse
import io
import sys
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError

from secguard.management.arguments import MAX_DURATION, moment, operator, seconds
from secguard.management.console import Progress, cell, number_of, write_json
from secguard.records.database import database, database_now
from secguard.records.lists import ImportResult, import_list, remove_list

SHOWN = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", metavar="FILE", help="- reads the standard input")
    parser.add_argument("--name", required=True, help="of the list: the next import under it replaces this one")
    ends = parser.add_mutually_exclusive_group()
    ends.add_argument("--duration", type=seconds, help="seconds, or 30m, 12h, 7d (default: until it is replaced)")
    ends.add_argument("--expires", type=moment, metavar="TIME", help="the same, as a time: 2026-12-31T18:00+01:00")
    parser.add_argument("--reason", default="", help="why, for the record")
    parser.add_argument("--remove", action="store_true", help="lift all blocks of the list instead")
    parser.add_argument("--show-skipped", action="store_true", help=f"show all lines skipped (default: {SHOWN})")


def handle(command: BaseCommand, **options: Any) -> int:
    if options["remove"] == (options["file"] is not None):
        raise CommandError("Give a FILE to import, or --remove: one of both.")
    try:
        return _remove(command, options) if options["remove"] else _import(command, options)
    except (ValueError, LookupError) as error:
        raise CommandError(str(error)) from None


def _remove(command: BaseCommand, options: dict[str, Any]) -> int:
    if options["duration"] is not None or options["expires"] is not None:
        raise CommandError("--remove ends the list now: it goes with no --duration or --expires.")
    lifted = remove_list(options["name"], operator(), options["reason"])
    if options["json"]:
        write_json(command, {"name": options["name"], "removed": lifted})
    else:
        command.stdout.write(f"Removed the list {options['name']}: lifted {number_of(lifted, 'block')}.")
    return 0


def _import(command: BaseCommand, options: dict[str, Any]) -> int:
    lasts = options["duration"] if options["expires"] is None else _seconds_until(options["expires"])
    with _opened(options["file"]) as file, Progress("lines read") as progress:
        result = import_list(
            options["name"], file, duration=lasts, reason=options["reason"], by=operator(), progress=progress
        )
    if options["json"]:
        skipped = [dict(zip(("line", "text", "why"), each, strict=True)) for each in result.skipped]
        write_json(command, {"name": options["name"], **result._asdict(), "skipped": skipped})
    else:
        _print(command, options, result)
    return 0


def _print(command: BaseCommand, options: dict[str, Any], result: ImportResult) -> None:
    command.stdout.write(
        f"Imported {options['name']}: {number_of(result.total, 'network')} in force "
        f"({result.added:,} added, {result.kept:,} kept, {result.removed:,} removed)."
    )
    if result.collapsed:
        inside = number_of(result.collapsed, "entry is", "entries are")
        command.stdout.write(f"{inside} inside another one of the list.")
    if not result.skipped_total:
        return
    command.stdout.write(command.style.WARNING(f"Skipped {number_of(result.skipped_total, 'line')}:"))
    shown = result.skipped if options["show_skipped"] else result.skipped[:SHOWN]
    for number, text, why in shown:
        command.stdout.write(f"  {number}: {cell(text)}: {cell(why, 200)}")
    left = result.skipped_total - len(shown)
    if left:
        command.stdout.write(f"  and {left:,} more" + ("" if options["show_skipped"] else ": --show-skipped"))


def _seconds_until(end: datetime) -> float:
    now = database_now(database())
    left = (end - (now if now.tzinfo else now.astimezone())).total_seconds()
    if left < 1:
        raise CommandError(f"--expires {end.isoformat()} is over.")
    if left > MAX_DURATION:
        raise CommandError(f"--expires {end.isoformat()} is too far away: leave it out, for good.")
    return left


def _opened(name: str) -> AbstractContextManager[TextIO]:
    """Raises CommandError for a file that cannot be read. What is no UTF-8 is left to be skipped by its line."""
    if name == "-":
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8", errors="replace")
        return nullcontext(sys.stdin)
    try:
        return open(name, encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}.") from None
