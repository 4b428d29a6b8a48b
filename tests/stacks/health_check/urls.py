"""The page of django-health-check, with our check: as it is, and strict."""

from django.urls import path
from health_check.views import HealthCheckView

CHECK = "secguard.integrations.health_check.SecguardHealthCheck"

urlpatterns = [
    path("ready/", HealthCheckView.as_view(checks=[CHECK])),
    path("strict/", HealthCheckView.as_view(checks=[(CHECK, {"strict": True})])),
]
