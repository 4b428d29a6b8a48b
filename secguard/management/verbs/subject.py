"""Show or export all that is held of a person: an account, or an address.

With --json, or into a file with --output: everything, row by row, as JSON; otherwise how much there is. An event says
who asked for it, not of whom.

Exit codes: 0 shown, 1 wrong input, 4 the store is away: its counters are missing.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from secguard.management.arguments import anybody, operator
from secguard.management.console import number_of, plain_value, write_facts
from secguard.records.disclosure import NOT_COVERED, Disclosure, disclose_account, disclose_network

STORE_AWAY = 4
_NAMES = {
    "blocks": "block",
    "allowed": "allowed network",
    "locks": "lock",
    "failure_counts": "count of failures in a row",
    "events": "event",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", nargs="?", help="an address or network, or else an account's name")
    parser.add_argument("--account", metavar="NAME", help="an account whose name looks like an address")
    parser.add_argument("--output", metavar="FILE", help="write it there, readable for yourself alone")


def handle(command: BaseCommand, **options: Any) -> int:
    subject = anybody(options["subject"], options["account"])
    output = options["output"]
    if output and os.path.lexists(output):
        raise CommandError(f"{output} is there already: give another --output, or remove it.")
    if subject.network:
        found = disclose_network(subject.network, by=operator())
    else:
        found = disclose_account(subject.account, by=operator())
    if output:
        _write_file(Path(output), found)
        command.stdout.write(f"Wrote what is held of {found.subject.name} to {output}.")
    elif options["json"]:
        for part in as_json(found):
            command.stdout.write(part, ending="")
        command.stdout.write("")
    if output or not options["json"]:
        _say(command, found)
    return 0 if found.counters_known else STORE_AWAY


def _say(command: BaseCommand, found: Disclosure) -> None:
    facts: dict[str, Any] = {found.subject.kind: found.subject.name}
    for at, digest in enumerate(found.subject.digests):
        facts["digest" if not at else f"digest {at + 1}"] = digest
    facts |= {"user id": found.subject.user_id} if found.subject.user_id else {}
    facts |= {
        name.replace("_", " "): number_of(count, _NAMES[name], _MANY.get(name, ""))
        for name, count in found.counts.items()
    }
    facts["counters"] = number_of(len(found.counters), "counter") + (
        "" if found.counters_known else ": the store is away"
    )
    write_facts(command, facts)
    command.stdout.write("Not covered:")
    for text in NOT_COVERED:
        command.stdout.write(f"  {text}")


_MANY = {"failure_counts": "counts of failures in a row"}


def as_json(found: Disclosure) -> Iterator[str]:
    """One JSON object, a row at a time: however much there is, it is never in memory altogether."""
    head = {
        "subject": found.subject.name,
        "kind": found.subject.kind,
        "digests": list(found.subject.digests),
        "user_id": found.subject.user_id,
        "exported_at": datetime.now(timezone.utc),
        "counters_known": found.counters_known,
        "not_covered": list(NOT_COVERED),
    }
    yield "{\n" + ",\n".join(f"  {_dumps(name)}: {_dumps(value)}" for name, value in head.items())
    for name, rows in found.sections():
        yield f",\n  {_dumps(name)}: ["
        separator = "\n    "
        for row in rows:
            yield separator + _dumps(row)
            separator = ",\n    "
        yield "\n  ]" if separator[0] == "," else "]"
    yield "\n}"


def _dumps(value: object) -> str:
    return json.dumps(value, default=plain_value)


def _write_file(path: Path, found: Disclosure) -> None:
    try:
        # Exclusively: nobody else's file, and nobody else may read it.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.writelines(as_json(found))
            file.write("\n")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror or error}.") from None
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise
