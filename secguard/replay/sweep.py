"""One rule under many thresholds, so that one can be chosen by looking."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from secguard.conf import Settings
from secguard.detection import Rule
from secguard.exceptions import InvalidRule
from secguard.replay.simulation import Simulation

_AROUND = (0.4, 0.6, 0.8, 1, 1.2, 1.5, 2, 3, 4, 6)
_MOST = 40


class Step(NamedTuple):
    """What a threshold would have done, if the rule were alone. ``is_now``: it is the one in force."""

    threshold: int
    threats: int
    subjects: int
    blocks: int
    refused_failures: int
    refused_successes: int
    is_now: bool


class Sweep:
    """``wanted``: ``RULE``, or ``RULE=3,5,10-20``. Raises InvalidRule for another rule or what is no threshold."""

    def __init__(self, wanted: str, rules: Iterable[Rule], settings: Settings) -> None:
        name, _, thresholds = wanted.partition("=")
        name = name.strip().removesuffix(".threshold")
        known = {rule.name: rule for rule in rules}
        if name not in known:
            raise InvalidRule(f"there is no rule {name!r:.80} to be swept. In force: {', '.join(known)}.")
        self.rule = known[name]
        steps = _listed(name, thresholds) if thresholds else sorted(_around(self.rule.threshold))
        self.simulations = [Simulation([replace(self.rule, threshold=step)], settings) for step in steps]

    @property
    def steps(self) -> list[Step]:
        return [self._step(each) for each in self.simulations]

    @property
    def suggested(self) -> int | None:
        """The lowest threshold that would have refused no successful login, if any of them refused one."""
        steps = self.steps
        harmless = [step.threshold for step in steps if not step.refused_successes]
        return min(harmless) if harmless and len(harmless) < len(steps) else None

    def _step(self, simulation: Simulation) -> Step:
        threats, verdicts, (rule,) = simulation.threats, simulation.verdicts, simulation.rules
        return Step(
            rule.threshold,
            len(threats),
            len({threat.subject for threat in threats}),
            len(verdicts.blocks) + len(verdicts.locks),
            verdicts.refused_failures,
            verdicts.refused_successes,
            rule.threshold == self.rule.threshold,
        )


def _around(threshold: int) -> set[int]:
    return {min(1_000, max(2, round(threshold * factor))) for factor in _AROUND} | {threshold}


_NUMBER = re.compile(r"\d{1,6}", re.ASCII)


def _listed(name: str, text: str) -> list[int]:
    steps: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not _NUMBER.fullmatch(first) or (dash and not _NUMBER.fullmatch(last)):
            raise InvalidRule(f"rule {name!r}: {part!r:.80} is no threshold: write {name}=3,5,10-20")
        ends = int(first), int(last or first)
        if not 0 <= ends[1] - ends[0] < _MOST:
            raise InvalidRule(f"rule {name!r}: {part!r:.80} is no range of at most {_MOST} thresholds")
        steps.update(range(ends[0], ends[1] + 1))
    if len(steps) > _MOST:
        raise InvalidRule(f"rule {name!r}: {len(steps)} thresholds; {_MOST} are the most")
    return sorted(steps)
