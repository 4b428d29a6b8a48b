"""Django's signals → events. Connected by the app; each is one line of translation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import Signal

from secguard import signals
from secguard.conf import get_settings
from secguard.context import context_for
from secguard.failures import report_failure
from secguard.logging import get_event_logger, identifier_in, names_of


def _harmless(receiver: Callable[..., None]) -> Callable[..., None]:
    """A failure of ours must not fail the login: Django sends these signals with send(), not send_robust()."""

    @wraps(receiver)
    def wrapper(sender: object, **kwargs: Any) -> None:
        try:
            if get_settings().mode != "off":
                receiver(sender, **kwargs)
        except Exception:
            report_failure("the receiver %s failed", receiver.__name__)

    return wrapper


@_harmless
def on_login_failed(sender: object, credentials: Mapping[str, Any], request: Any = None, **kwargs: Any) -> None:
    """A refused attempt ends here too, since Django knows no other way out: it was logged when it was refused."""
    context = context_for(request)
    latest = context.attempts[-1] if context.attempts else None
    if latest is not None and latest.state == "refused":
        return
    get_event_logger().log_login_failed(username=identifier_in(credentials), request=request)


@_harmless
def on_logged_in(sender: object, user: Any, request: Any = None, **kwargs: Any) -> None:
    get_event_logger().log_login_success(request=request, **names_of(user))


@_harmless
def on_logged_out(sender: object, user: Any = None, request: Any = None, **kwargs: Any) -> None:
    if user is not None:
        get_event_logger().log_logout(request=request, **names_of(user))


@_harmless
def on_permission_denied(sender: object, request: Any = None, user: Any = None, **details: Any) -> None:
    context = context_for(request)
    if context.request is not None:
        if context.denied:
            return  # one refusal is one event, however many layers see it
        context.denied = True
    details.pop("signal", None)
    get_event_logger().log_permission_denied(request=request, **{**details, **names_of(user)})


_RECEIVERS: tuple[tuple[Signal, Callable[..., None]], ...] = (
    (user_login_failed, on_login_failed),
    (user_logged_in, on_logged_in),
    (user_logged_out, on_logged_out),
    (signals.permission_denied, on_permission_denied),
)


def connect() -> None:
    for signal, receiver in _RECEIVERS:
        signal.connect(receiver, dispatch_uid=f"secguard.{receiver.__name__}")
