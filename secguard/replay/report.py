"""What a replay found, as programs read it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from secguard.detection import Rule
from secguard.replay.attempts import SECOND, iso
from secguard.replay.guard import Block, Cost
from secguard.replay.plan import is_told
from secguard.replay.readers import Notes
from secguard.replay.simulation import Simulation
from secguard.replay.sweep import Sweep
from secguard.replay.windows import Threat


def facts_of(simulation: Simulation, notes: Notes) -> dict[str, Any]:
    """The whole report. Times are ISO 8601 in UTC, durations seconds."""
    counting = simulation.counting
    return {
        "events": counting.failures + counting.successes,
        "failures": counting.failures,
        "successes": counting.successes,
        "skipped": notes.skipped_total,
        "ignored": notes.ignored,
        "lines": notes.lines,
        "late": counting.late,
        "first_at": None if counting.first is None else iso(counting.first),
        "last_at": None if counting.last is None else iso(counting.last),
        **_findings(simulation),
    }


def _findings(simulation: Simulation) -> dict[str, Any]:
    verdicts = simulation.verdicts
    return {
        "threats": [threat_facts(threat) for threat in simulation.threats],
        "rules": rule_facts(simulation),
        "blocks": [_block_facts(block, "network") for block in verdicts.blocks],
        "locks": [_block_facts(lock, "account") for lock in verdicts.locks],
        "proposed_networks": verdicts.proposals,
        "blocks_suppressed": verdicts.suppressed,
        "refused": {"failures": verdicts.refused_failures, "successes": verdicts.refused_successes},
        "refused_successes": [_cost_facts(cost) for cost in verdicts.costs],
    }


def threat_facts(threat: Threat) -> dict[str, Any]:
    return {
        "rule": threat.rule.name,
        "subject": threat.subject,
        "subject_type": threat.rule.subject,
        "opened_at": iso(threat.opened_at),
        "closed_at": iso(threat.closes_at),
        "duration_seconds": (threat.closes_at - threat.opened_at) / SECOND,
        "peak": threat.peak,
    }


def rule_facts(simulation: Simulation) -> list[dict[str, Any]]:
    """Each rule, and what it found. ``told``: a log of attempts can say what it counts."""
    by_rule: dict[str, list[Threat]] = {rule.name: [] for rule in simulation.rules}
    for threat in simulation.threats:
        by_rule[threat.rule.name].append(threat)
    return [_rule_facts(rule, by_rule[rule.name]) for rule in simulation.rules]


def _rule_facts(rule: Rule, threats: list[Threat]) -> dict[str, Any]:
    return {
        "name": rule.name,
        "threshold": rule.threshold,
        "window": rule.window,
        "action": rule.action.value,
        "told": is_told(rule),
        "threats": len(threats),
        "subjects": len({threat.subject for threat in threats}),
        "first_at": iso(threats[0].opened_at) if threats else None,
        "longest_seconds": max((each.closes_at - each.opened_at for each in threats), default=0) / SECOND,
        "peak": max((each.peak for each in threats), default=0),
    }


def _block_facts(block: Block, whom: str) -> dict[str, Any]:
    return {
        whom: block.subject,
        "rule": block.rule,
        "since": iso(block.since),
        "until": iso(block.until),
        "offence": block.offence,
        "refused_failures": block.refused_failures,
        "refused_successes": block.refused_successes,
    }


def _cost_facts(cost: Cost) -> dict[str, Any]:
    return {"ts": iso(cost.at), "ip": cost.address, "username": cost.account, "rule": cost.rule}


def comparison_facts(simulation: Simulation) -> dict[str, Any]:
    """The second set of rules: what it found, without what is the same of both."""
    return _findings(simulation)


def sweep_facts(sweeps: Iterable[Sweep]) -> list[dict[str, Any]]:
    return [
        {
            "rule": sweep.rule.name,
            "threshold": sweep.rule.threshold,
            "suggested": sweep.suggested,
            "steps": [step._asdict() for step in sweep.steps],
        }
        for sweep in sweeps
    ]
