"""System checks: a misuse is named at start, with the way out. The ids are stable, so they can be silenced.

=============== ====================================================================================
secguard.E001   a key of SECGUARD is unknown or its value is out of range
secguard.E002   SECGUARD["LOGGER_CLASS"] cannot be used, or its thresholds are out of range
secguard.E003   the store cannot be had: no such cache, a DummyCache, no redis-py
secguard.E004   SECGUARD["BLOCKED_RESPONSE"] cannot be imported
secguard.E005   the middleware comes after the session's or the authentication's
secguard.E006   the tables are missing (only when databases are checked)
secguard.E007   SECGUARD["DRF_EXCEPTION_HANDLER"] cannot be imported
secguard.W001   the cache is this process's own
secguard.W002   the middleware is missing
secguard.W003   the middleware is there twice
secguard.W004   no guarded backend is in AUTHENTICATION_BACKENDS
secguard.W005   SecurityGuardBackend is not the first backend
secguard.W006   HMAC_KEY is derived from SECRET_KEY (deployment check)
secguard.W007   MODE is overridden by the environment (deployment check)
secguard.W008   the counters are written in the view's transaction, which may be rolled back
secguard.W009   UNLOCK_BASE_URL is set, but the page that the links lead to is not in the URLs
secguard.W012   alerts are to be mailed to ADMINS, which is empty
secguard.W013   SECGUARD["GEOIP_PATH"] is set, but cannot be read
=============== ====================================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.apps import apps
from django.conf import settings as django_settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string

from secguard import geo
from secguard.conf import MODE_VARIABLE, Settings, parse
from secguard.exceptions import InvalidRule
from secguard.logging import SecurityEventLogger, get_event_logger
from secguard.records import UNLOCK_URL_NAME, database
from secguard.stores import PER_PROCESS_BACKENDS, choose_store

MIDDLEWARE = "secguard.middleware.SecurityGuardMiddleware"
BACKEND = "secguard.backends.SecurityGuardBackend"
_AFTER_OURS = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
)

Messages = list[checks.CheckMessage]


def _settings() -> Settings | None:
    return parse(getattr(django_settings, "SECGUARD", {}))[0]


def check_settings(**kwargs: Any) -> Messages:
    _, problems = parse(getattr(django_settings, "SECGUARD", {}))
    return [
        checks.Error(f"SECGUARD[{problem.setting!r}] {problem.problem}.", hint=problem.hint, id="secguard.E001")
        for problem in problems
    ]


def check_logger_class(**kwargs: Any) -> Messages:
    settings = _settings()
    if settings is None:
        return []
    try:
        logger = get_event_logger()
        if not isinstance(logger, SecurityEventLogger):
            raise TypeError(f"{settings.logger_class!r} is no subclass of SecurityEventLogger")
        _ = logger.pipeline
    except (ImportError, TypeError, InvalidRule, ImproperlyConfigured) as error:
        hint = "Name a subclass of secguard.logging.SecurityEventLogger whose thresholds are positive numbers."
        return [checks.Error(f"SECGUARD['LOGGER_CLASS']: {error}.", hint=hint, id="secguard.E002")]
    return []


def check_store(**kwargs: Any) -> Messages:
    settings = _settings()
    if settings is None:
        return []
    try:
        choose_store(settings)
    except (ImproperlyConfigured, ImportError, ValueError) as error:
        hint = "Let SECGUARD['CACHE_ALIAS'] name a cache of settings.CACHES, or set SECGUARD['REDIS_URL']."
        return [checks.Error(f"The counters have no store: {error}", hint=hint, id="secguard.E003")]
    return [] if settings.redis_url else _check_per_process(settings.cache_alias)


def _check_per_process(alias: str) -> Messages:
    backend = django_settings.CACHES[alias].get("BACKEND")
    if backend == PER_PROCESS_BACKENDS[1]:
        hint = "Use a cache that stores something, or set SECGUARD['REDIS_URL']."
        return [checks.Error(f"The cache {alias!r} is a DummyCache: it counts nothing.", hint=hint, id="secguard.E003")]
    if backend == PER_PROCESS_BACKENDS[0]:
        hint = "With several worker processes each counts for itself: use Redis, or another cache they share."
        return [checks.Warning(f"The cache {alias!r} is this process's own.", hint=hint, id="secguard.W001")]
    atomic = any(config.get("ATOMIC_REQUESTS") for config in django_settings.DATABASES.values())
    if backend == "django.core.cache.backends.db.DatabaseCache" and atomic:
        hint = "Use Redis, or a cache outside the database: a view that raises, or a 401 by DRF, forgets the failure."
        message = f"The cache {alias!r} writes in the transactions that ATOMIC_REQUESTS opens."
        return [checks.Warning(message, hint=hint, id="secguard.W008")]
    return []


def check_blocked_response(**kwargs: Any) -> Messages:
    settings = _settings()
    given = settings.blocked_response if settings else None
    if not isinstance(given, str):
        return []
    try:
        found = import_string(given)
    except ImportError as error:
        return [checks.Error(f"SECGUARD['BLOCKED_RESPONSE']: {error}.", hint="Fix the path.", id="secguard.E004")]
    if callable(found) and not iscoroutinefunction(found):
        return []
    hint = "Name a function (request, refusal) → HttpResponse."
    return [
        checks.Error(f"SECGUARD['BLOCKED_RESPONSE'] {given!r} is no plain function.", hint=hint, id="secguard.E004")
    ]


def check_drf_exception_handler(**kwargs: Any) -> Messages:
    settings = _settings()
    given = settings.drf_exception_handler if settings else None
    if not isinstance(given, str):
        return []
    try:
        import_string(given)
    except ImportError as error:
        hint = "Fix the path. Until then REST framework's own handler answers."
        return [checks.Error(f"SECGUARD['DRF_EXCEPTION_HANDLER']: {error}.", hint=hint, id="secguard.E007")]
    return []


def _subclasses_at(paths: Iterable[str], name: str) -> list[int]:
    """Where in a list of dotted paths a class, or one made from it, stands."""
    wanted = import_string(name)
    return [at for at, path in enumerate(paths) if path == name or _is_subclass(path, wanted)]


def _is_subclass(path: str, wanted: type) -> bool:
    try:
        found = import_string(path)
    except ImportError:
        return False  # Django says so itself
    return isinstance(found, type) and issubclass(found, wanted)


def check_middleware(**kwargs: Any) -> Messages:
    middleware: Sequence[str] = django_settings.MIDDLEWARE
    places = _subclasses_at(middleware, MIDDLEWARE)
    if not places:
        hint = f"Add {MIDDLEWARE!r} to MIDDLEWARE, before SessionMiddleware: without it nobody is refused."
        return [checks.Warning("The middleware of secguard is missing.", hint=hint, id="secguard.W002")]
    found: Messages = []
    if len(places) > 1:
        hint = "Leave the first one; the others do nothing."
        found.append(checks.Warning("The middleware of secguard is there twice.", hint=hint, id="secguard.W003"))
    late = [name for name in _AFTER_OURS if name in middleware[: places[0]]]
    if late:
        hint = f"Move {MIDDLEWARE!r} before {late[0]!r}: a refusal must cost no session and no query."
        found.append(checks.Error("The middleware of secguard comes too late.", hint=hint, id="secguard.E005"))
    return found


def check_backends(**kwargs: Any) -> Messages:
    backends: Sequence[str] = django_settings.AUTHENTICATION_BACKENDS
    places = _subclasses_at(backends, BACKEND)
    mixed = _subclasses_at(backends, "secguard.backends.GuardedBackendMixin")
    if not places and not mixed:
        hint = (
            f"Put {BACKEND!r} first in AUTHENTICATION_BACKENDS. Until then failures are counted after the fact: "
            "parallel guesses get past the limit, and the guess that trips a rule is still checked."
        )
        return [checks.Warning("No backend of secguard reserves attempts.", hint=hint, id="secguard.W004")]
    if places and places[0] != 0:
        hint = f"Move {BACKEND!r} to the front: backends before it check passwords without a reservation."
        return [checks.Warning("SecurityGuardBackend is not the first backend.", hint=hint, id="secguard.W005")]
    return []


def check_unlock_page(**kwargs: Any) -> Messages:
    settings = _settings()
    if settings is None or settings.unlock_base_url is None:
        return []
    try:
        reverse(UNLOCK_URL_NAME, args=["token"], urlconf=django_settings.ROOT_URLCONF)
    except NoReverseMatch:
        hint = "Add path('security/', include('secguard.urls')) to your URLs, or unset SECGUARD['UNLOCK_BASE_URL']."
        return [checks.Warning("Unlock links cannot be mailed: no page.", hint=hint, id="secguard.W009")]
    return []


def check_alerts(**kwargs: Any) -> Messages:
    settings = _settings()
    if settings is None or settings.alerts.mail is not True or django_settings.ADMINS:
        return []
    hint = "Name somebody in ADMINS, or give SECGUARD['ALERTS']['mail'] a list of addresses."
    return [checks.Warning("Alerts are to be mailed to ADMINS, and that is empty.", hint=hint, id="secguard.W012")]


def check_country_database(**kwargs: Any) -> Messages:
    settings = _settings()
    if settings is None or settings.geoip_path is None:
        return []
    trouble = geo.why_not(settings.geoip_path)
    if trouble is None:
        return []
    message = "SECGUARD['GEOIP_PATH'] cannot be read: no address has a country."
    return [checks.Warning(message, hint=f"It says: {trouble}", id="secguard.W013")]


def check_deployment(**kwargs: Any) -> Messages:
    settings = _settings()
    found: Messages = []
    if settings is not None and settings.hmac_key_is_derived:
        hint = "Set SECGUARD['HMAC_KEY'], so that a new SECRET_KEY does not forget who is being counted."
        found.append(checks.Warning("HMAC_KEY is derived from SECRET_KEY.", hint=hint, id="secguard.W006"))
    if settings is not None and settings.mode_overridden:
        hint = f"Unset {MODE_VARIABLE} once the emergency is over."
        message = f"SECGUARD['MODE'] is overridden by the environment: {settings.mode}."
        found.append(checks.Warning(message, hint=hint, id="secguard.W007"))
    return found


def check_tables(databases: Sequence[str] | None = None, **kwargs: Any) -> Messages:
    alias = database()
    if not databases or alias not in databases or _runs_migrate():
        return []
    wanted = {model._meta.db_table for model in apps.get_app_config("secguard").get_models()}
    if wanted <= set(connections[alias].introspection.table_names()):
        return []
    hint = "Run 'manage.py migrate secguard'. Until then requests work, but no block outlives its process."
    return [checks.Error("Tables of secguard are missing.", hint=hint, id="secguard.E006")]


def _runs_migrate() -> bool:
    """migrate checks the database first: an error there would forbid the cure."""
    return sys.argv[1:2] == ["migrate"]


_CHECKS = (
    check_settings,
    check_logger_class,
    check_store,
    check_blocked_response,
    check_drf_exception_handler,
    check_middleware,
    check_backends,
    check_unlock_page,
    check_alerts,
    check_country_database,
)


def register() -> None:
    for check in _CHECKS:
        checks.register(check, checks.Tags.security)
    checks.register(check_deployment, checks.Tags.security, deploy=True)
    checks.register(check_tables, checks.Tags.database)
