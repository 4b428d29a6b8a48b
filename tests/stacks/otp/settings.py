"""A site whose logins ask for a one-time password."""

from pathlib import Path

from tests import settings as base
from tests.stacks.base import settings

globals().update(
    settings(
        INSTALLED_APPS=[
            *base.INSTALLED_APPS,
            "django_otp",
            "django_otp.plugins.otp_totp",
            "django_otp.plugins.otp_static",
        ],
        MIDDLEWARE=[*base.MIDDLEWARE, "django_otp.middleware.OTPMiddleware"],
        ROOT_URLCONF="tests.stacks.otp.urls",
        LOGIN_REDIRECT_URL="/",
        OTP_LOGIN_URL="/login/",
        LOGIN_URL="/login/",
        # Its own throttling would answer before a second guess is looked at.
        OTP_TOTP_THROTTLE_FACTOR=0,
        TEMPLATES=[{**base.TEMPLATES[0], "DIRS": [Path(__file__).parent / "templates"]}],
    )
)
