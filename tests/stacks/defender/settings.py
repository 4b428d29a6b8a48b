"""A site that django-defender guards, and where secguard looks on. Its store is started by the tests."""

import socket

from tests import settings as base
from tests.stacks.base import SECGUARD, settings

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    DEFENDER_PORT = probe.getsockname()[1]

globals().update(
    settings(
        INSTALLED_APPS=[*base.INSTALLED_APPS, "defender"],
        MIDDLEWARE=[*base.MIDDLEWARE, "defender.middleware.FailedLoginMiddleware"],
        ROOT_URLCONF="tests.stacks.defender.urls",
        SECGUARD={**SECGUARD, "MODE": "monitor"},
        DEFENDER_REDIS_URL=f"redis://127.0.0.1:{DEFENDER_PORT}/0",
        DEFENDER_LOGIN_FAILURE_LIMIT=5,
        DEFENDER_BEHIND_REVERSE_PROXY=True,
        DEFENDER_LOCK_OUT_BY_IP_AND_USERNAME=False,
        LOGIN_REDIRECT_URL="/",
    )
)
