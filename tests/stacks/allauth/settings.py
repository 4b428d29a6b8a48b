"""A site whose accounts are allauth's, with second factors and login by code."""

from tests import settings as base
from tests.stacks.base import settings

globals().update(
    settings(
        INSTALLED_APPS=[*base.INSTALLED_APPS, "allauth", "allauth.account", "allauth.mfa"],
        MIDDLEWARE=[*base.MIDDLEWARE, "allauth.account.middleware.AccountMiddleware"],
        AUTHENTICATION_BACKENDS=[
            "secguard.backends.SecurityGuardBackend",
            "allauth.account.auth_backends.AuthenticationBackend",
        ],
        ROOT_URLCONF="tests.stacks.allauth.urls",
        LOGIN_REDIRECT_URL="/",
        # The tests' own form would be taken for allauth's page.
        TEMPLATES=[{**base.TEMPLATES[0], "DIRS": []}],
        ACCOUNT_EMAIL_VERIFICATION="optional",
        ACCOUNT_LOGIN_METHODS={"username", "email"},
        ACCOUNT_LOGIN_BY_CODE_ENABLED=True,
        MFA_SUPPORTED_TYPES=["totp", "recovery_codes"],
        # A code that was right when the test made it is right when it arrives.
        MFA_TOTP_TOLERANCE=1,
    )
)
