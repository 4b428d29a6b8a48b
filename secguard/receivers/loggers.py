"""Refusals that Django tells nobody but its loggers: failed CSRF checks, unknown hosts, suspicious operations.

A filter on each named logger sees them, whatever handlers there are: Django's docs advise a null handler without
propagation for DisallowedHost, behind which a handler on the parent sees nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import SuspiciousOperation

from secguard.doors.denials import tell, tell_suspicious, view_of
from secguard.events import EventType
from secguard.failures import report_failure

_PARENT = "django.security."
_CSRF = f"{_PARENT}csrf"
#: Loggers that Django names in apps which need not be installed.
_KNOWN = (
    "DisallowedModelAdminLookup",
    "DisallowedModelAdminToField",
    "InvalidSessionKey",
    "SuspiciousSession",
    "SessionInterrupted",
)


class SecurityLogFilter(logging.Filter):
    """Makes an event of each record, and lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            _tell_of(record)
        except Exception:
            report_failure("a record of the logger %s could not be logged as an event", record.name)
        return True


def _tell_of(record: logging.LogRecord) -> None:
    request = getattr(record, "request", None)
    name = record.name.removeprefix(_PARENT)
    details: dict[str, Any] = {"view": view_of(request)} if view_of(request) else {}
    if record.name == _CSRF:
        reason = record.args[0] if isinstance(record.args, tuple) and record.args else record.getMessage()
        tell(EventType.CSRF_FAILED, request=request, reason=reason, **details)
    else:
        tell_suspicious(name, record.getMessage(), request, **details)


_FILTER = SecurityLogFilter()


def _names() -> Iterator[str]:
    yield _CSRF
    yield from (_PARENT + name for name in _KNOWN)
    waiting = [SuspiciousOperation]
    while waiting:
        found = waiting.pop()
        yield _PARENT + found.__name__
        waiting += found.__subclasses__()


def connect() -> None:
    for name in _names():
        logging.getLogger(name).addFilter(_FILTER)  # twice is harmless
