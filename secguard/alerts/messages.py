"""What an alert says. All of it may be an attacker's: of one line, bounded, and never more than text."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from secguard.alert_options import Trigger
from secguard.events import Event, new_event_id
from secguard.formatters.text import one_line

#: Alerts that a message tells in full; of the rest it says how many there are.
MAX_LISTED = 20
_MAX_TEXT, _MAX_TITLE = 256, 150


@dataclass(slots=True)
class Alert:
    """One thing that is worth telling. ``repeats``: how often it came again, untold, since it was told last."""

    trigger: str
    event_type: str
    category: str
    severity: str
    message: str
    time: str
    rule: str = ""
    subject: str = ""
    ip_address: str = ""
    account: str = ""
    path: str = ""
    request_id: str = ""
    event_id: str = ""
    count: int = 1
    threshold: int = 1
    window_seconds: float | None = None
    repeats: int = 0

    @property
    def kind(self) -> tuple[str, str, str]:
        """What it is about, whomever it is about."""
        return (self.trigger, self.event_type, self.rule)

    @property
    def key(self) -> tuple[str, ...]:
        """Alerts of one key are the same one, told once in a quiet period."""
        if self.threshold > 1:
            return (self.trigger,)
        return (*self.kind, self.subject or self.account or self.ip_address)


@dataclass(slots=True)
class Message:
    """What is sent at once. ``kind``: alert, digest or test. ``more``: alerts that are not listed. ``lost``: events
    that were never looked at, since there were too many."""

    kind: str
    site: str
    alerts: list[Alert] = field(default_factory=list)
    more: int = 0
    lost: int = 0
    sent_at: str = field(default_factory=lambda: _iso(time.time()))
    id: str = field(default_factory=new_event_id)

    @property
    def title(self) -> str:
        """One line."""
        if self.kind == "test":
            return f"{self.site}: a test, nothing happened"
        if not self.alerts:
            return f"{self.site}: {self.lost:,} events were not looked at"
        if len(self.alerts) + self.more == 1:
            return _without_links(one_line(f"{self.site}: {self.alerts[0].message}", _MAX_TITLE))
        names = ", ".join(dict.fromkeys(alert.trigger for alert in self.alerts))
        return one_line(f"{self.site}: {len(self.alerts) + self.more:,} alerts ({names})", _MAX_TITLE)

    @property
    def lines(self) -> list[str]:
        """What happened, for people. Links are broken, here and in the title: none of an attacker's is a click away."""
        if self.kind == "test":
            return ["This is a test of secguard's alerts. Whoever reads it would be told of a real one, too."]
        lines = [line for alert in self.alerts for line in _lines_of(alert)]
        if self.more:
            lines.append(f"… and {self.more:,} more, which the log tells.")
        if self.lost:
            lines.append(f"{self.lost:,} events were not looked at: there were too many.")
        return list(map(_without_links, lines))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Message:
        """What ``as_dict`` made of one."""
        return cls(**{**told, "alerts": [Alert(**alert) for alert in told["alerts"]]})


def alert_of(trigger: Trigger, event: Event, happened_at: float, count: int = 1) -> Alert:
    """The alert that an event is, or of ``count`` events the last one. ``happened_at``: seconds since the epoch."""
    told = event.context
    message = one_line(event.message, _MAX_TEXT)
    if trigger.threshold > 1:
        message = one_line(f"{_summary(trigger, count)}; the last one: {message}", 2 * _MAX_TEXT)
    return Alert(
        trigger=trigger.name,
        event_type=event.type,
        category=event.category.value,
        severity=event.severity.value,
        message=message,
        time=_iso(happened_at),
        rule=_text(told.get("rule")),
        subject=_text(told.get("subject")),
        ip_address=_text(told.get("ip_address")),
        account=_text(told.get("username") or told.get("email")),
        path=_text(told.get("path")),
        request_id=_text(told.get("request_id")),
        event_id=_text(told.get("event_id")),
        count=count if trigger.threshold > 1 else _number(told.get("count")),
        threshold=trigger.threshold,
        window_seconds=trigger.window if trigger.threshold > 1 else None,
    )


_WHAT = {"locks": "accounts were locked", "suspicious": "suspicious events"}


def _summary(trigger: Trigger, count: int) -> str:
    what = _WHAT.get(trigger.name) or f"events of {trigger.name}"
    return f"{count:,} {what} within {trigger.window:g} s"


def _lines_of(alert: Alert) -> list[str]:
    again = f" ({alert.repeats:,} times more since the last message)" if alert.repeats else ""
    lines = [f"{alert.severity.upper()} {alert.message}{again}"]
    shown = {
        "address": alert.ip_address,
        "account": alert.account,
        "path": alert.path,
        "request": alert.request_id,
        "event": alert.event_id,
    }
    facts = ", ".join(f"{name} {value}" for name, value in shown.items() if value)
    return [*lines, f"  {alert.time}" + (f", {facts}" if facts else "")]


def _without_links(text: str) -> str:
    return text.replace("://", "[:]//")


def _text(value: object) -> str:
    return "" if value is None else one_line(str(value), _MAX_TEXT)


def _number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 1


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
