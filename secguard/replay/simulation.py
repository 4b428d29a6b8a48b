"""Attempts of the past under a set of rules: what happened, and beside it what would have been."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from secguard.conf import Settings
from secguard.detection import Detector, Rule
from secguard.replay.attempts import Attempt
from secguard.replay.counting import Counting
from secguard.replay.enforcement import Enforcement
from secguard.replay.windows import Threat


class Simulation:
    """``settings``: the site's, which say how long blocks last and whom nothing refuses.

    Raises InvalidRule as the detector does.
    """

    def __init__(self, rules: Iterable[Rule], settings: Settings) -> None:
        self.rules = tuple(rules)
        self.counting = Counting(Detector(self.rules, key=settings.hmac_key))
        self._enforcement = Enforcement(self.rules, settings)
        #: What would have come of it.
        self.verdicts = self._enforcement.guard.verdicts

    def feed(self, attempts: Sequence[Attempt]) -> None:
        """Some attempts, in the order of their times, none earlier than those of the call before."""
        self.count(attempts)
        self.enforce(attempts)

    def count(self, attempts: Sequence[Attempt]) -> None:
        """The first half: what happened."""
        self.counting.feed(attempts)

    def enforce(self, attempts: Sequence[Attempt]) -> None:
        """The other half: what would have been refused."""
        self._enforcement.feed(attempts)

    @property
    def threats(self) -> list[Threat]:
        """In the order in which they opened."""
        return sorted(self.counting.threats, key=lambda each: (each.opened_at, each.rule.name, each.subject))
