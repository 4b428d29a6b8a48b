"""Events as the guard logs them, one of each type, and records that try to break what writes them."""

from __future__ import annotations

import json
import logging
from functools import cache
from typing import Any

from secguard.events import VOCABULARY, EventType
from secguard.formatters.text import clean_context
from tests.formatters.hostile import HOSTILE, STRINGS

FEBRUARY = 1770640496.789
EVENT_ID = "01a207ac-4f96-798b-96ec-2f4c97a87603"
REQUEST = {
    "ip_address": "203.0.113.7",
    "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "request_id": "81ea94d0425dc5e4",
    "path": "/admin/login/",
    "method": "POST",
}
USER = {"user_id": 7, "username": "alice", "email": "alice@example.com"}
THREAT = {
    "rule": "brute_force",
    "subject": "203.0.113.7",
    "subject_type": "address",
    "count": 5,
    "threshold": 5,
    "window_seconds": 900,
    "technique": "T1110.001",
    "action": "block",
}
BLOCK = {"subject": "203.0.113.7", "rule": "brute_force", "reference": "0123456789abcdef", "by": "deploy"}
_OF_TYPE = {
    EventType.SUSPICIOUS_ACTIVITY: THREAT,
    EventType.ADDRESS_BLOCKED: {**BLOCK, "duration_seconds": 900},
    EventType.ADDRESS_UNBLOCKED: {**BLOCK, "count": 1, "reason": "a customer"},
    EventType.REQUEST_BLOCKED: {**BLOCK, "count": 12},
}
TYPES = [str(event_type) for event_type in VOCABULARY]


def context_of(event_type: str, /, **details: Any) -> dict[str, Any]:
    """What the line of an event of this type says."""
    spec = VOCABULARY[event_type]
    head = {"event_type": event_type, "category": spec.category.value, "severity": spec.severity.value}
    about = _OF_TYPE.get(EventType(event_type), {**USER, "reason": "invalid_credentials", "failed_attempts_from_ip": 3})
    return {**head, **REQUEST, **about, "event_id": EVENT_ID, **details}


def record(context: dict[str, Any] | None = None, message: str = "An event", **attributes: Any) -> logging.LogRecord:
    made = logging.LogRecord("security.events", logging.WARNING, "/srv/app/logging.py", 245, message, (), None, "log")
    made.created = FEBRUARY
    if context is not None:
        attributes = {"context": context, "context_is_clean": True, **attributes}
    vars(made).update(attributes)
    return made


def record_of(event_type: str, /, **details: Any) -> logging.LogRecord:
    return record(context_of(event_type, **details))


@cache
def hostile_records() -> list[tuple[str, logging.LogRecord]]:
    """Each hostile value and text in every field that a standard has a place for, as the guard would have cleaned it
    and as another logger might pass it on."""
    found = []
    keys = sorted({*REQUEST, *USER, *THREAT, *BLOCK, "event_type", "category", "severity", "event_id", "reason", "own"})
    for name, value in [*HOSTILE.items(), *((f"text {text!r:.40}", text) for text in STRINGS)]:
        everywhere = clean_context(dict.fromkeys(keys, value))
        found.append((name, record(everywhere)))
        found.append((f"{name}, raw", record({**context_of("login_failed"), "own": value}, context_is_clean=False)))
    for text in STRINGS:
        found.append((f"message {text!r:.40}", record(context_of("login_failed"), message=text)))
        found.append((f"key {text!r:.40}", record({**context_of("login_failed"), text: text})))
    huge = {f"key {number}": "x" * 250 for number in range(60)}
    found.append(("many values", record({**context_of("suspicious_activity"), **huge})))
    everything_long = dict.fromkeys(context_of("suspicious_activity"), "é" * 256)
    for event_type in ("suspicious_activity", "login_failed", "data_access"):
        found.append((f"long values of {event_type}", record({**everything_long, "event_type": event_type})))
    found.append(("not clean at all", record({**context_of("login_failed"), "own": object(), "again": {1, 2}})))
    found.append(("no event", record(None, note="by another logger", exc_text="Traceback\n  ValueError: no\n")))
    return found


def json_of(line: str) -> dict[str, Any]:
    """One line of strict JSON."""
    assert line.isascii()
    assert line.isprintable()
    assert len(line) <= 8192
    found = json.loads(line, parse_constant=_refuse)
    assert isinstance(found, dict)
    return found


def _refuse(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")
