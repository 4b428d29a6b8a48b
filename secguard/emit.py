"""Makes an event known: one log line and one signal. Neither can hurt the request."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from django.dispatch import Signal

from secguard import signals
from secguard.conf import until_settings_change
from secguard.events import Event, Origin
from secguard.failures import report_failure
from secguard.formatters.text import clean_context, one_line
from secguard.privacy import shown_event
from secguard.tally import Tally

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler  # a generic from Python 3.11 only

#: The logger of security events. Configure it in LOGGING like any other.
security_logger = logging.getLogger("security.events")

#: Events that no handler could take, since the process started.
lost_events = 0

#: Who else is told of every event that has a line, in the thread where it happens: the rooms above, wired by the app.
#: They are quick, and what is slow they leave for later.
sinks: list[Callable[[Event], None]] = []


@until_settings_change
def get_tally() -> Tally:
    """How often what happened in this process, whether it had a line or not."""
    return Tally()


def emit(event: Event) -> None:
    """Count the event, write its line, and tell the sinks and the receivers of ``event_logged``.

    They are told what the line says: with SECGUARD["PRIVACY"] the event as it is shown, which holds the original.
    """
    global lost_events
    if not event.is_clean:
        event.context, event.is_clean = clean_context(event.context), True
    event = shown_event(event)
    event.message = one_line(event.message)
    if not event.is_counted:
        get_tally().add(event.type, rule_of(event))
    try:
        _write(event)
    except Exception:
        lost_events += 1
        report_failure("a handler of the logger %r raised; the event %s is lost", security_logger.name, event.type)
    for sink in sinks:
        try:
            sink(event)
        except Exception:
            report_failure("%s could not be told of an event", getattr(sink, "__qualname__", sink))
    if signals.event_logged.receivers:
        send(signals.event_logged, event=event)


def rule_of(event: Event) -> str:
    """The rule that an event is of, as far as it says."""
    rule = event.context.get("rule", "")
    return rule if isinstance(rule, str) and len(rule) <= 64 else ""


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
