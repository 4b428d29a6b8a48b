"""Exactness where servers of both kinds, dying workers and clients that leave share one store."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import redis

from sample_project.accounts import PASSWORD
from secguard.detection.detector import LEASE
from secguard.logging import security_event_logger
from tests.end_to_end.flood import CROWD
from tests.end_to_end.serving import (
    BEHIND_US,
    HMAC_KEY,
    ROOT,
    Served,
    gunicorn,
    own_store,
    post,
    quick_database,
    until,
    uvicorn,
)
from tests.faults.clocks import needs_a_server_that_can_be_fooled, with_the_clock
from tests.faults.store import tortured
from tests.soak import SIZE

pytestmark = pytest.mark.slow

LIMIT, BURST = 5, 100
MD5 = "django.contrib.auth.hashers.MD5PasswordHasher"
HASHERS = "tests.end_to_end.hashers"
ATTACKER = "198.51.100.91"


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quick_database(tmp_path_factory.mktemp("accounts") / "db.sqlite3")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    with own_store(tmp_path) as url:
        yield url


@pytest.fixture
def served(tmp_path: Path, accounts: Path, store: str) -> Served:
    return Served(tmp_path, Path(shutil.copy(accounts, tmp_path)), store, {"SERVED_GATE": str(tmp_path / "gate")})


@pytest.fixture
def same_counters(store: str, settings: Any) -> None:
    """This process sees the counters of the site."""
    settings.SECGUARD = {"REDIS_URL": store, "HMAC_KEY": HMAC_KEY, **BEHIND_US}


def test_two_kinds_of_servers_at_once_check_exactly_as_many_as_the_limit(served: Served, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Served(tmp_path / "other", served.database, served.redis_url)
    hasher = f"{HASHERS}.UnhurriedHasher"
    with gunicorn(served, hasher=hasher) as threads, uvicorn(other, hasher=hasher) as loop:

        def guess(number: int) -> int:
            port, views = (threads, "sync") if number % 2 else (loop, "async")
            return post(port, f"/{views}/log_in/", ATTACKER, username="dave", password=f"guess {number}")

        with ThreadPoolExecutor(BURST) as crowd:
            answers = list(crowd.map(guess, range(BURST)))
    assert served.password_checks + other.password_checks == LIMIT
    assert Counter(answers) == {200: LIMIT, 403: BURST - LIMIT}


def test_a_thousand_right_logins_in_waves_from_one_address_are_all_let_in(served: Served) -> None:
    def log_in(number: int) -> int:
        return post(port, "/sync/log_in/", "203.0.113.80", username="alice", password=PASSWORD)

    with gunicorn(served, hasher=MD5) as port, ThreadPoolExecutor(50) as office:
        answers = Counter(status for _ in range(20) for status in office.map(log_in, range(50)))
    assert answers == {302: 1_000}


PROCESSES, FAILURES = 8, 1_000 * SIZE  # of each


def test_a_crowd_in_monitor_mode_loses_and_doubles_no_failure(served: Served, store: str, same_counters: None) -> None:
    environment = served.environment({"MODE": "monitor"}, hasher=MD5)
    command = [sys.executable, "-m", "tests.end_to_end.flood", str(FAILURES), "crowd"]
    with redis.Redis.from_url(store) as client:
        client.flushall()
    processes = [subprocess.Popen(command, cwd=ROOT, env=environment) for _ in range(PROCESSES)]
    assert [process.wait(1_200) for process in processes] == [0] * PROCESSES
    counts = Counter(security_event_logger.get_failed_login_count(address) for address in CROWD)
    assert counts == {PROCESSES * FAILURES // len(CROWD): len(CROWD)}


# On an event loop passwords are checked one after the other, in its one thread for what is sync.
@pytest.mark.parametrize(
    ("server", "views", "left"), [(gunicorn, "sync", 3), (uvicorn, "async", 1), (uvicorn, "sync", 1)]
)
def test_a_client_that_leaves_in_the_middle_has_guessed_all_the_same(
    server: Any, views: str, left: int, served: Served
) -> None:
    gate = Path(served.extra["SERVED_GATE"])
    with server(served, hasher=f"{HASHERS}.GatedHasher", RESERVE_WAIT=1) as port:
        for _ in range(left):
            before = served.password_checks
            with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
                form = urlencode({"username": "dave", "password": "guess"})
                headers = {"X-Forwarded-For": ATTACKER, "Content-Type": "application/x-www-form-urlencoded"}
                connection.request("POST", f"/{views}/log_in/", form, headers)
                until(lambda before=before: served.password_checks > before, "the password is being checked")
        gate.touch()
        answers = [post(port, f"/{views}/log_in/", ATTACKER, username="dave", password="guess") for _ in range(LIMIT)]
    assert answers == [200] * (LIMIT - left) + [403] * left
    assert served.password_checks == LIMIT


def test_what_a_killed_worker_had_reserved_ends_with_its_lease_and_limits_like_a_failure(
    tmp_path: Path, accounts: Path
) -> None:
    needs_a_server_that_can_be_fooled()
    clock = tmp_path / "clock"
    clock.write_text("+0")
    fake = with_the_clock(FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_NO_CACHE="1")
    gate = tmp_path / "gate"
    with tortured(tmp_path / "store", environment=fake) as it:
        database = Path(shutil.copy(accounts, tmp_path))
        served = Served(tmp_path, database, it.url, {"SERVED_GATE": str(gate)})
        hasher = f"{HASHERS}.GatedHasher"
        with gunicorn(served, hasher=hasher, workers=1, threads=8, STORE_TIMEOUT=30, RESERVE_WAIT=1) as port:

            def guess() -> int:
                return post(port, "/sync/log_in/", ATTACKER, username="dave", password="guess")

            with ThreadPoolExecutor(1) as victim:
                cut = victim.submit(guess)
                until(lambda: served.password_checks == 1, "the password is being checked")
                os.kill(int(gate.with_suffix(".pid").read_text()), signal.SIGKILL)
                assert cut.result() == 0
            gate.touch()
            # Four more may be checked: the first is in flight for as long as its lease.
            assert [guess() for _ in range(LIMIT - 1)] == [200] * (LIMIT - 1)
            clock.write_text(f"+{LEASE + 1}")
            until(lambda: guess() == 403, "the lease has ended")
            assert served.password_checks == LIMIT
            assert len(served.logged("login_failed")) == LIMIT - 1
            # Only failures open a threat: one that nobody knows the end of blocks nobody.
            assert served.logged("address_blocked") == []
