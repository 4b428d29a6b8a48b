"""Checks that hold in a forked process."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable


def in_a_child(check: Callable[[], bool]) -> bool:
    """Fork, and let the child say whether it holds. A child that hangs is ended by its alarm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # there may be other threads: the child has none
        child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(20)
            code = 0 if check() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
