"""Django's signals → events. Connected by the app; each is one line of translation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import Signal

from secguard import signals
from secguard.conf import get_settings
from secguard.context import RequestContext, context_for, current
from secguard.failures import report_failure
from secguard.logging import get_event_logger, identifier_in, names_of
from secguard.pipeline import note_rebinding
from secguard.records import names_of_owner, remember_owner


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


@_harmless
def on_user_saved(sender: object, instance: Any = None, using: str | None = None, **kwargs: Any) -> None:
    """A new password, saved by the page that a mailed link leads to: Django has no signal for that."""
    context = current()
    # Django's users keep the raw password until it is saved.
    if context is None or getattr(instance, "_password", None) is None or not instance.has_usable_password():
        return
    if _is_password_reset(context.request):
        transaction.on_commit(partial(_on_password_reset, context, instance), using=using, robust=True)


def _is_password_reset(request: Any) -> bool:
    from django.contrib.auth.views import PasswordResetConfirmView

    match = getattr(request, "resolver_match", None)
    view_class = getattr(match and match.func, "view_class", None)
    return isinstance(view_class, type) and issubclass(view_class, PasswordResetConfirmView)


def _on_password_reset(context: RequestContext, user: Any) -> None:
    """Who reads the account's mail is its owner: the device is known, and failures begin at nought."""
    names = names_of_owner(user)
    remember_owner(context, names)
    note_rebinding(context, get_event_logger().pipeline.detector, names)


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
    post_save.connect(on_user_saved, sender=django_settings.AUTH_USER_MODEL, dispatch_uid="secguard.on_user_saved")
