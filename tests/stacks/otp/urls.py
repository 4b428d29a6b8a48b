"""django-otp's own login and admin, and a page for the verified."""

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django_otp.admin import OTPAdminSite
from django_otp.decorators import otp_required
from django_otp.views import LoginView


def home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("welcome")


@otp_required
def vault(request: HttpRequest) -> HttpResponse:
    return HttpResponse("gold")


urlpatterns = [
    path("", home, name="home"),
    path("vault/", vault, name="vault"),
    path("login/", LoginView.as_view(), name="login"),
    path("admin/", OTPAdminSite(OTPAdminSite.name).urls),
]
