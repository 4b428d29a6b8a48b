"""Erase what is stored of a person: an account, or an address.

Counters are dropped. Blocks, locks and allowed networks that ended are deleted; those in force hold on, and lose the
account's name and the reasons. Events lose whatever identifies anybody in them: address, names, path, user agent,
message and further details; their time, type, rule, count and country stay. The counts of both together (rules over
pairs) cannot be found: they end with their windows, within a week. What stands in the log is not reached.

Exit codes: 0 erased, 1 wrong input or not confirmed, 4 the store is away: its counters were not reached.
"""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand

from secguard.management.arguments import anybody, operator
from secguard.management.console import Progress, cell, confirm, number_of, write_json
from secguard.pipeline import get_store
from secguard.records.erasure import forget_account, forget_network

STORE_AWAY = 4
_SAID = {
    "blocks_deleted": ("block", "deleted"),
    "blocks_blanked": ("block", "left in force without a reason"),
    "allowed_deleted": ("allowed network", "deleted"),
    "allowed_blanked": ("allowed network", "left in force without a reason"),
    "locks_deleted": ("lock", "deleted"),
    "locks_blanked": ("lock", "left in force without the name"),
    "failure_counts_deleted": ("count of failures", "deleted"),
    "events_blanked": ("event", "left without what identifies anybody"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", nargs="?", help="an address or network, or else an account's name")
    parser.add_argument("--account", metavar="NAME", help="an account whose name looks like an address")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def handle(command: BaseCommand, **options: Any) -> int:
    subject = anybody(options["subject"], options["account"])
    whom = subject.network or f"the account {cell(subject.account)}"
    if not options["yes"]:
        confirm(f"What is stored of {whom} will be erased.", otherwise="Nothing was erased.")
    with Progress("events erased") as progress:
        if subject.network:
            done = forget_network(subject.network, by=operator(), progress=progress)
        else:
            done = forget_account(subject.account, by=operator(), progress=progress)
    degraded = get_store().degraded
    if options["json"]:
        write_json(command, {**done, "counters_reached": not degraded})
    else:
        command.stdout.write(f"Erased what was stored of {whom}.")
        for name, number in done.items():
            one, what = _SAID[name]
            command.stdout.write(f"  {number_of(number, one, _MANY.get(one, ''))} {what}")
        if degraded:
            command.stdout.write(command.style.WARNING("The store is away: its counters were not reached."))
    return STORE_AWAY if degraded else 0


_MANY = {"count of failures": "counts of failures"}
