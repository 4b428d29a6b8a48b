"""Views that django-ratelimit limits: by an exception, and by a mark on the request."""

from __future__ import annotations

from django.contrib.auth.views import LoginView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django_ratelimit.decorators import ratelimit


@ratelimit(key="ip", rate="2/h")
def blocked(request: HttpRequest) -> HttpResponse:
    return HttpResponse("fine")


@ratelimit(key="ip", rate="2/h", block=False)
def marked(request: HttpRequest) -> HttpResponse:
    return HttpResponse("slow down" if request.limited else "fine")


def denied(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


def too_many(request: HttpRequest, exception: Exception) -> HttpResponse:
    return HttpResponse("too many", status=429)


urlpatterns = [
    path("blocked/", blocked, name="blocked"),
    path("marked/", marked, name="marked"),
    path("denied/", denied, name="denied"),
    path("login/", ratelimit(key="ip", rate="2/h", method="POST")(LoginView.as_view()), name="login"),
]
