"""Django's own login, a page that is denied, and the metrics where django-prometheus has them."""

from django.contrib.auth.views import LoginView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("welcome")


def denied(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied


urlpatterns = [
    path("", home, name="home"),
    path("denied/", denied),
    path("accounts/login/", LoginView.as_view(), name="login"),
    path("", include("django_prometheus.urls")),
]
