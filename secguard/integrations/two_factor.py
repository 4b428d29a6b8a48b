"""django-two-factor-auth, on top of django-otp: the first step of its login, and its own signal of the second."""

from __future__ import annotations

from typing import Any

from two_factor import signals
from two_factor.views.core import LoginView

from secguard.doors.patching import harmless, observe
from secguard.integrations.otp import first_step_passed, second_factor_passed


def install() -> None:
    observe(LoginView, "process_step", after=_on_step)
    signals.user_verified.connect(_on_verified, weak=False, dispatch_uid="secguard.two_factor.verified")


def _on_step(result: object, view: Any, form: Any) -> None:
    user = getattr(form, "user_cache", None)  # of the form with name and password, once they were right
    if view.steps.current == view.AUTH_STEP and user is not None:
        first_step_passed(user)


@harmless
def _on_verified(sender: object, request: Any = None, user: Any = None, **kwargs: Any) -> None:
    second_factor_passed(user, request)
