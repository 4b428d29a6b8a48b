"""The sample site's addresses."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from sample_project import views

urlpatterns = [
    path("", views.home, name="home"),
    path("login/", LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("reports/", views.reports, name="reports"),
    path("pulse/", views.pulse, name="pulse"),
    path("api/status", views.status, name="status"),
    path("security/", include("secguard.urls")),
    path("admin/", admin.site.urls),
]
