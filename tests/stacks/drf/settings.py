"""A site with Django REST framework: sessions, HTTP Basic and tokens."""

from tests import settings as base
from tests.stacks.base import settings

globals().update(
    settings(
        INSTALLED_APPS=[*base.INSTALLED_APPS, "rest_framework", "rest_framework.authtoken"],
        ROOT_URLCONF="tests.stacks.drf.urls",
    )
)
