"""An API with dj-rest-auth on top of allauth, with registration."""

from tests import settings as base
from tests.stacks.base import settings

globals().update(
    settings(
        INSTALLED_APPS=[
            *base.INSTALLED_APPS,
            "django.contrib.sites",
            "allauth",
            "allauth.account",
            "allauth.socialaccount",
            "rest_framework",
            "rest_framework.authtoken",
            "dj_rest_auth",
            "dj_rest_auth.registration",
        ],
        MIDDLEWARE=[*base.MIDDLEWARE, "allauth.account.middleware.AccountMiddleware"],
        AUTHENTICATION_BACKENDS=[
            "secguard.backends.SecurityGuardBackend",
            "allauth.account.auth_backends.AuthenticationBackend",
        ],
        ROOT_URLCONF="tests.stacks.dj_rest_auth_allauth.urls",
        SITE_ID=1,
        ACCOUNT_EMAIL_VERIFICATION="none",
        ACCOUNT_LOGIN_METHODS={"username", "email"},
        # Its own limits are another stack's matter.
        ACCOUNT_RATE_LIMITS=False,
    )
)
