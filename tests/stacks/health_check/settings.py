"""A site whose health django-health-check looks after."""

from tests import settings as base
from tests.stacks.base import settings

globals().update(
    settings(
        INSTALLED_APPS=[*base.INSTALLED_APPS, "health_check"],
        ROOT_URLCONF="tests.stacks.health_check.urls",
        SECGUARD={"TRUSTED_PROXIES": ["127.0.0.1"], "SYNC_INTERVAL": 0},
    )
)
