"""dj-rest-auth: a login with a mail address that nobody has is an attempt like any other, though nobody checks it."""

from __future__ import annotations

from typing import Any

from dj_rest_auth import serializers, views
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import PermissionDenied
from rest_framework.exceptions import ValidationError

from secguard.backends import SecurityGuardBackend, reserves_attempts
from secguard.context import context_for
from secguard.doors import current_password
from secguard.doors.patching import observe
from secguard.doors.responses import PROBED
from secguard.events import EventType
from secguard.logging import get_event_logger, names_of
from secguard.receivers.users import RESET_VIEWS


def install() -> None:
    observe(serializers.LoginSerializer, "get_auth_user", before=_on_login, after=_on_looked_up)
    observe(views.LoginView, "login", after=_on_logged_in)
    current_password.watch(serializers.PasswordChangeSerializer, "validate_old_password", ValidationError)
    PROBED[views.PasswordResetView] = EventType.PASSWORD_RESET_REQUESTED
    RESET_VIEWS.add(views.PasswordResetConfirmView)
    if apps.is_installed("dj_rest_auth.registration"):
        # An app of its own, which needs allauth.
        from dj_rest_auth.registration.views import RegisterView

        PROBED[RegisterView] = EventType.SIGNUP_REJECTED


def _on_login(serializer: Any, username: Any, email: Any, password: Any) -> None:
    serializer._secguard_attempts = len(context_for(serializer.context["request"]).attempts)


def _on_looked_up(user: Any, serializer: Any, username: Any, email: Any, password: Any) -> None:
    """Where a mail address is unknown authenticate() is not called: no reservation, no signal, and less work."""
    request, identifier = serializer.context["request"], email or username
    attempts = context_for(request).attempts
    if user is not None or not (identifier and password) or len(attempts) > serializer._secguard_attempts:
        return
    credentials = {get_user_model().USERNAME_FIELD: identifier}
    if not _is_refused(request, credentials):
        # What Django does for a name that nobody has: the answer must not come sooner than for a known one.
        get_user_model()().set_password(password)
    user_login_failed.send(__name__, credentials=credentials, request=request)


def _is_refused(request: Any, credentials: dict[str, Any]) -> bool:
    if not reserves_attempts():
        return False
    try:
        SecurityGuardBackend.authenticate(request, **credentials)
    except PermissionDenied:
        return True
    return False


def _on_logged_in(result: object, view: Any) -> None:
    """Without SESSION_LOGIN nobody calls Django's login()."""
    if not context_for(view.request).authenticated:
        get_event_logger().log_login_success(request=view.request, reason="token", **names_of(view.user))
