"""Lift the blocks of an address or a network, close its threats and count it from nought.

Exit codes: 0 lifted, 1 wrong input, 3 there was no such block.
"""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from secguard import records
from secguard.management.verbs.block import operator
from secguard.network import parse_network

NOTHING_LIFTED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", help="exactly as it was blocked: an address, or a network in CIDR notation")
    parser.add_argument("--reason", default="", help="why, for the record")
    parser.add_argument("--keep-counters", action="store_true", help="leave its counters and threats as they are")


def handle(command: BaseCommand, *, network: str, reason: str, keep_counters: bool, **_: Any) -> int:
    try:
        canonical = records.canonical_network(network)
    except ValueError as error:
        raise CommandError(str(error)) from None
    lifted = records.unblock_network(network, reason=reason, by=operator(), keep_counters=keep_counters)
    blocks = "1 block" if lifted == 1 else f"{lifted} blocks"
    command.stdout.write(f"Lifted {blocks} of {canonical}." if lifted else f"{canonical} was not blocked.")
    for other in _covering(canonical):
        command.stdout.write(command.style.WARNING(f"It is still inside the blocked network {other}."))
    return 0 if lifted else NOTHING_LIFTED


def _covering(canonical: str) -> list[str]:
    wanted = parse_network(canonical)
    networks = {row.network for row in records.active_blocks()}
    return sorted(
        name
        for name in networks
        if (network := parse_network(name)).version == wanted.version and wanted.subnet_of(network)  # type: ignore[arg-type]
    )
