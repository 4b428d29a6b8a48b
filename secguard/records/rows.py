"""What of an event becomes a row of the record, and which events do."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import models

from secguard.conf import get_settings
from secguard.detection import normalize_identifier
from secguard.events import NUMEROUS, Event, EventType, Severity, new_event_id
from secguard.geo import country_of
from secguard.logging import get_event_logger
from secguard.models import EventRecord
from secguard.privacy import shown_account, shown_address
from secguard.records.database import moment_at
from secguard.records.operators import canonical_network

#: Bytes of what a row says besides its columns; a longer one loses the largest values.
MAX_EXTRA = 4_096
#: The line's own words for what the row has a column for.
_COLUMNS = ("message", "ip_address", "user_id", "rule", "count", "method", "path", "user_agent", "request_id")
_HEAD = ("event_type", "category", "severity", "event_id")
_NAMES = ("email", "username")
#: Events about a network that is somebody else's than the request's at hand: an operator's or the last of many.
_ABOUT_A_NETWORK = {
    EventType.ADDRESS_BLOCKED,
    EventType.ADDRESS_UNBLOCKED,
    EventType.NETWORK_PROPOSED,
    EventType.NETWORK_ALLOWED,
    EventType.NETWORK_DISALLOWED,
}
_WIDTHS: dict[str, int] = {
    field.name: field.max_length
    for field in EventRecord._meta.get_fields()
    if isinstance(field, models.CharField) and field.max_length
}
_MOST = 2**31 - 1


def is_recorded(event: Event) -> bool:
    """Is this event a row, as PERSIST_EVENTS has it?"""
    wanted = get_settings().persist_events
    if wanted == "decisions":
        return event.type not in NUMEROUS or _is_after_failures(event)
    return wanted == "all"


def _is_after_failures(event: Event) -> bool:
    return event.type == EventType.LOGIN_SUCCESS and event.severity is not Severity.INFO


def row_of(event: Event) -> EventRecord:
    """The row of an event, not saved. It shows what the line shows; what is searched by is made of what happened."""
    context, truth = event.context, (event.original or event).context
    about = _about(event.type, truth)
    account = _account(truth)
    given = {name: _text(name, context.get(name)) for name in _COLUMNS if name not in ("count", "message")}
    event_id = _uuid(context.get("event_id"))
    return EventRecord(
        event_id=event_id,
        timestamp=_time_of(event_id),
        event_type=event.type,
        category=event.category.value,
        severity=event.severity.value,
        message=_text("message", event.message),
        network=shown_address(_network(about)),
        country=country_of(str(about)) if about else "",
        account=_text("account", shown_account(account)),
        account_digest=_digest(account),
        count=count_of(context),
        extra=_extra(context),
        **given,
    )


def aggregate(count: int, sample: Event) -> EventRecord:
    """One row for so many events of a type, which were too many to have rows of their own."""
    event_id = uuid.UUID(new_event_id())
    return EventRecord(
        event_id=event_id,
        timestamp=_time_of(event_id),
        event_type=sample.type,
        category=sample.category.value,
        severity=sample.severity.value,
        message=f"{count} further events of this type, too many at once for rows of their own",
        count=count,
        extra={"aggregated": True},
    )


def _about(event_type: str, truth: dict[str, Any]) -> Any:
    """The address or network that an event is about; what is neither has no place there."""
    is_of_network = truth.get("subject_type") in (None, "address", "network")
    subject = truth.get("subject") if is_of_network else None
    return subject if event_type in _ABOUT_A_NETWORK else truth.get("ip_address") or subject


def _text(name: str, value: object) -> str:
    """Clean already: the line shows the same. Cut to its column."""
    return "" if value is None else str(value)[: _WIDTHS[name]]


def _network(value: object) -> str:
    try:
        return canonical_network(str(value))[: _WIDTHS["network"]] if value else ""
    except (ValueError, RecursionError):
        return ""


def _account(context: dict[str, Any]) -> str:
    if context.get("subject_type") == "account":
        return normalize_identifier(context.get("subject")) or ""
    if context.get("subject_type") == "pair":  # an address and an account
        return normalize_identifier(str(context.get("subject", "")).partition(" ")[2]) or ""
    names = (normalize_identifier(context.get(name)) for name in _NAMES)
    return next(filter(None, names), "")


def _digest(account: str) -> str:
    return get_event_logger().pipeline.detector.digest("account", account).hex() if account else ""


def count_of(context: Mapping[str, Any]) -> int | None:
    """The count that an event says, if it is one."""
    value = context.get("count")
    return min(max(value, 0), _MOST) if isinstance(value, int) and not isinstance(value, bool) else None


def _extra(context: dict[str, Any]) -> dict[str, Any]:
    """What has no column. The names as the line has them: a column has but one of them, normalised."""
    extra = {key: value for key, value in context.items() if key not in _HEAD and key not in _COLUMNS}
    sizes = {key: len(key) + len(json.dumps(value, default=str)) for key, value in extra.items()}
    left = sum(sizes.values())
    for key in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if left <= MAX_EXTRA:
            break
        del extra[key]
        left -= sizes[key]
        extra["truncated"] = True
    return extra


def _uuid(value: object) -> uuid.UUID:
    try:
        return uuid.UUID(str(value))
    except ValueError:
        return uuid.UUID(new_event_id())


def _time_of(event_id: uuid.UUID) -> datetime:
    """The time that a UUID of version 7 holds, in milliseconds: that of the line."""
    if event_id.version != 7:
        event_id = uuid.UUID(new_event_id())
    return moment_at((event_id.int >> 80) / 1000)
