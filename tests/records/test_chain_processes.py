"""Eight processes write into one chain at once, and one of them is killed: it holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.conftest import _free_port
from tests.faults.database import postgres_url

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PROCESSES, TIMES, ROWS = 8, 6, 3
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@contextmanager
def _sqlite(directory: Path) -> Iterator[dict[str, Any]]:
    options = {"timeout": 60}
    yield {"ENGINE": "django.db.backends.sqlite3", "NAME": str(directory / "db.sqlite3"), "OPTIONS": options}


@contextmanager
def _postgres(directory: Path) -> Iterator[dict[str, Any]]:
    url = postgres_url()
    if url is None:
        pytest.skip("no PostgreSQL here: set SECGUARD_TEST_POSTGRES_URL")
    parts = urlsplit(url)
    name = f"secguard_chain_{os.getpid()}_{_free_port()}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": name,
                "USER": parts.username or "postgres",
                "PASSWORD": parts.password or "",
                "HOST": parts.hostname or "127.0.0.1",
                "PORT": parts.port or 5432,
            }
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(params=[_sqlite, _postgres], ids=["sqlite", "postgresql"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    with request.param(tmp_path) as database:
        found = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.records.chain_settings",
            "CHAIN_DATABASE": json.dumps(database),
        }
        assert _run(found, "-m", "django", "migrate", "--verbosity", "0").returncode == 0
        yield found


def _run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def _verified(environment: dict[str, str]) -> dict[str, Any]:
    done = _run(environment, "-m", "django", "secguard", "verify", "--json")
    found: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) is (found["broken"] is None)
    return found


@contextmanager
def _writers(environment: dict[str, str]) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "tests.records.chain_writer", str(TIMES), str(ROWS)]
    writers = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    try:
        for writer in writers:
            assert _out(writer).readline() == "ready\n"
        for writer in writers:
            assert writer.stdin
            writer.stdin.write("\n")
            writer.stdin.flush()
        yield writers
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()


def _out(writer: subprocess.Popen[str]) -> IO[str]:
    assert writer.stdout
    return writer.stdout


def test_all_that_eight_processes_write_at_once_is_one_chain(environment: dict[str, str]) -> None:
    with _writers(environment) as writers:
        said = [_out(writer).read().split() for writer in writers]
    assert said == [["done"] * TIMES] * PROCESSES
    found = _verified(environment)
    assert (found["broken"], found["checked"]) == (None, PROCESSES * TIMES * ROWS)


@pytest.mark.parametrize("environment", [_postgres], ids=["postgresql"], indirect=True)
def test_one_that_hangs_keeps_the_others_waiting_for_a_moment_only(environment: dict[str, str]) -> None:
    database = json.loads(environment["CHAIN_DATABASE"])
    code = (
        "import django; django.setup()\n"
        "from django.db import OperationalError\n"
        "from secguard.records import chain\n"
        "from tests.records.test_chain import row\n"
        "chain.LOCK_WAIT = 0.2\n"
        "try: chain.insert([row()], 'default')\n"
        "except OperationalError: print('gave up')\n"
    )
    assert _run(environment, "-c", code).stdout == ""
    with psycopg.connect(
        host=database["HOST"],
        port=database["PORT"],
        user=database["USER"],
        password=database["PASSWORD"],
        dbname=database["NAME"],
    ) as hanging:
        hanging.execute("UPDATE secguard_chainhead SET turns = turns")
        assert _run(environment, "-c", code).stdout == "gave up\n"
    assert _verified(environment)["checked"] == 1


def test_one_that_is_killed_leaves_no_gap(environment: dict[str, str]) -> None:
    with _writers(environment) as writers:
        killed = writers[0]
        for _ in range(TIMES // 3):
            assert _out(killed).readline() == "done\n"
        killed.kill()
        survived = _out(killed).read().split()
        said = [_out(writer).read().split() for writer in writers[1:]]
    assert said == [["done"] * TIMES] * (PROCESSES - 1)
    found = _verified(environment)
    assert found["broken"] is None
    # What it wrote and could not say any more is there as a whole, or not at all.
    own = found["checked"] - (PROCESSES - 1) * TIMES * ROWS
    assert own % ROWS == 0
    assert TIMES // 3 + len(survived) <= own // ROWS <= TIMES
