"""An API with dj-rest-auth alone: opaque tokens, mail addresses looked up by itself."""

from tests import settings as base
from tests.stacks.base import settings

globals().update(
    settings(
        INSTALLED_APPS=[*base.INSTALLED_APPS, "rest_framework", "rest_framework.authtoken", "dj_rest_auth"],
        ROOT_URLCONF="tests.stacks.dj_rest_auth.urls",
        REST_AUTH={"PASSWORD_RESET_USE_SITES_DOMAIN": False},
    )
)
