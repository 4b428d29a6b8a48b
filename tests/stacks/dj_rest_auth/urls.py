"""dj-rest-auth's own views, and the page that its mails lead to."""

from django.contrib.auth.views import PasswordResetConfirmView
from django.urls import include, path

urlpatterns = [
    path("auth/", include("dj_rest_auth.urls")),
    path("reset/<uidb64>/<token>/", PasswordResetConfirmView.as_view(), name="password_reset_confirm"),
]
