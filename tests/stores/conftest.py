"""Every store, behind both of its entry points."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from fakeredis import FakeAsyncRedisConnection, FakeRedisConnection, FakeServer

from secguard.detection.store import Op, Reply
from secguard.stores.cache import CacheStore
from secguard.stores.memory import MemoryStore
from secguard.stores.redis import RedisStore
from tests.stores.drive import Drive, Execute, hang_up

#: Long enough for a machine that is busy with other things: no test here is about the timeout.
PATIENT = 10.0


def _memory(request: pytest.FixtureRequest) -> MemoryStore:
    return MemoryStore()


def _real(request: pytest.FixtureRequest) -> RedisStore:
    return RedisStore(request.getfixturevalue("empty_redis"), timeout=PATIENT)


def _fake(request: pytest.FixtureRequest) -> RedisStore:
    return RedisStore(
        "redis://localhost",
        timeout=PATIENT,
        connection_class=FakeRedisConnection,
        async_connection_class=FakeAsyncRedisConnection,
        server=FakeServer(),
    )


def _locmem(request: pytest.FixtureRequest) -> CacheStore:
    cache = LocMemCache(f"contract-{id(request)}", {"MAX_ENTRIES": 100_000})
    request.addfinalizer(cache.clear)
    return CacheStore(cache)


def _files(request: pytest.FixtureRequest) -> CacheStore:
    directory: Path = request.getfixturevalue("tmp_path")
    return CacheStore(FileBasedCache(str(directory / "cache"), {"MAX_ENTRIES": 100_000}))


STORES: dict[str, Callable[[pytest.FixtureRequest], Any]] = {
    "memory": _memory,
    "redis": _real,
    "fakeredis": _fake,
    "locmem-cache": _locmem,
    "file-cache": _files,
}


@pytest.fixture(params=list(STORES))
def store(request: pytest.FixtureRequest) -> Iterator[Any]:
    built = STORES[request.param](request)
    yield built
    if isinstance(built, RedisStore):
        built.close()


@pytest.fixture(params=["execute", "aexecute"])
def drive(request: pytest.FixtureRequest, store: Any) -> Iterator[Drive]:
    """A record of every store, through every entry point."""
    if request.param == "execute":
        yield Drive(store, store.execute)
        return
    loop = asyncio.new_event_loop()
    try:
        yield Drive(store, _on(loop, store))
    finally:
        loop.run_until_complete(hang_up(store))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _on(loop: asyncio.AbstractEventLoop, store: Any) -> Execute:
    def execute(ops: Sequence[Op], now: int | None) -> list[Reply]:
        return loop.run_until_complete(store.aexecute(ops, now))

    return execute
