"""Events to alert of."""

from __future__ import annotations

from typing import Any

from secguard.events import Event, EventType, spec_of
from secguard.pipeline import make_event


def event_of(event_type: EventType = EventType.SUSPICIOUS_ACTIVITY, message: str = "", **context: Any) -> Event:
    """An event as the pipeline makes it."""
    return make_event(event_type, message or f"{event_type} happened", context)


def threat(number: int = 7, **context: Any) -> Event:
    """A threat over an address."""
    address = f"203.0.113.{number}"
    given = {"rule": "brute_force", "subject": address, "ip_address": address, "count": 5, "event_id": f"id-{number}"}
    return event_of(
        EventType.SUSPICIOUS_ACTIVITY,
        f"Threat brute_force: 5 on address {address} within 900 s",
        **{**given, **context},
    )


def locked(name: str = "anna") -> Event:
    return event_of(EventType.ACCOUNT_LOCKED, f"Account {name} locked for 1800 s", username=name)


def warning(**context: Any) -> Event:
    """Something of the category threat that is not grave by itself."""
    assert spec_of(EventType.TRAP_HIT).severity == "warning"
    return event_of(EventType.TRAP_HIT, "Trap hit: /wp-login.php", **context)
