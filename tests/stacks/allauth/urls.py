"""allauth's own pages."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("welcome")


urlpatterns = [path("", home, name="home"), path("accounts/", include("allauth.urls"))]
