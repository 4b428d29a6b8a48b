"""A replay's report, as people read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.management.base import BaseCommand

from secguard.management.console import cell, duration, number_of, write_table

Facts = Mapping[str, Any]


def write_report(command: BaseCommand, facts: Facts, limit: int) -> None:
    """``limit``: rows shown of each table."""
    write = command.stdout.write
    write(_summary(facts))
    for line in _remarks(facts):
        write(line)
    _skipped(command, facts, limit)
    _title(command, "Rules")
    write_table(command, [_rule_row(rule) for rule in facts["rules"] if rule["told"]], _RULE_COLUMNS)
    _rows(command, "Threats", [_threat_row(each) for each in facts["threats"]], _THREAT_COLUMNS, limit)
    blocks = [_block_row(each) for each in (*facts["blocks"], *facts["locks"])]
    _rows(command, "Would have been blocked", blocks, _BLOCK_COLUMNS, limit)
    for network, count in facts["proposed_networks"].items():
        write(f"Of {network} an operator would have been told: {count} of its addresses would have been blocked.")
    _cost(command, facts, limit)
    if "compared" in facts:
        _compare(command, facts)
    for sweep in facts.get("sweeps", ()):
        _sweep(command, sweep)


def _summary(facts: Facts) -> str:
    if not facts["events"]:
        return f"{number_of(facts['lines'], 'line')} read, and no attempts found."
    return (
        f"{number_of(facts['events'], 'attempt')} from {_time(facts['first_at'])} to {_time(facts['last_at'])}: "
        f"{facts['failures']:,} failed, {facts['successes']:,} succeeded."
    )


def _remarks(facts: Facts) -> list[str]:
    found = []
    if facts["ignored"]:
        found.append(f"{number_of(facts['ignored'], 'line')} told of no attempt.")
    if facts["late"]:
        late = number_of(facts["late"], "attempt")
        found.append(f"{late} stood too far behind later ones to be put in order, and counted at their time.")
    untold = [rule["name"] for rule in facts["rules"] if not rule["told"]]
    if untold:
        found.append(f"What these rules count, no log of attempts tells: {', '.join(untold)}.")
    return found


def _skipped(command: BaseCommand, facts: Facts, limit: int) -> None:
    if not facts["skipped"]:
        return
    lines = facts.get("skipped_lines")
    hint = ": --show-skipped" if lines is None else ":"
    command.stdout.write(command.style.WARNING(f"Skipped {number_of(facts['skipped'], 'line')}{hint}"))
    for skipped in lines or ():
        where = f"{cell(skipped['source'])}:{skipped['line']}"
        command.stdout.write(f"  {where}: {cell(skipped['text'])}: {cell(skipped['why'], 200)}")
    if lines is not None and len(lines) < facts["skipped"]:
        command.stdout.write(f"  and {facts['skipped'] - len(lines):,} more")


_RULE_COLUMNS = ("rule", "threshold", "within", "action", "threats", "subjects", "first", "longest", "peak")


def _rule_row(rule: Facts) -> dict[str, Any]:
    return {
        "rule": rule["name"],
        "threshold": rule["threshold"],
        "within": duration(rule["window"]),
        "action": rule["action"],
        "threats": rule["threats"],
        "subjects": rule["subjects"],
        "first": _time(rule["first_at"]),
        "longest": duration(rule["longest_seconds"]) if rule["threats"] else None,
        "peak": rule["peak"] or None,
    }


_THREAT_COLUMNS = ("rule", "subject", "opened", "lasted", "peak")


def _threat_row(threat: Facts) -> dict[str, Any]:
    return {
        "rule": threat["rule"],
        "subject": threat["subject"],
        "opened": _time(threat["opened_at"]),
        "lasted": duration(threat["duration_seconds"]),
        "peak": threat["peak"],
    }


_BLOCK_COLUMNS = ("whom", "rule", "since", "until", "offence", "failures_refused", "successes_refused")


def _block_row(block: Facts) -> dict[str, Any]:
    return {
        "whom": block.get("network") or block.get("account"),
        "rule": block["rule"],
        "since": _time(block["since"]),
        "until": _time(block["until"]),
        "offence": block["offence"],
        "failures_refused": block["refused_failures"],
        "successes_refused": block["refused_successes"],
    }


def _cost(command: BaseCommand, facts: Facts, limit: int) -> None:
    refused = facts["refused"]
    command.stdout.write("")
    command.stdout.write(
        f"Refused would have been {number_of(refused['failures'], 'failed attempt')} and "
        f"{number_of(refused['successes'], 'successful login')}."
    )
    if facts["refused_successes"]:
        rows = [
            {"when": _time(each["ts"]), "address": each["ip"], "account": each["username"], "rule": each["rule"]}
            for each in facts["refused_successes"]
        ]
        title = "Successful logins that would have been refused"
        _rows(command, title, rows, ("when", "address", "account", "rule"), limit, refused["successes"])


_COMPARED = ("these_rules", "compared_with")


def _compare(command: BaseCommand, facts: Facts) -> None:
    _title(command, "Compared")
    other = facts["compared"]
    mine, theirs = ({rule["name"]: rule for rule in each["rules"]} for each in (facts, other))
    rows: list[dict[str, Any]] = [
        {
            "": f"threats of {name}",
            "these_rules": _found(mine.get(name)),
            "compared_with": _found(theirs.get(name)),
        }
        for name in {**mine, **theirs}
        if _found(mine.get(name)) != _found(theirs.get(name)) or mine.get(name, {}).get("threats")
    ]
    for name, count in _COUNTED.items():
        rows.append({"": name, "these_rules": count(facts), "compared_with": count(other)})
    write_table(command, rows, ("", *_COMPARED))


_COUNTED: dict[str, Callable[[Facts], int]] = {
    "blocks": lambda facts: len(facts["blocks"]),
    "locks": lambda facts: len(facts["locks"]),
    "failed attempts refused": lambda facts: facts["refused"]["failures"],
    "successful logins refused": lambda facts: facts["refused"]["successes"],
}


def _found(rule: Facts | None) -> str:
    return "off" if rule is None else f"{rule['threats']:,} at {rule['threshold']} in {duration(rule['window'])}"


_SWEEP_COLUMNS = ("threshold", "threats", "subjects", "blocks", "failures_refused", "successes_refused", "note")


def _sweep(command: BaseCommand, sweep: Facts) -> None:
    _title(command, f"Thresholds of {sweep['rule']}, as if it were the only rule")
    rows = [
        {
            **step,
            "failures_refused": step["refused_failures"],
            "successes_refused": step["refused_successes"],
            "note": _note(step, sweep["suggested"]),
        }
        for step in sweep["steps"]
    ]
    write_table(command, rows, _SWEEP_COLUMNS)


def _note(step: Facts, suggested: int | None) -> str:
    notes = ["in force"] if step["is_now"] else []
    if step["threshold"] == suggested:
        notes.append("the lowest that refuses no successful login")
    return ", ".join(notes)


def _rows(
    command: BaseCommand,
    title: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    limit: int,
    total: int | None = None,
) -> None:
    _title(command, title)
    if not rows:
        command.stdout.write("none")
        return
    write_table(command, rows[:limit], columns)
    left = (len(rows) if total is None else total) - limit
    if left > 0:
        command.stdout.write(f"and {left:,} more: --limit")


def _title(command: BaseCommand, title: str) -> None:
    command.stdout.write("")
    command.stdout.write(command.style.MIGRATE_HEADING(title))


def _time(text: str | None) -> str | None:
    return None if text is None else text.replace("T", " ")
