"""An API whose tokens are JSON web tokens, with a blacklist."""

from tests import settings as base
from tests.stacks.base import settings

globals().update(
    settings(
        INSTALLED_APPS=[*base.INSTALLED_APPS, "rest_framework", "rest_framework_simplejwt.token_blacklist"],
        ROOT_URLCONF="tests.stacks.simplejwt.urls",
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
        },
        SIMPLE_JWT={"CHECK_REVOKE_TOKEN": False, "SIGNING_KEY": "only for these tests, and long enough for HS256"},
    )
)
