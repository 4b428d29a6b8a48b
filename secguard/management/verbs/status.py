"""Say how the guard is doing: mode, store, what is in force, the rules, and the last hour.

Exit codes: 0 all is well, 1 the settings are wrong or the database is away, 4 the store is away.
"""

from __future__ import annotations

import argparse
from typing import Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand

from secguard import records
from secguard.alerts.channels import channels_of
from secguard.conf import PRESETS, get_settings
from secguard.detection import Rule
from secguard.logging import get_event_logger
from secguard.management.console import duration, number_of, write_facts, write_json, write_table
from secguard.pipeline import get_replica, get_store
from secguard.records.summary import alerts_not_delivered, counts_in_force, counts_since

STORE_AWAY = 4
_RULE_COLUMNS = ("rule", "counts", "over", "threshold", "within", "action")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing but what every verb takes."""


def handle(command: BaseCommand, **options: Any) -> int:
    facts = gather()
    if options["json"]:
        write_json(command, facts)
    else:
        _print(command, facts)
    return STORE_AWAY if facts["store"]["degraded"] else 0


def gather() -> dict[str, Any]:
    """What there is to say, as JSON has it."""
    settings, store = get_settings(), get_store()
    token = store.get_token(records.TOKEN)  # asks, so that "degraded" below is news and not memory
    records.get_synchroniser().refresh(token)
    return {
        "mode": settings.mode,
        "mode_overridden": settings.mode_overridden,
        "preset": settings.preset,
        "preset_overridden_by": sorted(PRESETS[settings.preset].keys() & getattr(django_settings, "SECGUARD", {})),
        "lockout": settings.account_lockout,
        "store": {
            "type": type(store.primary).__name__,
            "shared": store.shared,
            "exact": store.exact,
            "degraded": store.degraded,
            "fail_mode": settings.fail_mode,
            "fail_mode_paths": dict(settings.fail_mode_paths),
        },
        "replica": {"networks": len(get_replica()), "token": token},
        "in_force": counts_in_force(),
        "last_hour": counts_since(),
        "alerts": {
            "channels": [channel.name for channel in channels_of(settings.alerts)],
            "not_delivered_last_hour": alerts_not_delivered(),
        },
        "rules": [_rule(rule) for rule in get_event_logger().effective_rules()],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "events": rule.events,
        "distinct": rule.distinct,
        "subject": rule.subject,
        "threshold": rule.threshold,
        "window": rule.window,
        "action": rule.action.value,
    }


def _print(command: BaseCommand, facts: dict[str, Any]) -> None:
    store, force, hour = facts["store"], facts["in_force"], facts["last_hour"]
    blocks = {kind: force[f"blocks_by_{kind}"] for kind in ("rules", "operators", "lists")}
    overriding = facts["preset_overridden_by"]
    write_facts(
        command,
        {
            "mode": facts["mode"] + (" (overridden by the environment)" if facts["mode_overridden"] else ""),
            "preset": facts["preset"] + (f", but for {', '.join(overriding)}" if overriding else ""),
            "lockout": facts["lockout"],
            "store": ", ".join(
                (
                    store["type"],
                    "shared by all processes" if store["shared"] else "each process's own",
                    "exact" if store["exact"] else "approximate",
                )
            ),
            "store answers": f"no: FAIL_MODE is {_fail_mode(store)}" if store["degraded"] else "yes",
            "replica": f"{number_of(facts['replica']['networks'], 'network')}, version {_version(facts)}",
            "blocks in force": f"{sum(blocks.values()):,} ("
            + ", ".join(f"{kind} {number:,}" for kind, number in blocks.items())
            + ")",
            "locks in force": f"{force['locks']:,}",
            "allowed": number_of(force["allowed_networks"], "network"),
            "last hour": ", ".join(
                (number_of(hour["blocks"], "block"), number_of(hour["locks"], "lock"), f"{hour['lifts']:,} lifted")
            ),
            "alerts": _alerts(facts["alerts"]),
        },
    )
    command.stdout.write("")
    write_table(command, [_row(rule) for rule in facts["rules"]], _RULE_COLUMNS)


def _alerts(alerts: dict[str, Any]) -> str:
    if not alerts["channels"]:
        return "to nobody"
    undelivered = alerts["not_delivered_last_hour"]
    return (
        "to " + ", ".join(alerts["channels"]) + (f"; {undelivered:,} not delivered in an hour" if undelivered else "")
    )


def _fail_mode(store: dict[str, Any]) -> str:
    return ", ".join([store["fail_mode"], *(f"{mode} at {path}" for path, mode in store["fail_mode_paths"].items())])


def _version(facts: dict[str, Any]) -> str:
    return (facts["replica"]["token"] or "unknown")[:8]


def _row(rule: dict[str, Any]) -> dict[str, Any]:
    counts = ", ".join(rule["events"])
    return {
        "rule": rule["name"],
        "counts": f"distinct {rule['distinct']} of {counts}" if rule["distinct"] else counts,
        "over": rule["subject"],
        "threshold": rule["threshold"],
        "within": duration(rule["window"]),
        "action": rule["action"],
    }
