"""For the tests of projects that use secguard: look at events, and let time pass without waiting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from secguard.events import Event
from secguard.pipeline import get_refusals
from secguard.signals import event_logged


class CapturedEvents(list[Event]):
    """The events that were logged, in order."""

    def of(self, event_type: str) -> list[Event]:
        return [event for event in self if event.type == event_type]

    @property
    def types(self) -> list[str]:
        return [event.type for event in self]


@contextmanager
def capture_events() -> Iterator[CapturedEvents]:
    """Collect the events logged inside the block, whatever LOGGING says.

    Floods begin anew: what was logged before the block makes no event inside it one of too many.

    >>> with capture_events() as events:
    ...     client.post("/login/", {"username": "a", "password": "wrong"})
    >>> assert events.types == ["login_failed"]
    """
    captured = CapturedEvents()

    def receive(event: Event, **kwargs: Any) -> None:
        captured.append(event)

    get_refusals().begin_anew()
    event_logged.connect(receive, weak=False)
    try:
        yield captured
    finally:
        event_logged.disconnect(receive)


class ManualClock:
    """A clock that stands still until it is told otherwise. Seconds; give it wherever a ``clock`` is taken."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
