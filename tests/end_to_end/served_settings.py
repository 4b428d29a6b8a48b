"""Settings of the test site where processes of its own serve it."""

import json
import os

from tests.settings import *  # noqa: F403

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["SERVED_DB"],
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
SECGUARD = json.loads(os.environ["SERVED_SECGUARD"])
MIDDLEWARE = [name for name in MIDDLEWARE if "Csrf" not in name]  # noqa: F405
PASSWORD_HASHERS = [os.environ.get("SERVED_HASHER") or "sample_project.hashers.CountingPBKDF2PasswordHasher"]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"security": {"()": "secguard.formatters.SecurityJsonFormatter"}},
    "handlers": {
        "security": {
            "class": "logging.FileHandler",
            "filename": os.environ["SERVED_LOG"],
            "formatter": "security",
        },
    },
    "loggers": {"security.events": {"handlers": ["security"], "level": "INFO", "propagate": False}},
}
