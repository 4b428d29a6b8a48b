"""Settings of the sample site.

It runs as it stands, on SQLite and the in-process cache. Environment variables choose the rest:

``REDIS_URL``              a Redis-protocol server for the cache, and so for secguard's counters
``SAMPLE_CACHE_PREFIX``    keeps two sites' caches apart on one server (their counters, HMAC_KEY does)
``SAMPLE_DB``              the SQLite file
``SAMPLE_SECRET_KEY``      the secret key
``SAMPLE_SECGUARD``        a JSON object that overrides keys of ``SECGUARD``
``SAMPLE_LOG_FILE``        a file for the security events, instead of standard error
``SAMPLE_CHECK_COUNTER``   a file that grows by one byte for each password hashed
"""

import json
import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent

# Published, so good for a site nobody else can reach and for nothing more.
SECRET_KEY = os.environ.get("SAMPLE_SECRET_KEY", "for-the-sample-site-only-not-a-secret-at-all-0123456789")
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "sample_project",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "secguard",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    # Before the session: a refused request costs neither a session nor a query.
    "secguard.middleware.SecurityGuardMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "sample_project.content_policy.ContentPolicyMiddleware",
]

AUTHENTICATION_BACKENDS = [
    # First: an attempt is reserved before any password is looked at.
    "secguard.backends.SecurityGuardBackend",
    "django.contrib.auth.backends.ModelBackend",
]

# Durations are seconds. TRUSTED_PROXIES: the address of a proxy in front; an empty list says that there is none.
SECGUARD: dict[str, Any] = {
    "MODE": "enforce",
    "TRUSTED_PROXIES": [],
    # A key of its own, so that changing SECRET_KEY does not forget who is being counted.
    "HMAC_KEY": "for-the-sample-site-only-not-a-key-at-all-0123456789",
    **json.loads(os.environ.get("SAMPLE_SECGUARD", "{}")),
}

CACHES: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ["REDIS_URL"],
        "KEY_PREFIX": os.environ.get("SAMPLE_CACHE_PREFIX", "sample"),
        "OPTIONS": {"SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1},
    }
    if os.environ.get("REDIS_URL")
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SAMPLE_DB", str(BASE_DIR / "db.sqlite3")),
        # Several workers write at once: they queue for the write lock instead of failing on it.
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

PASSWORD_HASHERS = ["sample_project.hashers.CountingPBKDF2PasswordHasher"]

# The app attaches its own handler as long as nothing is configured for the logger "security.events".
if log_file := os.environ.get("SAMPLE_LOG_FILE"):
    LOGGING = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"security": {"()": "secguard.formatters.SecurityJsonFormatter"}},
        "handlers": {
            "security": {"class": "logging.FileHandler", "filename": log_file, "formatter": "security"},
        },
        "loggers": {
            "security.events": {"handlers": ["security"], "level": "INFO", "propagate": False},
        },
    }

ROOT_URLCONF = "sample_project.urls"
WSGI_APPLICATION = "sample_project.wsgi.application"
ASGI_APPLICATION = "sample_project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
