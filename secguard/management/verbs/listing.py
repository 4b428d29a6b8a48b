"""List what is in force: blocks, locks of accounts, open threats, allowed networks, or imported lists.

threats: those that led to a block or a lock and are still open, as the store says now. A threat whose rule only logs
leaves no row; 'explain' shows it, if it is asked about the right address or account.

Exit codes: 0 listed, 1 wrong input, 4 threats: the store is away.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet

from secguard.management.arguments import whole
from secguard.management.console import write_json, write_table
from secguard.models import AccountLock, AllowedNetwork, Block, Decision
from secguard.pipeline import get_store
from secguard.records.lists import lists
from secguard.records.readings import open_threats
from secguard.records.summary import in_force

STORE_AWAY = 4
D = TypeVar("D", bound=Decision)


class _Kind(NamedTuple):
    """How one kind is listed. ``find``: from the options to rows. ``filters``: the options that apply to it."""

    find: Callable[[dict[str, Any]], list[dict[str, Any]]]
    columns: Sequence[str]
    nothing: str
    filters: Sequence[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", choices=_KINDS, default="blocks", help="default: blocks")
    parser.add_argument("--rule", metavar="NAME", help="blocks, locks or threats of this rule")
    parser.add_argument("--list", metavar="NAME", help="blocks of this imported list")
    parser.add_argument("--limit", type=whole, metavar="N", help="at most so many, the newest")


def handle(command: BaseCommand, **options: Any) -> int:
    kind = _KINDS[options["kind"]]
    for name in ("rule", "list", "limit"):
        if options[name] is not None and name not in kind.filters:
            raise CommandError(f"--{name} does not go with {options['kind']!r}.")
    rows = kind.find(options)
    if options["json"]:
        write_json(command, rows)
    elif rows:
        write_table(command, rows, kind.columns)
    else:
        command.stdout.write(kind.nothing)
    return STORE_AWAY if options["kind"] == "threats" and get_store().degraded else 0


def _chosen(rows: QuerySet[D], options: Mapping[str, Any]) -> QuerySet[D]:
    if options["rule"] is not None:
        rows = rows.filter(rule=options["rule"])
    return rows[: options["limit"]]


def _blocks(options: dict[str, Any]) -> list[dict[str, Any]]:
    rows = in_force(Block)
    if options["list"] is not None:
        rows = rows.filter(list_name=options["list"])
        if not options["list"] or not rows.exists():
            raise CommandError(f"There is no list {options['list']!r} with blocks in force.")
    return [{"network": row.network, "list": row.list_name, **_decision(row)} for row in _chosen(rows, options)]


def _locks(options: dict[str, Any]) -> list[dict[str, Any]]:
    rows = _chosen(in_force(AccountLock), options)
    return [{"account": str(row), "scope": row.scope, **_decision(row)} for row in rows]


def _allowed(options: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"network": row.network, **_decision(row)} for row in in_force(AllowedNetwork)[: options["limit"]]]


def _decision(row: Decision) -> dict[str, Any]:
    return {
        "rule": row.rule,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "created_by": row.created_by,
        "reference": str(row.reference),
        "reason": row.reason,
    }


def _threats(options: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "subject": threat.subject,
            "over": threat.kind,
            "rule": threat.rule,
            "count": threat.count,
            "threshold": threat.threshold,
            "decided_at": threat.decided_at,
            "reference": threat.reference,
        }
        for threat in open_threats(options["rule"] or "")[: options["limit"]]
    ]


def _lists(options: dict[str, Any]) -> list[dict[str, Any]]:
    return [each._asdict() for each in lists()[: options["limit"]]]


_KINDS: dict[str, _Kind] = {
    "blocks": _Kind(
        _blocks,
        ("network", "rule", "list", "expires_at", "created_by", "reference"),
        "Nothing is blocked.",
        ("rule", "list", "limit"),
    ),
    "locks": _Kind(
        _locks,
        ("account", "scope", "rule", "expires_at", "created_by", "reference"),
        "No account is locked.",
        ("rule", "limit"),
    ),
    "threats": _Kind(
        _threats,
        ("subject", "over", "rule", "count", "threshold", "decided_at", "reference"),
        "No threat is known to be open.",
        ("rule", "limit"),
    ),
    "allowed": _Kind(
        _allowed,
        ("network", "expires_at", "created_by", "reason", "reference"),
        "No network is allowed by an operator.",
        ("limit",),
    ),
    "lists": _Kind(_lists, ("name", "networks", "imported_at", "by"), "No list is imported.", ("limit",)),
}
