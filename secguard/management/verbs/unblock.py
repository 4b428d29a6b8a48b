"""Lift the blocks of an address or a network, or the locks of an account, and count it from nought.

Its threats are closed too, or the next event would decide the same again.

Exit codes: 0 lifted, 1 wrong input, 3 there was nothing to lift.
"""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand

from secguard import records
from secguard.management.arguments import add_subject, network_or_account, operator
from secguard.management.console import cell, number_of, write_json
from secguard.records.locks import unlock_account
from secguard.records.summary import blocks_around, lists_with

NOTHING_LIFTED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser, "exactly as it was blocked: an address, or a network in CIDR notation")
    parser.add_argument("--reason", default="", help="why, for the record")
    parser.add_argument("--keep-counters", action="store_true", help="leave its counters and threats as they are")


def handle(command: BaseCommand, **options: Any) -> int:
    subject = network_or_account(options["network"], options["account"])
    given = {"reason": options["reason"], "by": operator(), "keep_counters": options["keep_counters"]}
    if subject.account:
        lifted = unlock_account(subject.account, **given)
        facts: dict[str, Any] = {"account": subject.account, "lifted": lifted}
        text = f"Lifted {number_of(lifted, 'lock')} of {cell(subject.account)}."
        lines = [text if lifted else f"{cell(subject.account)} was not locked."]
    else:
        lists = lists_with(subject.network)
        lifted = records.unblock_network(subject.network, **given)
        covering = blocks_around(subject.parsed)
        facts = {"network": subject.network, "lifted": lifted, "still_inside": covering, "on_lists": lists}
        text = f"Lifted {number_of(lifted, 'block')} of {subject.network}."
        lines = [text if lifted else f"{subject.network} was not blocked."]
        lines += [f"It is still inside the blocked network {each}." for each in covering]
        lines += [f"It is on the list {each}, whose next import blocks it again: 'allow' lasts." for each in lists]
    if options["json"]:
        write_json(command, facts)
    else:
        for number, line in enumerate(lines):
            command.stdout.write(command.style.WARNING(line) if number else line)
    return 0 if lifted else NOTHING_LIFTED
