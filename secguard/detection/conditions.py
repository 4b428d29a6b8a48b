"""Rules over more than one number: what has to hold besides that the threshold is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from secguard.detection.rule import Rule

#: By their places in the panel.
Counts: TypeAlias = "Sequence[int] | Mapping[int, int]"


class Condition(NamedTuple):
    """Where the number alone opens no threat: places in the panel's watches, and what has to hold.

    ``trigger``: the stream of the entries that open it.
    """

    rule: Rule
    trigger: bytes
    threat: int
    values: int
    events: int
    successes: int | None

    def may_hold(self, counts: Counts) -> bool:
        """As far as is known before the successes are counted."""
        values, events = counts[self.values], counts[self.events]
        limit = self.rule.max_per_value
        return values >= self.rule.threshold and (limit is None or events <= limit * values)

    def holds(self, counts: Counts) -> bool:
        limit = self.rule.max_success_rate
        if limit is None or self.successes is None:
            return self.may_hold(counts)
        events, successes = counts[self.events], counts[self.successes]
        return self.may_hold(counts) and successes <= limit * (successes + events)
