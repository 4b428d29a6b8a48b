"""A site that django-axes guards, and where secguard looks on."""

from tests import settings as base
from tests.stacks.base import SECGUARD, settings

globals().update(
    settings(
        INSTALLED_APPS=[*base.INSTALLED_APPS, "axes"],
        MIDDLEWARE=[*base.MIDDLEWARE, "axes.middleware.AxesMiddleware"],
        AUTHENTICATION_BACKENDS=[
            "secguard.backends.SecurityGuardBackend",
            "axes.backends.AxesStandaloneBackend",
            "django.contrib.auth.backends.ModelBackend",
        ],
        ROOT_URLCONF="tests.stacks.axes.urls",
        SECGUARD={**SECGUARD, "MODE": "monitor"},
        AXES_FAILURE_LIMIT=6,
        AXES_LOCKOUT_PARAMETERS=["ip_address"],
        AXES_CLIENT_IP_CALLABLE="tests.stacks.axes.urls.client_ip",
        LOGIN_REDIRECT_URL="/",
    )
)
