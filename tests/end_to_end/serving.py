"""Real servers for the tests, on free loopback ports: stopped at the end, whatever happened."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import redis
from django.contrib.auth.hashers import make_password

from sample_project.accounts import PASSWORD
from sample_project.demo import servers

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30
#: The tests' own connections play the proxy that names the attackers. Long waits: it is no matter of time here.
BEHIND_US = {"TRUSTED_PROXIES": ["127.0.0.1"], "STORE_TIMEOUT": 10, "RESERVE_WAIT": 60}
HMAC_KEY = "a key that all processes of a test share"


@contextmanager
def own_store(folder: Path, port: int | None = None) -> Iterator[str]:
    """A store's server that nobody else uses, so that it may be flushed and killed. → its URL"""
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.delenv("REDIS_URL", raising=False)
        if port is not None:
            environment.setattr(servers, "free_port", lambda: port)
        url, _ = stack.enter_context(servers.redis_protocol_server(folder))
        yield url


def port_of(url: str) -> int:
    return urlsplit(url).port or 6379


def kill(url: str) -> None:
    """The store's server ends at once, without a word to its clients."""
    with redis.Redis.from_url(url) as client:
        client.shutdown(nosave=True, now=True)


def migrated_database(path: Path, office: int = 0) -> Path:
    """A SQLite file with the accounts of the sample site."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DJANGO_SETTINGS_MODULE", "sample_project.settings")
        servers.create_database(path, office)
    return path


def quick_database(path: Path) -> Path:
    """The same, with passwords that take no time to check."""
    migrated_database(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE auth_user SET password = ?", [make_password(PASSWORD, hasher="md5")])
    return path


@dataclass(frozen=True)
class Served:
    """The environment of processes that serve the tests' own site, and the files that they write."""

    folder: Path
    database: Path
    redis_url: str
    #: More of the environment: what tests/end_to_end/served_settings.py understands.
    extra: Mapping[str, str] = field(default_factory=dict)

    def environment(self, secguard: Mapping[str, Any], *, hasher: str = "") -> dict[str, str]:
        guard = {"REDIS_URL": self.redis_url, "HMAC_KEY": HMAC_KEY, **BEHIND_US, **secguard}
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.end_to_end.served_settings",
            "SERVED_DB": str(self.database),
            "SERVED_SECGUARD": json.dumps(guard),
            "SERVED_LOG": str(self.folder / "events.jsonl"),
            "SERVED_HASHER": hasher,
            "SAMPLE_CHECK_COUNTER": str(self.folder / "password-checks"),
            **self.extra,
        }

    @property
    def password_checks(self) -> int:
        counter = self.folder / "password-checks"
        return counter.stat().st_size if counter.exists() else 0

    def logged(self, event_type: str) -> list[dict[str, Any]]:
        """The contexts of the events of one type, of all processes."""
        return [context for context in self.events if context["event_type"] == event_type]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The contexts of all events, of all processes."""
        log = self.folder / "events.jsonl"
        return [json.loads(line)["context"] for line in log.read_text().splitlines()] if log.exists() else []


@contextmanager
def uvicorn(served: Served, *, hasher: str = "", **secguard: Any) -> Iterator[int]:
    """The tests' site on one event loop. → its port"""
    options = ["--fd={}", "--log-level=warning", "--lifespan=off", "tests.end_to_end.served:asgi"]
    with _listening(served, ["uvicorn", *options], served.environment(secguard, hasher=hasher)) as port:
        yield port


@contextmanager
def gunicorn(
    served: Served, *, hasher: str = "", workers: int = 4, threads: int = 30, **secguard: Any
) -> Iterator[int]:
    """The tests' site in four processes of thirty threads, or as many as is said. → its port"""
    options = ["--bind=fd://{}", f"--workers={workers}", "--worker-class=gthread", f"--threads={threads}"]
    options += ["--log-level=warning"]
    options += ["--graceful-timeout=2", "--no-control-socket", "tests.end_to_end.served:wsgi"]
    with _listening(served, ["gunicorn", *options], served.environment(secguard, hasher=hasher)) as port:
        yield port


@contextmanager
def _listening(served: Served, command: list[str], environment: Mapping[str, str]) -> Iterator[int]:
    # Bound here and inherited, so that no other program can take the port in between.
    with closing(socket.socket()) as listener, (served.folder / "server.log").open("wb") as log:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", *(part.format(listener.fileno()) for part in command)],
            cwd=ROOT,
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: process.poll() is not None or get(port, "/healthz", "192.0.2.254") == 200, "the server answers")
        assert process.poll() is None, (served.folder / "server.log").read_text()[-3000:]
        yield port
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def get(port: int, path: str, address: str, **headers: str) -> int:
    """→ the status of the answer, 0 if there is none."""
    return _ask(port, "GET", path, None, {"X-Forwarded-For": address, **headers})


def post(port: int, path: str, address: str, **form: str) -> int:
    """→ the status of the answer, 0 if there is none."""
    headers = {"X-Forwarded-For": address, "Content-Type": "application/x-www-form-urlencoded"}
    return _ask(port, "POST", path, urlencode(form), headers)


def _ask(port: int, method: str, path: str, body: str | None, headers: dict[str, str]) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        try:
            connection.request(method, path, body, headers)
            return connection.getresponse().status
        except ConnectionError:
            return 0


def until(happened: Callable[[], bool], what: str, *, seconds: float = START_SECONDS) -> None:
    """Ask again until it has happened; the deadline is for what never will."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
