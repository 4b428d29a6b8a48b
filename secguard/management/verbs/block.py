"""Block an address or a network, or lock an account.

Exit codes: 0 blocked, 1 wrong input or not confirmed.
"""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from secguard import records
from secguard.conf import get_settings
from secguard.management.arguments import (
    Subject,
    add_subject,
    includes_operator,
    network_or_account,
    operator,
    own_address,
    seconds,
)
from secguard.management.console import cell, confirm, duration, write_json
from secguard.models import AccountLock
from secguard.network import describe_too_wide, parse_network
from secguard.records.locks import lock_account


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject(parser)
    parser.add_argument("--duration", type=seconds, help="seconds, or 30m, 12h, 7d (default: for good)")
    parser.add_argument("--reason", default="", help="why, for the record")
    parser.add_argument(
        "--scope", choices=AccountLock.Scope.values, help="of a lock: all (default), or unknown_devices alone"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask, even if it is your own address or very wide")


def handle(command: BaseCommand, **options: Any) -> int:
    subject = network_or_account(options["network"], options["account"])
    if subject.account:
        _lock(command, subject.account, options)
        return 0
    if options["scope"]:
        raise CommandError("--scope goes with --account alone.")
    if not options["yes"]:
        _ask(subject)
    # Before anything is done: with settings that are wrong nothing shall be half done.
    pardoned = [each for each in never_refused() if parse_network(each).overlaps(subject.parsed)]
    lasts = options["duration"]
    request = records.block_network(subject.network, duration=lasts, reason=options["reason"], by=operator())
    if options["json"]:
        facts = {"network": request.network, "duration": lasts, "reference": request.reference}
        write_json(command, {**facts, "never_refused": pardoned})
        return 0
    until = "for good" if lasts is None else f"for {duration(lasts)}"
    command.stdout.write(f"Blocked {request.network} {until}. Reference: {request.reference}")
    if pardoned:
        part = "It" if _covers(pardoned, subject) else "Part of it"
        command.stdout.write(f"{part} is never refused: {', '.join(pardoned)} (ALLOWLIST, proxies, allowed).")
    return 0


def _covers(networks: list[str], subject: Subject) -> bool:
    """Is all of it in one of these networks, which overlap it?"""
    return any(parse_network(each).prefixlen <= subject.parsed.prefixlen for each in networks)


def _lock(command: BaseCommand, account: str, options: dict[str, Any]) -> None:
    scope = options["scope"] or AccountLock.Scope.ALL.value
    lasts = options["duration"]
    request = lock_account(account, duration=lasts, scope=scope, reason=options["reason"], by=operator())
    if options["json"]:
        facts = {"account": request.account, "duration": lasts, "scope": scope, "reference": request.reference}
        write_json(command, facts)
        return
    until = "until it is lifted" if lasts is None else f"for {duration(lasts)}"
    whom = "" if scope == AccountLock.Scope.ALL else " for unknown devices"
    command.stdout.write(f"Locked {cell(request.account)}{whom} {until}. Reference: {request.reference}")


def never_refused() -> list[str]:
    """The networks that no block reaches: by the settings, and by what operators allowed."""
    settings = get_settings()
    proxies = (each for each in settings.trusted_proxies.networks if each != "unix")
    allowed = (row.network for row in records.active_allowed())
    return list(dict.fromkeys((*settings.allowlist, *proxies, *allowed)))


def _ask(subject: Subject) -> None:
    too_wide = describe_too_wide(subject.parsed)
    if includes_operator(subject.network):
        question = f"{subject.network} includes {own_address()}, the address you are connected from."
        confirm(question, otherwise="Not blocked.")
    elif too_wide:
        confirm(f"{subject.network} is a good part of the internet.", otherwise="Not blocked.")
