"""Which store follows from the settings, and how it reaches its server."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import override_settings
from django_redis.cache import RedisCache as DjangoRedisCache

from secguard import stores
from secguard.conf import parse
from secguard.detection.store import FAIL, Op, Store
from secguard.stores import CacheStore, MemoryStore, RedisStore, choose_store
from tests.stores.drive import ANNA, KEY, LOGIN, NOW, TALLY, number, panel

if TYPE_CHECKING:
    from tests.conftest import RestartableServer

DJANGO_REDIS = "django_redis.cache.RedisCache"
DJANGOS_REDIS = "django.core.cache.backends.redis.RedisCache"
both_redis_caches = pytest.mark.parametrize("backend", [DJANGO_REDIS, DJANGOS_REDIS])


class OurRedisCache(RedisCache):
    pass


class OurDjangoRedisCache(DjangoRedisCache):
    pass


class OurMemoryCache(LocMemCache):
    pass


def chosen(cache: dict[str, Any] | None = None, **raw: Any) -> Store:
    """The store for a project with this one cache."""
    settings, problems = parse(raw, {})
    assert settings is not None, problems
    with override_settings(CACHES={"default": cache or {"BACKEND": stores.PER_PROCESS_BACKENDS[0]}}):
        return choose_store(settings)


def redis_for(backend: str, location: Any, **options: Any) -> RedisStore:
    store = chosen({"BACKEND": backend, "LOCATION": location, "OPTIONS": options}, STORE_TIMEOUT=10)
    assert isinstance(store, RedisStore)
    return store


def count(store: Store) -> int:
    """Fail once more."""
    return store.execute([Op(FAIL, KEY, panel(TALLY), number(1), LOGIN + ANNA)], NOW)[0].counts[0]


@pytest.fixture
def server(restartable_server: RestartableServer) -> redis.Redis:
    return redis.Redis.from_url(restartable_server.url)


@pytest.fixture
def address(server: redis.Redis) -> Iterator[str]:
    """Where the server listens, without a database."""
    yield f"redis://127.0.0.1:{server.connection_pool.connection_kwargs['port']}"
    server.close()


# -- which one ---------------------------------------------------------------------------------------------------


def test_by_default_it_is_the_server_of_the_default_cache() -> None:
    assert isinstance(choose_store(), MemoryStore)
    with override_settings(CACHES={"default": {"BACKEND": DJANGO_REDIS, "LOCATION": "redis://h"}}):
        assert isinstance(choose_store(), RedisStore)


@pytest.mark.parametrize(
    "backend", [DJANGO_REDIS, DJANGOS_REDIS, f"{__name__}.OurRedisCache", f"{__name__}.OurDjangoRedisCache"]
)
def test_a_redis_cache_gives_exact_and_shared_counters(backend: str) -> None:
    store = redis_for(backend, "redis://h:6379/1")
    assert (store.shared, store.exact) == (True, True)


@pytest.mark.parametrize("backend", stores.PER_PROCESS_BACKENDS)
def test_a_cache_of_one_process_gives_counters_in_memory(backend: str) -> None:
    store = chosen({"BACKEND": backend})
    assert isinstance(store, MemoryStore)
    assert not store.shared


def test_a_file_cache_gives_counters_in_the_cache(tmp_path: Path) -> None:
    store = chosen({"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(tmp_path)})
    assert isinstance(store, CacheStore)
    assert count(store) == 1


@pytest.mark.django_db
def test_a_database_cache_gives_counters_in_the_cache() -> None:
    cache = {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "counters"}
    with override_settings(CACHES={"default": cache}):
        call_command("createcachetable")
        store = choose_store()
        assert isinstance(store, CacheStore)
        assert count(store) == 1


def test_a_memory_cache_of_the_projects_own_is_used_as_any_cache() -> None:
    assert isinstance(chosen({"BACKEND": f"{__name__}.OurMemoryCache"}), CacheStore)


def test_the_alias_says_which_cache() -> None:
    settings, _ = parse({"CACHE_ALIAS": "counters"}, {})
    caches = {
        "default": {"BACKEND": stores.PER_PROCESS_BACKENDS[0]},
        "counters": {"BACKEND": DJANGO_REDIS, "LOCATION": "redis://h"},
    }
    with override_settings(CACHES=caches):
        assert isinstance(choose_store(settings), RedisStore)


@pytest.mark.parametrize(
    "options",
    [
        {"CLIENT_CLASS": "django_redis.client.SentinelClient"},
        {"CONNECTION_POOL_CLASS": "redis.sentinel.SentinelConnectionPool"},
    ],
)
def test_a_server_behind_sentinel_is_refused_rather_than_taken_for_a_hosts_name(options: dict[str, str]) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"Sentinel.*\n?.*REDIS_URL"):
        redis_for(DJANGO_REDIS, "redis://mymaster/0", **options)


def test_an_alias_that_no_cache_has_names_those_there_are() -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        chosen(CACHE_ALIAS="counters")
    text = str(raised.value)
    assert "SECGUARD['CACHE_ALIAS'] is 'counters'" in text
    assert "'default'" in text
    assert "REDIS_URL" in text


def test_a_url_beats_the_cache(restartable_server: RestartableServer) -> None:
    store = chosen(REDIS_URL=restartable_server.url, STORE_TIMEOUT=10)
    assert isinstance(store, RedisStore)
    assert count(store) == 1
    store.close()


def test_a_url_needs_no_cache_at_all() -> None:
    assert isinstance(chosen(REDIS_URL="redis://h", CACHE_ALIAS="no such cache"), RedisStore)


def test_without_redis_py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    for name in [name for name in sys.modules if name.startswith("secguard.stores.redis")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'django-secguard\[redis\]'"):
        chosen(REDIS_URL="redis://h")


def test_without_redis_py_the_other_stores_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    for name in [name for name in sys.modules if name.startswith("secguard.stores.redis")]:
        monkeypatch.delitem(sys.modules, name)
    assert isinstance(chosen(), MemoryStore)
    with pytest.raises(ImportError):
        _ = stores.RedisStore


def test_the_module_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'MemcachedStore'"):
        _ = stores.MemcachedStore


# -- how it reaches the server -------------------------------------------------------------------------------------


@both_redis_caches
def test_the_database_of_the_options_is_used(backend: str, address: str, server: redis.Redis) -> None:
    store = redis_for(backend, address, db=5)
    assert count(store) == 1
    store.close()
    assert server.dbsize() == 0
    server.select(5)
    assert server.dbsize() == 1


@both_redis_caches
def test_the_database_of_the_location_is_used(backend: str, address: str, server: redis.Redis) -> None:
    store = redis_for(backend, f"{address}/7")
    assert count(store) == 1
    store.close()
    server.select(7)
    assert server.dbsize() == 1


def test_django_redis_passes_options_through_its_pool(address: str, server: redis.Redis) -> None:
    store = redis_for(DJANGO_REDIS, address, CONNECTION_POOL_KWARGS={"db": 3, "max_connections": 100})
    assert count(store) == 1
    store.close()
    server.select(3)
    assert server.dbsize() == 1


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        (DJANGO_REDIS, {"PASSWORD": "s3cr3t"}),
        (DJANGO_REDIS, {"CONNECTION_POOL_KWARGS": {"username": "counter", "password": "s3cr3t"}}),
        (DJANGOS_REDIS, {"username": "counter", "password": "s3cr3t"}),
        (DJANGOS_REDIS, {"password": "s3cr3t"}),
    ],
)
def test_a_password_among_the_options_opens_the_server(
    backend: str, options: dict[str, Any], address: str, server: redis.Redis
) -> None:
    for user in ("counter", "default"):
        server.acl_setuser(user, enabled=True, passwords=["+s3cr3t"], categories=["+@all"], keys=["*"], nopass=False)
    with pytest.raises(redis.AuthenticationError):
        redis_for(backend, address).get_token("blocks")
    store = redis_for(backend, address, **options)
    assert count(store) == 1
    store.close()


@both_redis_caches
@pytest.mark.parametrize(
    "location",
    ["{0}/1,redis://192.0.2.1:1/1", "{0}/1;redis://192.0.2.1:1/1", ["{0}/1", "redis://192.0.2.1:1/1"], ("{0}/1",)],
)
def test_of_several_servers_the_first_is_the_primary(backend: str, location: Any, address: str) -> None:
    given = location.format(address) if isinstance(location, str) else [each.format(address) for each in location]
    store = redis_for(backend, given)
    assert count(store) == 1
    store.close()


@pytest.mark.parametrize(
    "options",
    [{"CONNECTION_POOL_KWARGS": {"ssl_ca_certs": "/ca.pem", "ssl_cert_reqs": "none"}}, {"ssl_ca_certs": "/ca.pem"}],
)
def test_tls_options_are_passed_on(options: dict[str, Any]) -> None:
    store = redis_for(DJANGO_REDIS if "CONNECTION_POOL_KWARGS" in options else DJANGOS_REDIS, "rediss://h", **options)
    assert store._connection_class is redis.SSLConnection
    assert store._options["ssl_ca_certs"] == "/ca.pem"
    store._connection_class(**store._options)  # redis-py takes them all


@both_redis_caches
def test_options_that_are_no_connections_are_left_out(backend: str) -> None:
    store = redis_for(
        backend,
        "redis://h",
        CLIENT_CLASS="django_redis.client.DefaultClient",
        PARSER_CLASS="redis.connection._HiredisParser",
        SERIALIZER="django_redis.serializers.json.JSONSerializer",
        pool_class="redis.BlockingConnectionPool",
        decode_responses=True,
        max_connections=3,
        health_check_interval=30,
        client_name="shop",
    )
    assert store._options["client_name"] == "shop"
    assert store._options["decode_responses"] is False
    assert {"CLIENT_CLASS", "pool_class", "max_connections", "serializer"}.isdisjoint(store._options)
    store._connection_class(**store._options)


@pytest.fixture
def hanging_server() -> Iterator[str]:
    """It accepts, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        (DJANGO_REDIS, {"SOCKET_TIMEOUT": 600, "SOCKET_CONNECT_TIMEOUT": 600}),
        (DJANGO_REDIS, {"CONNECTION_POOL_KWARGS": {"socket_timeout": 600, "retry_on_timeout": True}}),
        (DJANGOS_REDIS, {"socket_timeout": 600, "socket_connect_timeout": 600, "retry_on_error": [redis.TimeoutError]}),
    ],
)
def test_the_projects_own_time_outs_are_not_waited_for(
    backend: str, options: dict[str, Any], hanging_server: str
) -> None:
    store = chosen({"BACKEND": backend, "LOCATION": hanging_server, "OPTIONS": options}, STORE_TIMEOUT=0.05)
    with pytest.raises(redis.TimeoutError):
        count(store)


def test_a_url_of_ones_own_is_waited_for_no_longer(hanging_server: str) -> None:
    store = chosen(REDIS_URL=f"{hanging_server}/0", STORE_TIMEOUT=0.05)
    with pytest.raises(redis.TimeoutError):
        count(store)


def test_a_time_out_in_the_url_does_not_count_either(hanging_server: str) -> None:
    store = chosen(REDIS_URL=f"{hanging_server}/0?socket_timeout=600&retry_on_timeout=true", STORE_TIMEOUT=0.05)
    with pytest.raises(redis.TimeoutError):
        count(store)
