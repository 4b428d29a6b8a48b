"""The test site's addresses: every page twice, once for sync views and once for async ones."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, PasswordChangeView, PasswordResetConfirmView, PasswordResetView
from django.urls import include, path

from tests import views

urlpatterns = [
    path("sync/", include((views.sync_patterns, "sync"))),
    path("async/", include((views.async_patterns, "async"))),
    path("healthz", views.sync_pages.home, name="healthz"),
    path("accounts/login/", LoginView.as_view(), name="login"),
    path("accounts/logged-in/", views.sync_pages.whoami, name="logged-in"),
    path("accounts/change/", PasswordChangeView.as_view(success_url="/"), name="password_change"),
    path("accounts/reset/", PasswordResetView.as_view(success_url="/"), name="password_reset"),
    path("accounts/reset/<uidb64>/<token>/", PasswordResetConfirmView.as_view(), name="password_reset_confirm"),
    path("api/", views.Api.as_view(), name="api"),
    path("admin/", admin.site.urls),
]
