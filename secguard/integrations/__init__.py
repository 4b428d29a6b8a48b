"""Doors beyond Django's own signals: one file for each package, imported only where that package is in use."""

from __future__ import annotations

from importlib import import_module

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from secguard.conf import get_settings
from secguard.failures import report_failure

#: Module of this package → the apps by any of which it is loaded.
DOORS: dict[str, tuple[str, ...]] = {
    "django_admin": ("django.contrib.admin",),
    "simplejwt": ("rest_framework_simplejwt", "rest_framework_simplejwt.token_blacklist"),
    "dj_rest_auth": ("dj_rest_auth",),
    "allauth": ("allauth.account",),
    "allauth_mfa": ("allauth.mfa",),
    "otp": ("django_otp",),
    "two_factor": ("two_factor",),
    "prometheus": ("django_prometheus",),
}


def install() -> None:
    """Open every door whose package is in use. One that cannot be opened is reported, and stops nothing."""
    for name, labels in DOORS.items():
        try:
            if _is_wanted(name, labels):
                import_module(f"{__name__}.{name}").install()
        except Exception:
            report_failure("the integration %s could not be loaded: its events are not seen", name)


def _is_wanted(name: str, labels: tuple[str, ...]) -> bool:
    if name == "prometheus" and (chosen := _metrics()) != "auto":
        return chosen == "on"
    return any(map(apps.is_installed, labels)) or (name == "simplejwt" and _names_simplejwt())


def _metrics() -> str:
    try:
        return get_settings().metrics
    except ImproperlyConfigured:
        return "off"  # the system checks name what is wrong, and the middleware refuses to start


def _names_simplejwt() -> bool:
    """simplejwt works without being an app: REST framework's settings name it."""
    named = getattr(settings, "REST_FRAMEWORK", {}).get("DEFAULT_AUTHENTICATION_CLASSES", ())
    return any("simplejwt" in str(each) for each in named)
