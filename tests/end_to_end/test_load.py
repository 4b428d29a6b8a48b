"""Many at once, on real servers: gunicorn with four workers of thirty threads, uvicorn, and a crowd of processes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from sample_project.accounts import PASSWORD, colleague
from sample_project.demo.client import Reply, Visitor, at_once
from sample_project.demo.servers import Site, site
from secguard.logging import security_event_logger
from tests.end_to_end.flood import ACCOUNTS, ADDRESSES
from tests.end_to_end.hashers import UnhurriedHasher
from tests.end_to_end.serving import (
    BEHIND_US,
    HMAC_KEY,
    ROOT,
    Served,
    get,
    gunicorn,
    migrated_database,
    own_store,
    post,
    until,
    uvicorn,
)

LIMIT, BURST, OFFICE = 5, 100, 50
HASHER = "tests.end_to_end.hashers.UnhurriedHasher"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with own_store(tmp_path_factory.mktemp("store")) as url:
        yield url


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated_database(tmp_path_factory.mktemp("database") / "db.sqlite3", OFFICE)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory, database: Path, store: str) -> Iterator[Site]:
    """The sample site under gunicorn."""
    folder = tmp_path_factory.mktemp("gunicorn")
    with site(folder / "site", database, store, BEHIND_US) as running:
        yield running


@pytest.fixture
def served(tmp_path: Path, database: Path, store: str) -> Served:
    """What processes of the tests' own site need."""
    return Served(tmp_path, database, store)


@pytest.fixture
def unhurried(database: Path) -> None:
    """The colleagues' passwords, hashed so that to check one takes 100 ms."""
    hasher = UnhurriedHasher()
    encoded = hasher.encode(PASSWORD, hasher.salt())
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE auth_user SET password = ? WHERE username LIKE ?", [encoded, "colleague%"])


def ignored(reply: Reply) -> None:
    """at_once() tells of each reply; the tests look at all of them in the end."""


def at_the_login_page(sample: Site, address: str) -> Visitor:
    visitor = sample.visitor(address)
    assert visitor.open_login_page().status == 200
    return visitor


@contextmanager
def reading_meanwhile(port: int, address: str) -> Iterator[list[int]]:
    """Somebody reads page after page while the block runs. → the status of each"""
    pages: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            pages.append(get(port, "/sync/home/", address))

    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(read)
        try:
            yield pages
        finally:
            done.set()
    reading.result()


