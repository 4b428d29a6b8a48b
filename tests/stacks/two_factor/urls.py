"""django-two-factor-auth's own pages."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from two_factor.urls import urlpatterns as two_factor_patterns


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("welcome")


urlpatterns = [path("", home, name="home"), path("", include(two_factor_patterns))]
