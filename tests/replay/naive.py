"""What rules mean, as plainly as it can be written down: a list of everything, looked through again each time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from secguard.detection import Rule
from secguard.replay.attempts import Attempt


@dataclass
class Opened:
    rule: str
    subject: str
    opened_at: int
    closes_at: int
    peak: int


def subject_of(rule: Rule, attempt: Attempt) -> str:
    _, _, client, account, _ = attempt
    return client.subject if rule.subject == "address" else account or ""


def value_of(rule: Rule, attempt: Attempt) -> object:
    _, _, client, account, _ = attempt
    return client.subject if rule.distinct == "address" else account


def threats(rules: Sequence[Rule], attempts: Iterable[Attempt]) -> list[Opened]:
    """For rules over failed logins whose number alone opens a threat. ``attempts``: in order."""
    found: list[Opened] = []
    failures: list[Attempt] = []
    for attempt in attempts:
        at, failed, client, account, _ = attempt
        if not failed:
            # A success forgets the failures of this account from this address.
            pair = (client.subject, account)
            failures = [each for each in failures if not all(pair) or (each[2].subject, each[3]) != pair]
            continue
        failures.append(attempt)
        for rule in rules:
            subject, window = subject_of(rule, attempt), rule.window_ms * 1_000
            if not subject:
                continue
            inside = [each for each in failures if at - window < each[0] and subject_of(rule, each) == subject]
            if rule.distinct is None:
                count = len(inside)
            else:
                count = len({value_of(rule, each) for each in inside} - {None, ""})
            if count < rule.threshold:
                continue
            known = [each for each in found if (each.rule, each.subject) == (rule.name, subject)]
            if known and known[-1].closes_at > at:
                known[-1].closes_at, known[-1].peak = at + window, max(known[-1].peak, count)
            else:
                found.append(Opened(rule.name, subject, at, at + window, count))
    return found
