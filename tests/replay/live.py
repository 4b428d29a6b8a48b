"""The same attempts through what the site itself runs: the detector's procedures on a MemoryStore."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from secguard.detection import Detector, Observation, Rule
from secguard.detection.detector import Findings, run
from secguard.events import EventType
from secguard.pipeline.attempts import Attempt as LiveAttempt
from secguard.replay.attempts import ACCOUNT, ADDRESS, AT, HAS_FAILED, NETWORK, Attempt
from secguard.stores.memory import MemoryStore

MILLISECOND = 1_000


@dataclass
class Opened:
    rule: str
    subject: str
    opened_at: int
    closes_at: int
    peak: int


@dataclass
class Live:
    """``refuses``: reservations are asked, and what they refuse is neither checked nor counted."""

    rules: Iterable[Rule]
    refuses: bool = False
    now: int = 0
    threats: list[Opened] = field(default_factory=list)
    refused: list[tuple[int, bool]] = field(default_factory=list)
    _open: dict[tuple[str, str], Opened] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = MemoryStore(max_subjects=100_000)
        self.detector = Detector(self.rules, key=b"live", clock=lambda: self.now / 1_000_000)

    def run(self, procedure: Any) -> Any:
        return run(procedure, lambda ops: self.store.execute(ops, self.now // MILLISECOND))

    def feed(self, attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            self.one(attempt)

    def one(self, given: Attempt) -> None:
        at, failed = given[AT], given[HAS_FAILED]
        self.now = max(self.now, at)
        who = Observation(given[ADDRESS] or "", given[NETWORK] or "", given[ACCOUNT])
        attempt = self.detector.attempt(who)
        if self.refuses:
            self.run(self.detector.reserve(attempt))
            if attempt.state == "refused":
                self.refused.append((at, failed))
                return
        else:
            attempt.findings = self.run(self.detector.read(self.asked(attempt)))
        if failed:
            self.note(self.run(self.detector.record(attempt)))
        else:
            self.passed(attempt)

    def asked(self, attempt: LiveAttempt) -> LiveAttempt:
        return LiveAttempt(attempt.observation, attempt.targets[: attempt.asked])

    def passed(self, attempt: LiveAttempt) -> None:
        under_attack = attempt.findings.open - {"success_after_attack"}
        who = attempt.observation
        ops = [*self.detector.success_ops(who), *self.detector.pass_ops(self.unread(attempt))]
        self.store.execute(ops, self.now // MILLISECOND)
        self.counted(EventType.LOGIN_SUCCESS, who)
        if under_attack:
            self.counted(EventType.SUCCESS_AFTER_ATTACK, who)

    def unread(self, attempt: LiveAttempt) -> LiveAttempt:
        """Without a reservation's reply nobody knows that there is nothing to forgive."""
        if not self.refuses:
            attempt.findings = Findings()
        return attempt

    def counted(self, event: str, who: Observation) -> None:
        if self.detector.watches(event):
            self.note(self.run(self.detector.record(LiveAttempt(who, self.detector.targets(event, who)))))

    def note(self, found: Findings) -> None:
        for threat in found.opened:
            opened = Opened(threat.rule.name, threat.subject, self.now, self.closes(threat), threat.count)
            self._open[threat.rule.name, threat.subject] = opened
            self.threats.append(opened)
        for threat in found.continued:
            known = self._open[threat.rule.name, threat.subject]
            known.closes_at, known.peak = self.closes(threat), max(known.peak, threat.count)

    def closes(self, threat: Any) -> int:
        kind = self.store._kinds[threat.key[:5]]
        return kind[threat.key].threats[threat.rule.name] * MILLISECOND
