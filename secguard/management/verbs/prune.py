"""Delete blocks, locks and allowed networks that ended long ago.

What the setting OFFENCE_MEMORY still needs is kept, however old. It can be stopped and run again, and may run while
the site is served: rows are deleted a few hundred at a time.

Exit codes: 0 done, 1 wrong input.
"""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from secguard.management.arguments import whole
from secguard.management.console import Progress, number_of, write_json
from secguard.records.pruning import prune

DAYS = 180
_MOST_DAYS = 36_500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=whole, default=DAYS, help=f"that ended so many days ago (default: {DAYS})")


def handle(command: BaseCommand, **options: Any) -> int:
    if options["days"] > _MOST_DAYS:
        raise CommandError(f"--days {options['days']} is before anything was decided: give at most {_MOST_DAYS}.")
    with Progress("rows deleted") as progress:
        deleted = prune(options["days"], progress=progress)
    if options["json"]:
        write_json(command, {"days": options["days"], "deleted": deleted})
        return 0
    parts = (
        number_of(deleted["blocks"], "block"),
        number_of(deleted["locks"], "lock"),
        number_of(deleted["allowed"], "allowed network"),
    )
    command.stdout.write(f"Deleted {', '.join(parts)} that ended more than {options['days']} days ago.")
    return 0
