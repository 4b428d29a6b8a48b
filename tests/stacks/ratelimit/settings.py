"""A site whose views are limited by django-ratelimit."""

from tests import settings as base
from tests.stacks.base import settings

globals().update(
    settings(
        INSTALLED_APPS=[*base.INSTALLED_APPS, "django_ratelimit"],
        ROOT_URLCONF="tests.stacks.ratelimit.urls",
        # It warns of caches that are not shared; one process serves here.
        SILENCED_SYSTEM_CHECKS=["django_ratelimit.E003", "django_ratelimit.W001"],
        RATELIMIT_VIEW="tests.stacks.ratelimit.urls.too_many",
    )
)
