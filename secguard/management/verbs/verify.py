"""Check the chain of events (AUDIT_CHAIN), and name the first place where it is broken.

Prints the head, as SEQUENCE:HASH. Keep it where whoever writes to the database cannot write, and give it back another
time with --expect: then not even somebody with the key can have set the record back.

Exit codes: 0 all links hold, 1 wrong input, 3 there is no chain, 6 the chain is broken.
"""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand

from secguard.conf import get_settings
from secguard.management.console import Progress, number_of, write_json
from secguard.records.verification import Place, Verification, verify

NO_CHAIN, BROKEN = 3, 6
_PLACE = re.compile(r"(\d{1,18}):([0-9a-f]{64})")


def place(text: str) -> Place:
    """A head, as this verb prints it."""
    found = _PLACE.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r:.100} is no head: give SEQUENCE:HASH, as 'verify' printed it")
    return Place(int(found[1]), found[2])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--expect", type=place, metavar="SEQ:HASH", help="a head that was printed before")


def handle(command: BaseCommand, **options: Any) -> int:
    began = time.monotonic()
    with Progress("rows checked") as progress:
        found = verify(expect=options["expect"], progress=progress)
    seconds = time.monotonic() - began
    if options["json"]:
        write_json(command, {**asdict(found), "chained_now": get_settings().audit_chain, "seconds": round(seconds, 3)})
    else:
        _say(command, found)
    if found.broken is not None:
        return BROKEN
    return 0 if found.head else NO_CHAIN


def _say(command: BaseCommand, found: Verification) -> None:
    write = command.stdout.write
    if found.broken is not None:
        row = f", event {found.broken.event_id}" if found.broken.event_id else ""
        write(command.style.ERROR(f"The chain is broken at place {found.broken.sequence}{row}: {found.broken.what}."))
        write(f"The links of {number_of(found.checked, 'row')} before it hold.")
    elif found.head:
        write(f"All links hold: {number_of(found.checked, 'row')}, {found.erased} of them erased.")
    else:
        write("There is no chain.")
    if found.anchor:
        write(f"What came up to place {found.anchor} has been pruned.")
    if found.outside:
        newer = f", {found.outside_since} of them from since it began" if found.outside_since else ""
        write(f"Outside of the chain: {number_of(found.outside, 'row')}{newer}.")
    if not get_settings().audit_chain:
        write("SECGUARD['AUDIT_CHAIN'] is off: what is written now is outside of the chain.")
    if found.expected:
        said = {"found": "The head that was expected is there.", "pruned": "The head that was expected is pruned."}
        write(said[found.expected])
    if found.head:
        write(f"Head: {found.head}")
