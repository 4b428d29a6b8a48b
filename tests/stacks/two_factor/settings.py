"""A site with django-two-factor-auth's login, setup and profile."""

from tests import settings as base
from tests.stacks.base import settings

globals().update(
    settings(
        INSTALLED_APPS=[
            *base.INSTALLED_APPS,
            "django_otp",
            "django_otp.plugins.otp_totp",
            "django_otp.plugins.otp_static",
            "two_factor",
        ],
        MIDDLEWARE=[*base.MIDDLEWARE, "django_otp.middleware.OTPMiddleware"],
        ROOT_URLCONF="tests.stacks.two_factor.urls",
        LOGIN_URL="two_factor:login",
        LOGIN_REDIRECT_URL="/",
        OTP_TOTP_THROTTLE_FACTOR=0,
    )
)
