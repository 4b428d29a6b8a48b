"""One refusal is one event, however many layers see it: the first that knows tells, the others add what they know."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from secguard.conf import get_settings
from secguard.context import RequestContext, context_for, current
from secguard.events import EventType
from secguard.failures import report_failure
from secguard.logging import get_event_logger, names_of
from secguard.pipeline import note_rate_limited, note_suspicious

#: What REST framework makes of a permission that says no.
_SUSPECTED = (EventType.PERMISSION_DENIED, EventType.AUTHENTICATION_REQUIRED)


def tell(event_type: str, /, *, request: Any = None, user: Any = None, **details: Any) -> None:
    """Log a refusal, unless one of this request has been told already. Never raises."""
    try:
        context = context_for(request)
        if get_settings().mode == "off" or (context.denied and context.request is not None):
            return
        context.denied = True
        if context.suspicion is not None and event_type in _SUSPECTED:
            # No denial: it counts for no rule, or a threat would keep itself open.
            rules, _ = context.suspicion
            context.episode = note_suspicious(context, context.address.subject or "unknown", rules=rules)
            return
        if user is None:
            user = known_user(context.request)
        details = {**context.hints, **names_of(user), **details}
        if on_event_loop() and context is current():
            # Whoever asks the store here holds up every other request: the middleware tells it from a thread.
            context.deferred = (event_type, details)
        else:
            say(context, event_type, details)
    except Exception:
        report_failure("a refusal (%s) could not be logged", event_type)


def say(context: RequestContext, event_type: str, details: Mapping[str, Any]) -> None:
    """Log it now; what exceeds a rate is one line a minute and client."""
    if event_type == EventType.RATE_LIMIT_EXCEEDED:
        _say_rate_limited(context, dict(details))
    elif event_type == EventType.PERMISSION_DENIED:
        # By its method, which a logger class of the project's own may change.
        get_event_logger().log_permission_denied(request=context.request, **details)
    else:
        details = {name: value for name, value in details.items() if name != "event_type"}
        get_event_logger().log(event_type, request=context.request, **details)


def _say_rate_limited(context: RequestContext, details: dict[str, Any]) -> None:
    if EventType.RATE_LIMIT_EXCEEDED in get_settings().disabled_events:
        return
    subject = details.pop("subject", None) or context.address.subject or "unknown"
    note_rate_limited(context, str(subject), **details)
    get_event_logger().count(EventType.RATE_LIMIT_EXCEEDED, request=context.request, **details)


def tell_suspicious(name: str, reason: str, request: Any, **details: Any) -> None:
    """One of Django's suspicious operations. ``name``: of the exception's class."""
    if name == "DisallowedHost":
        host = getattr(request, "META", {}).get("HTTP_HOST")
        text = "Request for a host that is none of ours"
        tell(EventType.DISALLOWED_HOST, request=request, reason=reason, host=host, message=text, **details)
    else:
        text = f"Suspicious operation: {name}"
        tell(EventType.SUSPICIOUS_OPERATION, request=request, reason=reason, exception=name, message=text, **details)


def on_event_loop() -> bool:
    """Does an event loop run in this thread?"""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def known_user(request: HttpRequest | None) -> Any:
    """The user of a request, if somebody asked for it already: to find out costs a query and a session."""
    user = getattr(request, "__dict__", {}).get("user")
    if isinstance(user, LazyObject) and user._wrapped is empty:
        user = getattr(request, "_acached_user", None)
    return user if getattr(user, "is_authenticated", False) else None


def view_of(request: HttpRequest | None) -> str:
    """The name of the view that a request was for, or its dotted path."""
    match = getattr(request, "resolver_match", None)
    return (match.view_name or match._func_path) if match else ""


def view_class_of(request: HttpRequest | None) -> type | None:
    """The class of the view that a request was for, if it has one."""
    match = getattr(request, "resolver_match", None)
    function = match and match.func
    found = getattr(function, "view_class", None) or getattr(function, "cls", None)
    return found if isinstance(found, type) else None


def object_of(request: HttpRequest | None) -> str | None:
    """What a request was about, as far as its URL says: the view and the key in its path."""
    match = getattr(request, "resolver_match", None)
    for name, value in (match.kwargs if match else {}).items():
        if name in _KEYS or name.endswith(("_id", "_pk", "_uuid", "_slug")):
            return f"{view_of(request)}:{value}"
    return None


_KEYS = ("pk", "id", "slug", "uuid", "object_id")
