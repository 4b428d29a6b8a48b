"""Block an address or a network.

Exit codes: 0 blocked, 1 wrong input or not confirmed.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from ipaddress import ip_network
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from secguard import records
from secguard.network import parse_address, parse_network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("network", help="an address, or a network in CIDR notation")
    parser.add_argument("--duration", type=_seconds, help="seconds, or 30m, 12h, 7d (default: for good)")
    parser.add_argument("--reason", default="", help="why, for the record")
    parser.add_argument("--yes", action="store_true", help="do not ask, even if it is your own address")


def handle(command: BaseCommand, *, network: str, duration: float | None, reason: str, yes: bool, **_: Any) -> int:
    try:
        canonical = records.canonical_network(network)
    except ValueError as error:
        raise CommandError(str(error)) from None
    own = own_address()
    address = parse_address(own)
    if address is not None and not yes and address in ip_network(canonical):
        _confirm(canonical, own)
    request = records.block_network(network, duration=duration, reason=reason, by=operator())
    until = "for good" if duration is None else f"for {duration:g} s"
    command.stdout.write(f"Blocked {request.network} {until}. Reference: {request.reference}")
    if any(parse_network(canonical).overlaps(parse_network(each)) for each in allowed()):
        command.stdout.write("Part of it is in SECGUARD['ALLOWLIST'] or a trusted proxy, which is never refused.")
    return 0


def allowed() -> list[str]:
    from secguard.conf import get_settings

    settings = get_settings()
    return [*settings.allowlist, *(each for each in settings.trusted_proxies.networks if each != "unix")]


def own_address() -> str:
    """Where the operator sits, as far as the shell knows (sshd sets SSH_CLIENT)."""
    return (os.environ.get("SSH_CLIENT") or "").partition(" ")[0]


def operator() -> str:
    """Who gave the command, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


def _confirm(network: str, own: str) -> None:
    question = f"{network} includes {own}, the address you are connected from."
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Add --yes if you mean it.")
    try:
        answer = input(f"{question} Block it? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("Not blocked.")


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _seconds(text: str) -> float:
    unit = _UNITS.get(text[-1:].lower())
    try:
        seconds = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 100 * 365 * 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: give seconds, or 30m, 12h, 7d")
    return seconds
