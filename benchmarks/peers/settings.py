"""Settings of the one site that all candidates guard; the environment says which one does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benchmarks.peers.candidates import BY_KEY

candidate = BY_KEY[os.environ["PEERS_CANDIDATE"]]
folder = Path(os.environ["PEERS_FOLDER"])
store = os.environ["PEERS_STORE"]
#: Seconds that a candidate's own client may wait for the store; none is what the packages come with.
patience = os.environ.get("PEERS_STORE_TIMEOUT", "")

FAST_HASHER = "django.contrib.auth.hashers.MD5PasswordHasher"
SLOW_HASHER = "sample_project.hashers.CountingPBKDF2PasswordHasher"

SECRET_KEY = "benchmark-" + "0" * 50
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "benchmarks.site"
USE_TZ = True
LOGIN_REDIRECT_URL = "/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = [SLOW_HASHER, FAST_HASHER] if os.environ.get("PEERS_SLOW") else [FAST_HASHER, SLOW_HASHER]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    *candidate.apps,
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    *candidate.early_middleware,
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    *candidate.late_middleware,
]
AUTHENTICATION_BACKENDS = [*candidate.backends, "django.contrib.auth.backends.ModelBackend"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.locmem.Loader",
                    {"registration/login.html": "<form method=post>{{ form }}</form>"},
                ),
                "django.template.loaders.app_directories.Loader",
            ]
        },
    }
]
# Tuned and kept open, so that those who write to the database do not pay for reconnecting and for fsync.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(folder / f"{candidate.key}.sqlite3"),
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
_timeouts = {name: float(patience) for name in ("SOCKET_TIMEOUT", "SOCKET_CONNECT_TIMEOUT") if patience}
CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": store, "OPTIONS": _timeouts}}

# What a candidate says goes into a file, as in production: lines of text, or JSON where secguard writes them.
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"text": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {
        "file": {"class": "logging.FileHandler", "filename": str(folder / f"{candidate.key}.log"), "formatter": "text"}
    },
    "root": {"handlers": ["file"], "level": "WARNING"},
}
if "secguard" in candidate.apps:
    LOGGING["formatters"]["json"] = {"()": "secguard.formatters.SecurityJsonFormatter"}
    LOGGING["handlers"]["events"] = {**LOGGING["handlers"]["file"], "formatter": "json"}
    LOGGING["loggers"] = {"security.events": {"handlers": ["events"], "level": "INFO", "propagate": False}}

_query = "&".join(f"{name.lower()}={seconds}" for name, seconds in _timeouts.items())
globals().update(candidate.settings(f"{store}?{_query}" if _query else store))
