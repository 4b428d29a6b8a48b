"""Settings of a worker in a process of its own: a database in a file, a store that all share, nothing waits long."""

import os

from tests.settings import *  # noqa: F403

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["PROCESS_DATABASE"],
        "OPTIONS": {"timeout": float(os.environ.get("PROCESS_PATIENCE", "10")), "transaction_mode": "IMMEDIATE"},
    }
}
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ["PROCESS_REDIS"],
        "OPTIONS": {"IGNORE_EXCEPTIONS": True},
    }
}
SECGUARD = {"SYNC_INTERVAL": 0.05, "STORE_TIMEOUT": 5, "HMAC_KEY": "a key that all processes share"}
MIDDLEWARE = [name for name in MIDDLEWARE if "Csrf" not in name]  # noqa: F405
