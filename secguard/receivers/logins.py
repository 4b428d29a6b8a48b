"""Django's signals of logins, logouts and denials → events; each is one line of translation. And what sends none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import Signal

from secguard import signals
from secguard.context import context_for
from secguard.doors import current_password, denials
from secguard.doors.patching import harmless
from secguard.events import EventType
from secguard.logging import get_event_logger, identifier_in, names_of


@harmless
def on_login_failed(sender: object, credentials: Mapping[str, Any], request: Any = None, **kwargs: Any) -> None:
    """A refused attempt ends here too, since Django knows no other way out: it was logged when it was refused."""
    context = context_for(request)
    latest = context.attempts[-1] if context.attempts else None
    context.denied = context.request is not None  # a 401 or 403 that follows from it is no second event
    if latest is not None and latest.state == "refused":
        return
    get_event_logger().log_login_failed(username=identifier_in(credentials), request=request)


@harmless
def on_logged_in(sender: object, user: Any, request: Any = None, **kwargs: Any) -> None:
    get_event_logger().log_login_success(request=request, **names_of(user))


@harmless
def on_logged_out(sender: object, user: Any = None, request: Any = None, **kwargs: Any) -> None:
    if user is not None:
        get_event_logger().log_logout(request=request, **names_of(user))


@harmless
def on_permission_denied(sender: object, request: Any = None, user: Any = None, **details: Any) -> None:
    denials.tell(EventType.PERMISSION_DENIED, request=request, user=user, **details)


_RECEIVERS: tuple[tuple[Signal, Callable[..., None]], ...] = (
    (user_login_failed, on_login_failed),
    (user_logged_in, on_logged_in),
    (user_logged_out, on_logged_out),
    (signals.permission_denied, on_permission_denied),
)


def connect() -> None:
    for signal, receiver in _RECEIVERS:
        # Not weakly: they are functions of this module, and Django looks each weak one up with every login.
        signal.connect(receiver, weak=False, dispatch_uid=f"secguard.{receiver.__name__}")
    current_password.watch(PasswordChangeForm, "clean_old_password")
