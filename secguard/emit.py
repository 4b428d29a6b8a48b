"""Makes an event known: one log line and one signal. Neither can hurt the request."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO

from django.dispatch import Signal

from secguard import signals
from secguard.events import Event, Origin
from secguard.failures import report_failure
from secguard.formatters.text import clean_context, one_line

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler  # a generic from Python 3.11 only

#: The logger of security events. Configure it in LOGGING like any other.
security_logger = logging.getLogger("security.events")

#: Events that no handler could take, since the process started.
lost_events = 0


def emit(event: Event) -> None:
    """Write the event's line and tell the receivers of ``event_logged``."""
    global lost_events
    if not event.is_clean:
        event.context, event.is_clean = clean_context(event.context), True
    event.message = one_line(event.message)
    try:
        _write(event)
    except Exception:
        lost_events += 1
        report_failure("a handler of the logger %r raised; the event %s is lost", security_logger.name, event.type)
    if signals.event_logged.receivers:
        send(signals.event_logged, event=event)


def _write(event: Event) -> None:
    level = event.severity.level
    if not security_logger.isEnabledFor(level):
        return
    file, line, function = event.origin or calling_function(3)  # whoever called emit()
    record = security_logger.makeRecord(security_logger.name, level, file, line, event.message, (), None, function)
    record.context = event.context
    record.context_is_clean = True
    security_logger.handle(record)


class EventStreamHandler(_StreamHandler):
    """The handler that secguard attaches itself: on standard error, and counting what a full disk swallows."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        global lost_events
        lost_events += 1
        super().handleError(record)


def calling_function(depth: int) -> Origin:
    """Where in the code the caller stands; ``depth`` counts frames as in ``sys._getframe``."""
    frame = sys._getframe(depth)
    return Origin(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def send(signal: Signal, **payload: Any) -> None:
    """Send a signal; receivers that raise are reported and do no harm."""
    if not signal.receivers:
        return
    try:
        results = signal.send_robust(sender=None, **payload)
    except Exception:
        # Django cannot call async receivers from the thread of a running event loop, and says so here.
        report_failure("async receivers of a signal of secguard were not called: an event loop runs in this thread")
        return
    for receiver, result in results:
        if isinstance(result, Exception):
            report_failure("the receiver %r raised", receiver, error=result)
