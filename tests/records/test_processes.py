"""Several real processes, a database and a store: what one decides holds in all, whatever happens to the store.

Requests drive all of it, as in production: a process looks for news when it is asked for something.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.conftest import RestartableServer, RunPython
from tests.records.rows import HOST, OTHER

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = "tests.records.process_settings"
DEADLINE = 30
#: Of the brute-force rule.
THRESHOLD = 5
#: In the settings of the processes.
TRAP = "/wp-login.php"


class Process:
    """A worker, spoken to in JSON lines. It is asked by one thread at a time."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.records.process"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def wait_until_ready(self) -> None:
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def _ask(self, do: str, **arguments: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def visit(self, address: str = HOST, path: str = "/healthz") -> int:
        return int(self._ask("visit", address=address, path=path))

    def refuses(self, address: str = HOST) -> bool:
        return self.visit(address) == 403

    def guess(self, address: str = HOST, times: int = THRESHOLD) -> int:
        return int(self._ask("guess", address=address, times=times))

    def block(self, network: str, by: str, duration: float | None = None) -> str:
        return str(self._ask("block", network=network, by=by, duration=duration))

    def unblock(self, network: str, by: str) -> int:
        return int(self._ask("unblock", network=network, by=by))

    def waiting(self) -> int:
        return int(self._ask("waiting"))

    def clear_cache(self) -> None:
        self._ask("clear_cache")

    def end(self) -> None:
        with self._process as process:
            assert process.stdin
            process.stdin.close()
            process.wait(DEADLINE)


class Site:
    """A database and a store, and the processes that use them."""

    def __init__(self, database: Path, redis_url: str) -> None:
        self.database = database
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": SETTINGS,
            "PROCESS_DATABASE": str(database),
            "PROCESS_REDIS": redis_url,
            "PROCESS_PATIENCE": "10",
        }
        self._running = ExitStack()

    def processes(self, number: int, patience: float = 10) -> list[Process]:
        """``patience``: how many seconds they wait for a database that is locked."""
        environment = {**self._environment, "PROCESS_PATIENCE": str(patience)}
        started = [Process(environment) for _ in range(number)]
        for process in started:
            self._running.callback(process.end)
        for process in started:
            process.wait_until_ready()
        return started

    def end_all(self) -> None:
        self._running.close()

    def rows(self, condition: str = "1") -> list[sqlite3.Row]:
        with closing(sqlite3.connect(self.database, timeout=DEADLINE)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(
                f"SELECT * FROM secguard_block WHERE {condition} ORDER BY id"  # noqa: S608 - the tests' own
            ).fetchall()

    def in_force(self) -> bool:
        return bool(
            self.rows("lifted_at IS NULL AND (expires_at IS NULL OR expires_at > STRFTIME('%Y-%m-%d %H:%M:%f'))")
        )

    @contextmanager
    def database_locked(self) -> Iterator[None]:
        """Nobody else can read or write it."""
        with closing(sqlite3.connect(self.database, timeout=DEADLINE, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")


def until(happened: Callable[[], object]) -> None:
    """Ask again until it has happened; the deadline is for what never will."""
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline, f"it has not happened within {DEADLINE} s"


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "migrated.sqlite3"
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": SETTINGS, "PROCESS_DATABASE": str(path)}
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--verbosity", "0"],
        cwd=ROOT,
        env={**environment, "PROCESS_REDIS": "redis://127.0.0.1:1/0"},
        check=True,
        timeout=60,
    )
    return path


@contextmanager
def site_on(migrated: Path, folder: Path, redis_url: str) -> Iterator[Site]:
    database = folder / "db.sqlite3"
    shutil.copy(migrated, database)
    site = Site(database, redis_url)
    try:
        yield site
    finally:
        site.end_all()


@pytest.fixture
def site(migrated: Path, tmp_path: Path, empty_redis: str) -> Iterator[Site]:
    with site_on(migrated, tmp_path, empty_redis) as site:
        yield site


def test_what_one_process_decides_or_lifts_holds_in_all(site: Site) -> None:
    one, other = site.processes(2)
    assert [each.visit() for each in (one, other)] == [200, 200]
    one.guess()
    assert one.refuses()
    until(other.refuses)
    (row,) = site.rows()
    assert (row["network"], row["rule"]) == (HOST, "brute_force")
    assert not other.refuses(OTHER)
    assert other.unblock(HOST, by="anna") == 1
    assert not other.refuses()
    until(lambda: not one.refuses())
    # Whoever is let in again is counted from nought, in all processes.
    one.guess(times=THRESHOLD - 1)
    assert [each.visit() for each in (one, other)] == [200, 200]
    one.guess(times=1)
    assert one.refuses()
    until(other.refuses)


def test_no_block_is_lost_with_the_cache_the_store_or_the_workers(
    migrated: Path, tmp_path: Path, restartable_server: RestartableServer
) -> None:
    with site_on(migrated, tmp_path, restartable_server.url) as site:
        one, other = site.processes(2)
        one.guess()
        until(other.refuses)
        one.clear_cache()
        with redis.Redis.from_url(restartable_server.url) as client:
            client.flushall()
        assert [each.refuses() for each in (one, other)] == [True, True]
        restartable_server.stop()
        assert [each.refuses() for each in (one, other)] == [True, True]
        restartable_server.start()
        assert [each.refuses() for each in (one, other)] == [True, True]
        # News goes round as before, with the new server.
        other.block(OTHER, by="anna")
        until(lambda: other.refuses(OTHER) and one.refuses(OTHER))
        site.end_all()
        (fresh,) = site.processes(1)
        assert [fresh.refuses(address) for address in (HOST, OTHER)] == [True, True]
        assert len(site.rows()) == 2


def test_with_the_database_away_blocks_hold_and_are_saved_when_it_is_back(site: Site) -> None:
    one, other = site.processes(2, patience=0.1)
    one.block(OTHER, by="anna")
    until(lambda: other.refuses(OTHER))
    with site.database_locked():
        one.visit(HOST, path=TRAP)
        assert [one.refuses(address) for address in (HOST, OTHER)] == [True, True]
        assert other.refuses(OTHER)
        assert one.waiting() == 1
    until(lambda: one.refuses() and one.waiting() == 0)
    (row,) = site.rows("rule <> ''")
    assert row["network"] == HOST
    until(other.refuses)


def test_the_last_to_decide_is_right_and_the_table_tells_of_all(site: Site) -> None:
    one, other, operator = site.processes(3)
    first = one.block(HOST, by="anna")
    until(other.refuses)
    assert other.unblock(HOST, by="bert") == 1
    until(lambda: not one.refuses())
    last = operator.block(HOST, by="carl")
    until(lambda: one.refuses() and other.refuses())
    told = [(row["reference"], row["created_by"], row["lifted_by"]) for row in site.rows()]
    assert told == [(first.replace("-", ""), "anna", "bert"), (last.replace("-", ""), "carl", "")]


def test_whoever_races_all_processes_end_with_what_the_table_says(site: Site) -> None:
    one, other, operator = everybody = site.processes(3)
    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            # An operator blocks, for good and for a moment; another lifts; a rule decides by itself.
            done: list[Future[Any]] = [
                pool.submit(lambda: [operator.block(HOST, by="anna", duration=end) for end in (None, 0.2, None)]),
                pool.submit(lambda: [other.unblock(HOST, by="bert") for _ in range(4)]),
                pool.submit(lambda: one.guess(times=2 * THRESHOLD)),
            ]
            for each in done:
                each.result()
        until(lambda: [each.refuses() for each in everybody] == [site.in_force()] * 3)
        # It stays so: none of them learns of something older later.
        for _ in range(3):
            assert [each.refuses() for each in everybody] == [site.in_force()] * 3
    rows = site.rows()
    assert {row["created_by"] or row["rule"] for row in rows} <= {"anna", "brute_force"}
    assert sum(row["created_by"] == "anna" for row in rows) == 9
    assert {row["lifted_by"] for row in rows} <= {"", "bert"}
    assert all((row["lifted_by"] == "bert") == (row["lifted_at"] is not None) for row in rows)


def test_a_process_that_ends_lets_nobody_go(site: Site, run_python: RunPython) -> None:
    """A block that is decided in a process without requests, such as a task, is saved before it ends."""
    code = f"""
import django
django.setup()
from secguard.logging import security_event_logger
for _ in range({THRESHOLD}):
    security_event_logger.log_login_failed(ip_address={HOST!r}, email="anna@example.com")
"""
    environment = {name: value for name, value in site._environment.items() if name not in os.environ}
    done = run_python(code, DJANGO_SETTINGS_MODULE=SETTINGS, **{**environment})
    assert done.returncode == 0, done.stderr
    (worker,) = site.processes(1)
    assert worker.refuses()
