"""django-allauth: first steps of a login, rejected codes, mail addresses, its own limits, and who asks for whom.

Logins, failures, new users and passwords are told by Django's own signals and by the user's saves already.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from allauth.account import app_settings, forms, signals, views
from allauth.core.internal import ratelimit
from django.apps import apps
from django.db import transaction

from secguard.context import context_for
from secguard.doors import current_password, denials
from secguard.doors.patching import harmless, observe
from secguard.doors.responses import PROBED
from secguard.events import EventType
from secguard.logging import get_event_logger, names_of
from secguard.receivers.users import RESET_VIEWS

#: Views that set a new password after a reset: by a link, or by a code.
_RESET_VIEWS = ("PasswordResetFromKeyView", "CompletePasswordResetView")


def install() -> None:
    for signal, receiver in (
        (signals.authentication_step_completed, _on_step),
        (signals.login_code_rejected, _on_login_code_rejected),
        (signals.password_reset_code_rejected, _on_reset_code_rejected),
        (signals.email_verification_code_rejected, _on_verification_code_rejected),
        (signals.email_added, _on_email_added),
        (signals.email_removed, _on_email_removed),
        (signals.email_changed, _on_email_changed),
        (signals.password_reset, _on_password_reset),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"secguard.allauth.{receiver.__name__}")
    current_password.watch(forms.ChangePasswordForm, "clean_oldpassword")
    if apps.is_installed("allauth.headless"):
        from allauth.headless.account.inputs import ChangePasswordInput

        current_password.watch(ChangePasswordInput, "clean_current_password")
    observe(ratelimit, "consume", after=_on_consumed, failed=_on_rate_limited)
    PROBED[views.PasswordResetView] = EventType.PASSWORD_RESET_REQUESTED
    PROBED[views.SignupView] = EventType.SIGNUP_REJECTED
    RESET_VIEWS.update(getattr(views, name) for name in _RESET_VIEWS if hasattr(views, name))


@harmless
def _on_step(sender: object, request: Any = None, user: Any = None, method: str = "", **kwargs: Any) -> None:
    """One factor was right. Before a second one, and when somebody proves again who he is, nobody logs in."""
    if context_for(request).open_attempt() is not None:
        get_event_logger().attempt_passed(request=request, user=user)
    if method == "code":
        get_event_logger().forgive(EventType.CODE_REJECTED, request=request, user=user)


@harmless
def _on_password_reset(sender: object, request: Any = None, user: Any = None, **kwargs: Any) -> None:
    """Whoever mistyped the code of his reset has got it right in the end: that is no step of a login."""
    get_event_logger().forgive(EventType.CODE_REJECTED, request=request, user=user)


# -- codes that are typed ------------------------------------------------------------------------------


@harmless
def _on_login_code_rejected(sender: object, request: Any = None, user: Any = None, **kwargs: Any) -> None:
    # The same signal for both; who sends it tells them apart.
    again = "Reauthentication" in getattr(sender, "__name__", "")
    _code_rejected("reauthentication" if again else "login", request, user, **kwargs)


@harmless
def _on_reset_code_rejected(sender: object, request: Any = None, user: Any = None, **kwargs: Any) -> None:
    _code_rejected("password_reset", request, user, **kwargs)


@harmless
def _on_verification_code_rejected(sender: object, request: Any = None, user: Any = None, **kwargs: Any) -> None:
    _code_rejected("email_verification", request, user, **kwargs)


def _code_rejected(purpose: str, request: Any, user: Any, last_attempt: bool = False, **kwargs: Any) -> None:
    details = {"purpose": purpose, "last_attempt": last_attempt, **names_of(user)}
    get_event_logger().log(EventType.CODE_REJECTED, request=request, **details)


# -- mail addresses --------------------------------------------------------------------------------------


@harmless
def _on_email_added(
    sender: object, request: Any = None, user: Any = None, email_address: Any = None, **kwargs: Any
) -> None:
    _email_event(EventType.EMAIL_ADDED, request, user, email_address)


@harmless
def _on_email_removed(
    sender: object, request: Any = None, user: Any = None, email_address: Any = None, **kwargs: Any
) -> None:
    _email_event(EventType.EMAIL_REMOVED, request, user, email_address)


def _email_event(event_type: EventType, request: Any, user: Any, email_address: Any) -> None:
    # An address may be confirmed where nobody is logged in: then the signal names nobody.
    owner = user if getattr(user, "is_authenticated", False) else getattr(email_address, "user", None)
    _log_on_commit(event_type, request, owner, email_address, changed_email=email_address.email)


@harmless
def _on_email_changed(
    sender: object,
    request: Any = None,
    user: Any = None,
    from_email_address: Any = None,
    to_email_address: Any = None,
    **kwargs: Any,
) -> None:
    """The user's save tells it, unless users hold no mail address."""
    if app_settings.USER_MODEL_EMAIL_FIELD:
        return
    old = getattr(from_email_address, "email", "")
    details = {"old_email": old, "changed_email": to_email_address.email}
    _log_on_commit(EventType.EMAIL_CHANGED, request, user, to_email_address, **details)


def _log_on_commit(event_type: EventType, request: Any, user: Any, row: Any, **details: Any) -> None:
    log = partial(get_event_logger().log, event_type, request=request, **names_of(user), **details)
    transaction.on_commit(log, using=row._state.db, robust=True)


# -- its own limits --------------------------------------------------------------------------------------


def _on_consumed(result: object, request: Any, *args: Any, **kwargs: Any) -> None:
    """A limit that stops a login raises before authenticate(): no signal, and no failure."""
    if not result and not kwargs.get("dry_run"):
        _rate_limited(request, kwargs.get("action"))


def _on_rate_limited(error: Exception, request: Any, *args: Any, **kwargs: Any) -> None:
    if isinstance(error, ratelimit.RateLimited) and not kwargs.get("dry_run"):
        _rate_limited(request, kwargs.get("action"))


def _rate_limited(request: Any, action: object) -> None:
    denials.tell(EventType.RATE_LIMIT_EXCEEDED, request=request, scope=f"allauth:{action}")
