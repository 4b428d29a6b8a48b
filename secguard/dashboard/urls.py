"""Where an admin site has the dashboard: beside the list of events, since that is whose permission it asks for."""

from __future__ import annotations

from functools import partial

from django.contrib.admin import AdminSite
from django.urls import URLPattern, path

from secguard.dashboard import views


def urlpatterns(site: AdminSite) -> list[URLPattern]:
    """For ``ModelAdmin.get_urls()``, before the patterns of the admin's own."""
    return [
        path("dashboard/", site.admin_view(partial(views.dashboard, site=site)), name="secguard_dashboard"),
        # Not through admin_view, which answers with a login page.
        path("dashboard/data/", partial(views.data, site=site), name="secguard_dashboard_data"),
    ]
