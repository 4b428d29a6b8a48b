"""How packages are observed that send no signal: a method of theirs is wrapped, and does what it did."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from secguard.conf import get_settings
from secguard.failures import report_failure

_MARK = "_secguard_observed"


def observe(
    owner: Any,
    name: str,
    *,
    before: Callable[..., Any] | None = None,
    after: Callable[..., Any] | None = None,
    failed: Callable[..., Any] | None = None,
) -> None:
    """Call ``before(*args)``, and ``after(result, *args)`` or ``failed(exception, *args)``, around a function.

    ``owner``: a class or module. What the observers return is not looked at, and what they raise is reported: the
    observed function's own result and exceptions stay as they are. To observe twice is harmless. A function that
    the installed version does not have is reported once, at start.
    """
    function = getattr(owner, name, None)
    if function is None:
        report_failure("%s has no %s in the installed version: its events are not seen", owner, name)
        return
    if getattr(function, _MARK, False):
        return

    @wraps(function)
    def observed(*args: Any, **kwargs: Any) -> Any:
        _call(before, *args, **kwargs)
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            _call(failed, error, *args, **kwargs)
            raise
        _call(after, result, *args, **kwargs)
        return result

    setattr(observed, _MARK, True)
    setattr(owner, name, observed)


def _call(observer: Callable[..., Any] | None, *args: Any, **kwargs: Any) -> None:
    if observer is None:
        return
    try:
        if get_settings().mode != "off":
            observer(*args, **kwargs)
    except Exception:
        report_failure("the observer %s failed", getattr(observer, "__name__", observer))


def harmless(receiver: Callable[..., None]) -> Callable[..., None]:
    """A signal's receiver whose failure fails nobody: most senders use send(), not send_robust()."""

    @wraps(receiver)
    def wrapper(sender: object = None, **kwargs: Any) -> None:
        kwargs.pop("signal", None)
        _call(receiver, sender, **kwargs)

    return wrapper
