"""Where the counters live. The store follows from CACHE_ALIAS or REDIS_URL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

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

__all__ = [
    "CacheStore",
    "ClusterStore",
    "MemoryStore",
    "RedisStore",
    "ResilientStore",
    "SentinelStore",
    "choose_store",
]

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
        return _redis_store(_location(config), settings.store_timeout, _connection_options(config))
    if backend in PER_PROCESS_BACKENDS:
        return MemoryStore()
    caches[settings.cache_alias]  # what is wrong with it shows now
    # Not the cache itself: that belongs to the thread that asked first, and not every client may be shared.
    return CacheStore(ConnectionProxy(caches, settings.cache_alias), timeout=settings.store_timeout)


def _is_redis(backend: str) -> bool:
    """Is it one of the two Redis caches, or made from one? A project may have subclassed it."""
    if backend in _REDIS_BACKENDS:
        return True
    ancestors = getattr(import_string(backend), "__mro__", ())
    return any(f"{cls.__module__}.{cls.__qualname__}" in _REDIS_BACKENDS for cls in ancestors)


def _location(config: dict[str, Any]) -> str:
    """The primary: with several locations both Redis caches write to the first."""
    location = config.get("LOCATION", "")
    options = config.get("OPTIONS") or {}
    named = f"{options.get('CLIENT_CLASS')} {options.get('CONNECTION_POOL_CLASS')}"
    if "Sentinel" in named and not options.get("SENTINELS"):
        raise ImproperlyConfigured(
            "The cache finds its server by Sentinel, and its OPTIONS name no SENTINELS. List them there as "
            "(host, port), or set SECGUARD['REDIS_URL'] to redis+sentinel://host:26379/service/0."
        )
    several = location if isinstance(location, (list, tuple)) else str(location).replace(";", ",").split(",")
    first, sentinels = str(several[0]).strip(), options.get("SENTINELS")
    return _sentinel_url(first, sentinels) if sentinels else first


def _sentinel_url(location: str, sentinels: Iterable[tuple[str, int]]) -> str:
    """django-redis names the service where the host stands, and the Sentinels in an option."""
    parts = urlsplit(location)
    user, at, _ = parts.netloc.rpartition("@")
    hosts = ",".join(f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}" for host, port in sentinels)
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name != "is_master"])
    path = f"/{parts.hostname}{parts.path if parts.path.strip('/') else '/0'}"
    return urlunsplit((f"{parts.scheme}+sentinel", f"{user}{at}{hosts}", path, query, ""))


def _connection_options(config: dict[str, Any]) -> dict[str, Any]:
    """What a redis-py connection needs to know, from either cache's OPTIONS; never its time-outs or retries."""
    options = dict(config.get("OPTIONS") or {})
    given = dict(options.pop("CONNECTION_POOL_KWARGS", None) or {})
    if options.get("PASSWORD"):
        given["password"] = options["PASSWORD"]
    for name, value in options.items():
        if name.islower():
            given[name] = value
    found = {name: value for name, value in given.items() if name in _CONNECTION_OPTIONS or name.startswith("ssl_")}
    if options.get("SENTINELS") and options.get("SENTINEL_KWARGS"):
        asked = dict(options["SENTINEL_KWARGS"])
        found["sentinel_options"] = {
            name: asked[name] for name in asked if name in ("username", "password", "ssl") or name.startswith("ssl_")
        }
    return found


_CONNECTION_OPTIONS = ("db", "username", "password", "client_name", "credential_provider", "socket_keepalive")


def _redis_store(url: str, timeout: float, options: dict[str, Any]) -> Store:
    kinds = {"cluster": "ClusterStore", "sentinel": "SentinelStore"}
    kind = kinds.get(urlsplit(url).scheme.partition("+")[2], "RedisStore")
    try:
        redis_store = import_string(f"secguard.stores.redis.{kind}")
    except ImportError as error:
        raise ImproperlyConfigured(
            "The counters are to live in Redis, but redis-py is not installed. "
            "Install the extra: pip install 'django-secguard[redis]'."
        ) from error
    try:
        store: Store = redis_store(url, timeout=timeout, **options)
    except ValueError as error:
        # The URL is not repeated: it may hold a password.
        raise ImproperlyConfigured(f"The URL of the store is wrong: {error}.") from None
    return store


def __getattr__(name: str) -> Any:
    # redis-py is optional: the names are there for all, the import for those who use it.
    if name in ("RedisStore", "ClusterStore", "SentinelStore"):
        return import_string(f"secguard.stores.redis.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
