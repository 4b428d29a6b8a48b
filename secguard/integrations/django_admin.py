"""The admin's login: a right password of somebody who is no staff is no wrong guess.

Django sends neither user_logged_in nor user_login_failed there, so that without this the attempt would stay
unknown, which limits like a failure.
"""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.admin.sites import all_sites
from django.contrib.auth.base_user import AbstractBaseUser

from secguard.failures import report_failure
from secguard.logging import get_event_logger


class GuardedAdminAuthenticationForm(AdminAuthenticationForm):
    """Says that the password was right, then lets Django decide whether that is enough.

    An admin site with a ``login_form`` of its own can inherit from it.
    """

    def confirm_login_allowed(self, user: AbstractBaseUser) -> None:
        try:
            get_event_logger().attempt_passed(request=self.request, user=user)
        except Exception:
            report_failure("a right password at the admin's login could not be settled")
        super().confirm_login_allowed(user)  # type: ignore[arg-type] # the stubs ask for AbstractUser


def install() -> None:
    """Give the form to every admin site that has none of its own."""
    for site in {admin.site, *all_sites}:
        if site.login_form is None:
            site.login_form = GuardedAdminAuthenticationForm
