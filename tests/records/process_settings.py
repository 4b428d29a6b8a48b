"""Settings of a worker in a process of its own: a database in a file, a store that all share, nothing waits long."""

import os
from typing import Any

from tests.settings import *  # noqa: F403

_patience: Any = {"timeout": float(os.environ.get("PROCESS_PATIENCE", "10")), "transaction_mode": "IMMEDIATE"}
_without_fail: Any = {"IGNORE_EXCEPTIONS": True}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["PROCESS_DATABASE"],
        "OPTIONS": _patience,
    }
}
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ["PROCESS_REDIS"],
        "OPTIONS": _without_fail,
    }
}
SECGUARD = {
    "SYNC_INTERVAL": 0.05,
    "STORE_TIMEOUT": 5,
    "HMAC_KEY": "a key that all processes share",
    "TRAP_PATHS": ["/wp-login.php"],
}
MIDDLEWARE = [name for name in MIDDLEWARE if "Csrf" not in name]  # noqa: F405
