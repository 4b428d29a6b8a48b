"""Django's own login."""

from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.urls import path


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("welcome")


def client_ip(request: HttpRequest) -> str:
    """Who comes, as the proxy in front says."""
    return str(request.META.get("HTTP_X_FORWARDED_FOR", ""))


urlpatterns = [path("", home, name="home"), path("login/", LoginView.as_view(), name="login")]
