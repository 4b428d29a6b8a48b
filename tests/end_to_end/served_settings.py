"""Settings of the test site where processes of its own serve it."""

import json
import os

from tests.settings import *  # noqa: F403

DATABASES = {
    "default": json.loads(os.environ.get("SERVED_DATABASE", "null"))
    or {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["SERVED_DB"],
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
if "SERVED_SESSIONS" in os.environ:
    SESSION_ENGINE = f"django.contrib.sessions.backends.{os.environ['SERVED_SESSIONS']}"
SECGUARD = json.loads(os.environ["SERVED_SECGUARD"])
ROOT_URLCONF = os.environ.get("SERVED_URLCONF", ROOT_URLCONF)  # noqa: F405
MIDDLEWARE = [name for name in MIDDLEWARE if "Csrf" not in name]  # noqa: F405
if os.environ.get("SERVED_BARE"):  # the same site as if there were no secguard
    INSTALLED_APPS = [name for name in INSTALLED_APPS if name != "secguard"]  # noqa: F405
    MIDDLEWARE = [name for name in MIDDLEWARE if "secguard" not in name]
    AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
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

match os.environ.get("SERVED_BROKEN"):
    case "handler":
        LOGGING["handlers"]["broken"] = {"class": "tests.end_to_end.broken.Handler"}
        LOGGING["loggers"]["security.events"]["handlers"].append("broken")
    case "receivers":
        INSTALLED_APPS = [*INSTALLED_APPS, "tests.end_to_end.broken.Receivers"]