def all_at_once(count: int, call: Callable[[int], int]) -> list[int]:
    """``call(0)`` … ``call(count - 1)`` at the same moment, one thread each. → what they returned"""
    together = threading.Barrier(count)

    def run(number: int) -> int:
        together.wait(60)
        return call(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


def refused_by_all(visitor: Visitor) -> bool:
    """Refused so often in a row that every worker was asked."""
    return all(visitor.get("/").refused for _ in range(40))


@pytest.mark.parametrize("attacker", ["198.51.100.91", "198.51.100.92", "2001:db8:5:6::93"])
def test_of_a_hundred_parallel_guesses_exactly_as_many_as_the_limit_are_checked(sample: Site, attacker: str) -> None:
    before = sample.password_checks
    visitor = at_the_login_page(sample, attacker)
    replies = at_once([partial(visitor.log_in, "dave", f"guess {n}") for n in range(BURST)], ignored)
    assert sample.password_checks - before == LIMIT
    assert sum(reply.status == 200 for reply in replies) == LIMIT
    assert sum(reply.refused for reply in replies) == BURST - LIMIT


def test_an_office_that_logs_in_at_once_is_let_in_and_starves_nobody(served: Served, unhurried: None) -> None:
    def log_in(number: int) -> int:
        return post(port, "/sync/log_in/", "203.0.113.80", username=colleague(number), password=PASSWORD)

    with gunicorn(served, hasher=HASHER) as port, reading_meanwhile(port, "203.0.113.200") as pages:
        answers = all_at_once(OFFICE, log_in)
        read = len(pages)
    assert answers == [302] * OFFICE
    assert served.password_checks == OFFICE
    # Who is served meanwhile gets many pages, fewer on a busy machine; who is starved gets two at most.
    assert read > 2
    assert set(pages) == {200}


def test_soon_every_worker_refuses_an_address_that_one_has_blocked(sample: Site) -> None:
    attacker = at_the_login_page(sample, "198.51.100.95")
    for number in range(LIMIT):
        attacker.log_in("bob", f"guess {number}")
    until(lambda: refused_by_all(attacker), "every worker refuses")
    assert sample.visitor("198.51.100.96").get("/").status == 200


def test_a_store_that_is_emptied_lifts_no_block(sample: Site, store: str) -> None:
    attacker = at_the_login_page(sample, "198.51.100.97")
    for number in range(LIMIT):
        attacker.log_in("bob", f"guess {number}")
    until(lambda: refused_by_all(attacker), "every worker refuses")
    with redis.Redis.from_url(store) as client:
        client.flushall()
        # Each process asks for the token again, and reads the blocks again since it is gone.
        client.config_resetstat()
        until(lambda: refused_by_all(attacker) and _gets(client) >= 4, "every worker has asked the store again")
    assert refused_by_all(attacker)


def _gets(client: redis.Redis) -> int:
    return int(client.info("commandstats").get("cmdstat_get", {"calls": 0})["calls"])


def test_on_an_event_loop_exactly_as_many_as_the_limit_are_checked(served: Served) -> None:
    def guess(number: int) -> int:
        return post(port, "/async/log_in/", "198.51.100.98", username="dave", password=f"guess {number}")

    with uvicorn(served) as port:
        answers = all_at_once(BURST, guess)
    assert served.password_checks == LIMIT
    assert sorted(answers) == [200] * LIMIT + [403] * (BURST - LIMIT)


PROCESSES, ATTEMPTS = 8, 300  # of each process; a multiple of ADDRESSES and of ACCOUNTS


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, database: Path, store: str) -> Served:
    """Eight processes of four threads have failed to log in, in monitor mode."""
    served = Served(tmp_path_factory.mktemp("crowd"), database, store)
    environment = served.environment({"MODE": "monitor"}, hasher="django.contrib.auth.hashers.MD5PasswordHasher")
    command = [sys.executable, "-m", "tests.end_to_end.flood", str(ATTEMPTS)]
    with redis.Redis.from_url(store) as client:
        client.flushall()
    processes = [subprocess.Popen(command, cwd=ROOT, env=environment) for _ in range(PROCESSES)]
    assert [process.wait(120) for process in processes] == [0] * PROCESSES
    return served


class TestACrowdOfProcesses:
    @pytest.fixture(autouse=True)
    def _see_the_same_counters(self, crowd: Served, store: str, settings: Any) -> None:
        settings.SECGUARD = {"REDIS_URL": store, "HMAC_KEY": HMAC_KEY, **BEHIND_US}

    def test_loses_and_doubles_no_failure_and_no_threat(self, crowd: Served) -> None:
        total = PROCESSES * ATTEMPTS
        addresses = [f"198.51.100.{number}" for number in range(ADDRESSES)]
        counts = [security_event_logger.get_failed_login_count(address) for address in addresses]
        assert counts == [total // ADDRESSES] * ADDRESSES
        findings = security_event_logger.pipeline.findings
        accounts = [findings(account=f"nobody{number}").counts for number in range(ACCOUNTS)]
        assert {counts["account_failures"] for counts in accounts} == {total // ACCOUNTS}
        assert {counts["distributed_attack"] for counts in accounts} == {2}
        opened = [context["rule"] for context in crowd.logged("suspicious_activity")]
        assert (opened.count("brute_force"), opened.count("account_failures")) == (ADDRESSES, ACCOUNTS)
        assert len(crowd.logged("login_failed")) == total

    def test_sees_which_accounts_were_tried(self) -> None:
        again = [
            security_event_logger.log_login_failed(ip_address=f"198.51.100.{number}", username=f"nobody{number}")
            for number in range(ADDRESSES)
        ]
        assert {event.context["unique_emails_from_ip"] for event in again} == {5}
