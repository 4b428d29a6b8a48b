"""Where the counters live. The store follows from CACHE_ALIAS or REDIS_URL."""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.utils.connection import ConnectionProxy
from django.utils.module_loading import import_string

from secguard.conf import Settings, get_settings
from secguard.detection.store import Store
from secguard.stores.cache import CacheStore
from secguard.stores.memory import MemoryStore
from secguard.stores.resilient import ResilientStore

__all__ = ["CacheStore", "MemoryStore", "RedisStore", "ResilientStore", "choose_store"]

_REDIS_BACKENDS = ("django_redis.cache.RedisCache", "django.core.cache.backends.redis.RedisCache")
#: Django's own backends that no other process sees: counted in memory, exactly, which is as far as they reach.
PER_PROCESS_BACKENDS = (
    "django.core.cache.backends.locmem.LocMemCache",
    "django.core.cache.backends.dummy.DummyCache",
)


def choose_store(settings: Settings | None = None) -> Store:
    """The store that the settings ask for. Raises ImproperlyConfigured, which says what to change."""
    settings = settings or get_settings()
    if settings.redis_url:
        return _redis_store(settings.redis_url, settings.store_timeout, {})
    config = django_settings.CACHES.get(settings.cache_alias)
    if config is None:
        raise ImproperlyConfigured(
            f"SECGUARD['CACHE_ALIAS'] is {settings.cache_alias!r}, which is no key of settings.CACHES. "
            f"Use one of {', '.join(map(repr, django_settings.CACHES))}, or set SECGUARD['REDIS_URL']."
        )
    backend = config.get("BACKEND", "")
    if _is_redis(backend):
        _refuse_sentinel(config)
        return _redis_store(_location(config), settings.store_timeout, _connection_options(config))
    if backend in PER_PROCESS_BACKENDS:
        return MemoryStore()
    caches[settings.cache_alias]  # what is wrong with it shows now
    # Not the cache itself: that belongs to the thread that asked first, and not every client may be shared.
    return CacheStore(ConnectionProxy(caches, settings.cache_alias))


def _is_redis(backend: str) -> bool:
    """Is it one of the two Redis caches, or made from one? A project may have subclassed it."""
    if backend in _REDIS_BACKENDS:
        return True
    ancestors = getattr(import_string(backend), "__mro__", ())
    return any(f"{cls.__module__}.{cls.__qualname__}" in _REDIS_BACKENDS for cls in ancestors)


def _refuse_sentinel(config: dict[str, Any]) -> None:
    options = config.get("OPTIONS") or {}
    if "Sentinel" in f"{options.get('CLIENT_CLASS')} {options.get('CONNECTION_POOL_CLASS')}":
        raise ImproperlyConfigured(
            "The cache finds its server by Sentinel, which secguard does not do yet. "
            "Set SECGUARD['REDIS_URL'] to the server, or let CACHE_ALIAS name another cache."
        )


def _location(config: dict[str, Any]) -> str:
    """The primary: with several locations both Redis caches write to the first."""
    location = config.get("LOCATION", "")
    first = location if isinstance(location, (list, tuple)) else str(location).replace(";", ",").split(",")
    return str(first[0]).strip()


def _connection_options(config: dict[str, Any]) -> dict[str, Any]:
    """What a redis-py connection needs to know, from either cache's OPTIONS; never its time-outs or retries."""
    options = dict(config.get("OPTIONS") or {})
    given = dict(options.pop("CONNECTION_POOL_KWARGS", None) or {})
    if options.get("PASSWORD"):
        given["password"] = options["PASSWORD"]
    for name, value in options.items():
        if name.islower():
            given[name] = value
    return {name: value for name, value in given.items() if name in _CONNECTION_OPTIONS or name.startswith("ssl_")}


_CONNECTION_OPTIONS = ("db", "username", "password", "client_name", "credential_provider", "socket_keepalive")


def _redis_store(url: str, timeout: float, options: dict[str, Any]) -> Store:
    try:
        redis_store = import_string("secguard.stores.redis.RedisStore")
    except ImportError as error:
        raise ImproperlyConfigured(
            "The counters are to live in Redis, but redis-py is not installed. "
            "Install the extra: pip install 'django-secguard[redis]'."
        ) from error
    store: Store = redis_store(url, timeout=timeout, **options)
    return store


def __getattr__(name: str) -> Any:
    # redis-py is optional: the name is there for all, the import for those who use it.
    if name == "RedisStore":
        return import_string("secguard.stores.redis.RedisStore")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
