"""Data that is worth a line: who touched it, in which request."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase

from secguard.context import unwrapped
from secguard.doors.denials import object_of
from secguard.failures import report_failure
from secguard.logging import get_event_logger


def note_access(request: Any, response: HttpResponseBase, resource: str, action: str) -> None:
    """Log that a view gave somebody what he asked for. Never raises; a refusal or a redirect is no access."""
    try:
        if response.status_code >= 300:
            return
        plain: HttpRequest | None = unwrapped(request)
        found = object_of(plain)
        details = {"object": found} if found else {}
        get_event_logger().log_data_access(getattr(request, "user", None), resource, action, request=plain, **details)
    except Exception:
        report_failure("an access to %r could not be logged", resource)
