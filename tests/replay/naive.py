"""What rules mean, as plainly as it can be written down: a list of everything, looked through again each time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from secguard.detection import Rule
from secguard.replay.attempts import ACCOUNT, ADDRESS, AT, HAS_FAILED, Attempt


@dataclass
class Opened:
    rule: str
    subject: str
    opened_at: int
    closes_at: int
    peak: int


def subject_of(rule: Rule, attempt: Attempt) -> str | None:
    return attempt[ADDRESS if rule.subject == "address" else ACCOUNT]


def value_of(rule: Rule, attempt: Attempt) -> str | None:
    return attempt[ADDRESS if rule.distinct == "address" else ACCOUNT]


def threats(rules: Sequence[Rule], attempts: Iterable[Attempt]) -> list[Opened]:
    """For rules over failed logins whose number alone opens a threat. ``attempts``: in order."""
    found: list[Opened] = []
    failures: list[Attempt] = []
    for attempt in attempts:
        at, pair = attempt[AT], (attempt[ADDRESS], attempt[ACCOUNT])
        if not attempt[HAS_FAILED]:
            # A success forgets the failures of this account from this address.
            failures = [each for each in failures if not all(pair) or (each[ADDRESS], each[ACCOUNT]) != pair]
            continue
        failures.append(attempt)
        for rule in rules:
            subject, window = subject_of(rule, attempt), rule.window_ms * 1_000
            if not subject:
                continue
            inside = [each for each in failures if at - window < each[AT] and subject_of(rule, each) == subject]
            values = {value_of(rule, each) for each in inside} - {None}
            count = len(inside) if rule.distinct is None else len(values)
            if count < rule.threshold:
                continue
            known = [each for each in found if (each.rule, each.subject) == (rule.name, subject)]
            if known and known[-1].closes_at > at:
                known[-1].closes_at, known[-1].peak = at + window, max(known[-1].peak, count)
            else:
                found.append(Opened(rule.name, subject, at, at + window, count))
    return found
