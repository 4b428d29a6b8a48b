"""A site that django-prometheus measures."""

from tests import settings as base
from tests.stacks.base import SECGUARD, settings

globals().update(
    settings(
        INSTALLED_APPS=["django_prometheus", *base.INSTALLED_APPS],
        MIDDLEWARE=[
            "django_prometheus.middleware.PrometheusBeforeMiddleware",
            *base.MIDDLEWARE,
            "django_prometheus.middleware.PrometheusAfterMiddleware",
        ],
        ROOT_URLCONF="tests.stacks.prometheus.urls",
        SECGUARD={**SECGUARD, "SYNC_INTERVAL": 0, "MAX_LINES_PER_MINUTE": 2},
    )
)
