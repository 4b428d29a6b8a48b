"""Delete what is old: decisions that ended, events and counts.

What the setting OFFENCE_MEMORY still needs is kept, however old. It can be stopped and run again, and may run while
the site is served: rows are deleted a few hundred at a time. Events that are linked (AUDIT_CHAIN) are checked before
they are deleted; from a broken link on all are kept, for whoever looks into it, unless --broken says otherwise.

Exit codes: 0 done, 1 wrong input, 6 the chain is broken.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from secguard.conf import get_settings
from secguard.management.arguments import whole
from secguard.management.console import Progress, number_of, write_json
from secguard.records.pruning import prune

BROKEN = 6
_MOST_DAYS = 36_500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=whole, help="that is so many days old (default: the setting RETENTION_DAYS)")
    parser.add_argument("--broken", action="store_true", help="delete events behind a broken link, too")


def handle(command: BaseCommand, **options: Any) -> int:
    days = options["days"] or get_settings().retention_days
    if days > _MOST_DAYS:
        raise CommandError(f"--days {days} is before anything was decided: give at most {_MOST_DAYS}.")
    with Progress("rows deleted") as progress:
        done = prune(days, broken_too=options["broken"], progress=progress)
    if options["json"]:
        broken = None if done.broken is None else asdict(done.broken)
        write_json(command, {"days": days, "deleted": done.deleted, "broken": broken})
    else:
        _say(command, days, done.deleted)
        if done.broken is not None:
            command.stdout.write(
                command.style.ERROR(
                    f"The chain is broken at place {done.broken.sequence}: {done.broken.what}. "
                    "The events from there on were kept; 'secguard verify' says more."
                )
            )
    return 0 if done.broken is None else BROKEN


def _say(command: BaseCommand, days: int, deleted: dict[str, int]) -> None:
    parts = (
        number_of(deleted["blocks"], "block"),
        number_of(deleted["locks"], "lock"),
        number_of(deleted["allowed"], "allowed network"),
    )
    command.stdout.write(f"Deleted {', '.join(parts)} that ended more than {days} days ago.")
    events, counts = number_of(deleted["events"], "event"), number_of(deleted["counts"], "count")
    command.stdout.write(f"Deleted {events} and {counts} from before that.")
