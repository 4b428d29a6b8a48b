"""allauth's own pages. Those for a reset by code it shows only where that is set at start; a test sets it later."""

from allauth.account import views
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("welcome")


urlpatterns = [
    path("", home, name="home"),
    path("reset/code/", views.confirm_password_reset_code, name="account_confirm_password_reset_code"),
    path("reset/complete/", views.complete_password_reset, name="account_complete_password_reset"),
    path("reset/done/", views.password_reset_from_key_done, name="account_password_reset_completed"),
    path("accounts/", include("allauth.urls")),
]
