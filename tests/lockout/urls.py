"""The test site's addresses, with those of a password reset and of the unlock links."""

from typing import Any

from django.contrib.auth.views import PasswordResetConfirmView
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, reverse_lazy

from tests import urls


def change_password(request: HttpRequest) -> HttpResponse:
    """Saves a new password, and is no password reset."""
    request.user.set_password(request.POST["password"])
    request.user.save()
    return HttpResponse("changed")


class ResetAndCrashError(Exception):
    """Raised by the page that fails after the password was saved."""


class CrashingResetView(PasswordResetConfirmView):
    def form_valid(self, form: Any) -> HttpResponse:
        super().form_valid(form)
        raise ResetAndCrashError


urlpatterns = [
    *urls.urlpatterns,
    path("security/", include("secguard.urls")),
    path("change/", change_password),
    path(
        "reset/<uidb64>/<token>/",
        PasswordResetConfirmView.as_view(success_url=reverse_lazy("healthz")),
        name="reset",
    ),
    path(
        "crash/<uidb64>/<token>/",
        CrashingResetView.as_view(success_url=reverse_lazy("healthz")),
        name="crash",
    ),
]
