"""Django's own login."""

from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.urls import path


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("welcome")


urlpatterns = [path("", home, name="home"), path("login/", LoginView.as_view(), name="login")]
