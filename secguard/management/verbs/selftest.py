"""Try every rule on the store that is in use: one event less than its threshold opens nothing, the next does.

The counters are made under a key of its own and dropped afterwards: no address, account or block is touched. That a
window slides is not tried, since that would take as long as the window.

With --alerts it sends a test to everybody whom ALERTS names instead, one after the other.

Exit codes: 0 every rule opens, or every channel took the test, 1 the settings are wrong or ALERTS names nobody,
5 a rule stays silent or opens early, the store is away, or a channel did not take the test.
"""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from secguard import alerts
from secguard.conf import get_settings
from secguard.logging import get_event_logger
from secguard.management.console import duration, write_json, write_table
from secguard.pipeline import get_store
from secguard.records.selftest import Trial, try_rules

FAILED = 5
_COLUMNS = ("rule", "counts", "over", "threshold", "within", "result", "took")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--alerts", action="store_true", help="send a test alert through every channel, and nothing else"
    )


def handle(command: BaseCommand, **options: Any) -> int:
    if options["alerts"]:
        return _try_alerts(command, as_json=options["json"])
    store = get_store()
    # Not the store that stands between: it would answer for one that is away.
    trials = try_rules(get_event_logger().effective_rules(), store.primary)
    works = all(trial.works for trial in trials)
    if options["json"]:
        facts = {"store": type(store.primary).__name__, "shared": store.shared, "mode": get_settings().mode}
        write_json(command, {**facts, "works": works, "rules": [_facts(trial) for trial in trials]})
        return 0 if works else FAILED
    write_table(command, [_row(trial) for trial in trials], _COLUMNS)
    command.stdout.write("")
    command.stdout.write(f"Store: {type(store.primary).__name__}. " + ("All rules work." if works else "Not all work."))
    if not store.shared:
        command.stdout.write("Its counters are each process's own: this tried those of this process.")
    if get_settings().mode == "off":
        command.stdout.write(command.style.WARNING("MODE is off: nothing is counted in the site."))
    return 0 if works else FAILED


def _try_alerts(command: BaseCommand, *, as_json: bool) -> int:
    results = alerts.try_channels()
    if not results:
        raise CommandError("SECGUARD['ALERTS'] names nobody: set its 'mail' or 'webhooks'.")
    rows = [{"channel": name, "result": f"failed: {error}" if error else "sent"} for name, error in results]
    works = not any(error for _, error in results)
    if as_json:
        facts = [{"name": name, "works": not error, "error": error} for name, error in results]
        write_json(command, {"works": works, "channels": facts})
    else:
        write_table(command, rows, ("channel", "result"))
    return 0 if works else FAILED


def _facts(trial: Trial) -> dict[str, Any]:
    return {
        "name": trial.rule.name,
        "works": trial.works,
        "opened_at": trial.opened_at,
        "threshold": trial.rule.threshold,
        "error": trial.error,
        "seconds": round(trial.seconds, 4),
    }


def _row(trial: Trial) -> dict[str, Any]:
    rule = trial.rule
    counts = ", ".join(rule.events)
    if trial.error:
        result = f"failed: {trial.error}"
    elif trial.opened_at is None:
        result = "stays silent"
    else:
        result = f"opens at {trial.opened_at}" + ("" if trial.works else ", too early")
    return {
        "rule": rule.name,
        "counts": f"distinct {rule.distinct} of {counts}" if rule.distinct else counts,
        "over": rule.subject,
        "threshold": rule.threshold,
        "within": duration(rule.window_ms / 1000),
        "result": result,
        "took": f"{trial.seconds * 1000:.0f} ms",
    }
