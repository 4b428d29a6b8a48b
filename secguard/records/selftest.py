"""Do the rules work on a store? Tried with counters under a random key, which are dropped afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

from secguard.detection import Detector, Observation, Rule
from secguard.detection.detector import Attempt, run
from secguard.detection.rule import SUBJECTS
from secguard.detection.store import Store

#: Events counted with one question: more would keep a server busy for longer than a login waits for it.
_AT_ONCE = 20
_NETWORK = "192.0.2.0/24"


class Trial(NamedTuple):
    """``opened_at``: the number of the event that opened the rule's threat, or None. ``seconds``: what it took."""

    rule: Rule
    opened_at: int | None
    seconds: float
    error: str = ""

    @property
    def works(self) -> bool:
        return not self.error and self.opened_at == self.rule.threshold


def try_rules(rules: Iterable[Rule], store: Store, clock: Callable[[], float] = time.perf_counter) -> list[Trial]:
    """Let the threshold's number of events happen to each rule. Never raises for what the store does."""
    found = list(rules)
    detector = Detector(found, key=os.urandom(32))
    trials = []
    for rule in found:
        begun = clock()
        try:
            opened_at, error = _try(rule, detector, store), ""
        except Exception as trouble:
            opened_at, error = None, f"{type(trouble).__name__}: {trouble}".strip(": ")
        trials.append(Trial(rule, opened_at, clock() - begun, error))
    return trials


def _try(rule: Rule, detector: Detector, store: Store) -> int | None:
    keys: set[bytes] = set()
    try:
        for first in range(1, rule.threshold + 1, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, rule.threshold + 1))
            attempts = [_attempt(rule, detector, number) for number in numbers]
            keys.update(target.key for attempt in attempts for target in attempt.targets)
            replies = iter(store.execute([op for attempt in attempts for op in detector.fail_ops(attempt)]))
            for number, attempt in zip(numbers, attempts, strict=True):
                own = [next(replies) for _ in attempt.targets]
                findings = run(detector.recorded(attempt, own), store.execute)
                if any(threat.rule.name == rule.name for threat in findings.opened):
                    return number
        return None
    finally:
        with suppress(Exception):
            for key in keys:
                run(detector.reset_record(key), store.execute)


def _attempt(rule: Rule, detector: Detector, number: int) -> Attempt:
    """The event of this number: always the same subject, each time another value of what must differ."""
    who = _somebody(rule, number)
    targets = detector.targets(rule.events[number % len(rule.events)], who)
    return Attempt(who, [target for target in targets if target.kind == rule.subject])


def _somebody(rule: Rule, number: int) -> Observation:
    subject = f"{rule.name}-subject"
    values = {name: subject for name in SUBJECTS if name != "pair"} | {"network": _NETWORK}
    fields = {rule.distinct: f"{rule.name}-{number}"} if rule.distinct else {}
    values |= fields
    return Observation(
        values["address"],
        values["network"],
        values["account"],
        values["user"],
        fields,
        device=values["device"],
        subjects={rule.subject: subject},
    )
