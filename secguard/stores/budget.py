"""How long one request may wait for the store, all its commands together."""

from __future__ import annotations

from secguard.context import current


class Budget:
    """Seconds for which a request has waited. What it may wait is the store's business.

    ``fair``: each wait at most as long as it was meant to be: what it took longer, this process was not served
    either. ``real``: by the clock.
    """

    __slots__ = ("fair", "real")

    def __init__(self) -> None:
        self.fair = self.real = 0.0

    def spend(self, real: float, fair: float) -> None:
        self.real += real
        self.fair += fair

    def renew(self) -> None:
        """Whoever waits for a slot (RESERVE_WAIT) asks many times on purpose: each time as if it were the first."""
        self.fair = self.real = 0.0


def request_budget() -> Budget:
    """The budget of the request at hand; outside of any, each call has one of its own."""
    context = current()
    if context is None:
        return Budget()
    budget: Budget | None = context.store_budget
    if budget is None:
        budget = context.store_budget = Budget()
    return budget
