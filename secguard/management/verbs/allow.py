"""Never refuse an address or a network, whatever the rules make of it; or take that back.

Blocks of exactly this network are lifted, those of wider ones do not reach it. Lasting entries belong in the setting
ALLOWLIST; this is for those that cannot wait for a deploy.

Exit codes: 0 allowed or taken back, 1 wrong input, 3 --remove: it was not allowed.
"""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from secguard import records
from secguard.management.arguments import operator, seconds
from secguard.management.console import duration, number_of, write_json

NOT_ALLOWED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", help="an address, or a network in CIDR notation, an IPv4 /8 or IPv6 /16 at most")
    parser.add_argument("--duration", type=seconds, help="seconds, or 30m, 12h, 7d (default: for good)")
    parser.add_argument("--reason", default="", help="why, for the record")
    parser.add_argument("--remove", action="store_true", help="take back what was allowed")


def handle(command: BaseCommand, **options: Any) -> int:
    if options["remove"] and options["duration"] is not None:
        raise CommandError("--duration does not go with --remove, which ends it now.")
    try:
        return _remove(command, options) if options["remove"] else _allow(command, options)
    except ValueError as error:
        raise CommandError(str(error)) from None


def _allow(command: BaseCommand, options: dict[str, Any]) -> int:
    lasts = options["duration"]
    done = records.allow_network(options["network"], duration=lasts, reason=options["reason"], by=operator())
    if options["json"]:
        write_json(command, {**done._asdict(), "duration": lasts})
        return 0
    until = "for good" if lasts is None else f"for {duration(lasts)}"
    command.stdout.write(f"Allowed {done.network} {until}. Reference: {done.reference}")
    if done.lifted:
        command.stdout.write(f"Lifted {number_of(done.lifted, 'block')} of it.")
    return 0


def _remove(command: BaseCommand, options: dict[str, Any]) -> int:
    network = records.canonical_network(options["network"])
    ended = records.disallow_network(network, reason=options["reason"], by=operator())
    if options["json"]:
        write_json(command, {"network": network, "ended": ended})
    else:
        command.stdout.write(f"{network} is no longer allowed." if ended else f"{network} was not allowed.")
    return 0 if ended else NOT_ALLOWED
