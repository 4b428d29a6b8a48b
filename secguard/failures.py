"""Where secguard tells of its own failures: to the logger ``secguard``, and never by an exception."""

from __future__ import annotations

import logging
import sys

#: What goes wrong inside secguard itself, with tracebacks.
internal_logger = logging.getLogger("secguard")


def report_failure(message: str, *args: object, error: BaseException | None = None) -> None:
    """Log what went wrong. If even that raises, standard error is the last to be told."""
    trouble = error or sys.exc_info()[1]
    try:
        internal_logger.error(message, *args, exc_info=trouble)
    except Exception as last:
        print(f"secguard: {message % args}: {trouble!r}; then {last!r}", file=sys.stderr)
