"""What the verbs take: whom they are about, durations, and who gives the command."""

from __future__ import annotations

import argparse
import getpass
import os
import re
from datetime import datetime, timezone
from ipaddress import ip_network
from typing import NamedTuple

from django.core.management.base import CommandError

from secguard import records
from secguard.detection import normalize_identifier
from secguard.network import Network, parse_address, parse_network

#: No longer than this: a date beyond it is a mistake.
MAX_DURATION = 100 * 365 * 86_400
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
#: What is more likely a network with a mistake in it than anybody's name.
_MISSPELT_NETWORK = re.compile(r"[0-9*]+(\.[0-9*]+)+|[^@]*:[^@]*:[^@]*|[0-9A-Fa-f.]*[0-9.][0-9A-Fa-f.]*/.*")


def seconds(text: str) -> float:
    """``90``, ``30m``, ``12h`` or ``7d``, as argparse wants it."""
    unit = _UNITS.get(text[-1:].lower())
    try:
        value = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= MAX_DURATION:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration: give seconds, or 30m, 12h, 7d")
    return value


def moment(text: str) -> datetime:
    """A date or time in ISO 8601; UTC, if it does not say."""
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give 2026-12-31 or 2026-12-31T18:00+01:00") from None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def whole(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdigit() or not 1 <= int(text) <= 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


class Subject(NamedTuple):
    """Whom a verb is about: one of the two is set. ``network`` is in its one spelling, ``account`` as typed."""

    network: str
    account: str

    @property
    def parsed(self) -> Network:
        return parse_network(self.network)


def add_subject(parser: argparse.ArgumentParser, help: str = "an address, or a network in CIDR notation") -> None:
    """The arguments that ``network_or_account`` reads."""
    parser.add_argument("network", nargs="?", help=help)
    parser.add_argument("--account", metavar="NAME", help="instead of a network: an account, by user name or e-mail")


def network_or_account(network: str | None, account: str | None) -> Subject:
    """Exactly one of both. Raises CommandError for anything else, and for what is neither."""
    if (network is None) == (account is None):
        raise CommandError("Give an address or a network, or --account NAME: one of both.")
    if network is None:
        return Subject("", existing_name(account or ""))
    try:
        return Subject(records.canonical_network(network), "")
    except ValueError as error:
        raise CommandError(str(error)) from None


def anybody(subject: str | None, account: str | None) -> Subject:
    """An address, a network or, if it is neither, an account."""
    if subject is not None and account is None:
        try:
            return Subject(records.canonical_network(subject), "")
        except ValueError as error:
            if _MISSPELT_NETWORK.fullmatch(subject.strip()):
                raise CommandError(f"{error}. If it is the name of an account: --account.") from None
        return Subject("", existing_name(subject))
    return network_or_account(subject, account)


def existing_name(account: str) -> str:
    if normalize_identifier(account) is None:
        raise CommandError(f"{account!r} is no account: give a user name or an e-mail address.")
    return account


def own_address() -> str:
    """Where the operator sits, as far as the shell knows (sshd sets SSH_CLIENT)."""
    return (os.environ.get("SSH_CLIENT") or "").partition(" ")[0]


def includes_operator(network: str) -> bool:
    """Would the operator shut himself out?"""
    address = parse_address(own_address())
    return address is not None and address in ip_network(network)


def operator() -> str:
    """Who gave the command, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"
