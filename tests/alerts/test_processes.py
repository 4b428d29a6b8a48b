"""Real processes: workers of gunicorn that tell once, and what is sent when a process ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.alerts.servers import Receiver
from tests.end_to_end.serving import Served, gunicorn, own_store, post, quick_database, until

if TYPE_CHECKING:
    from tests.conftest import RunPython

MD5 = "django.contrib.auth.hashers.MD5PasswordHasher"
#: Each failed login is worth an alert of its account.
FAILURES = {"failures": {"events": "login_failed"}, "critical": False, "suspicious": False}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quick_database(tmp_path_factory.mktemp("accounts") / "db.sqlite3")


@pytest.fixture
def served(tmp_path: Path, database: Path) -> Iterator[Served]:
    with own_store(tmp_path) as url:
        yield Served(tmp_path, database, url)


def guess(port: int, number: int, account: str = "nobody") -> int:
    address = f"198.51.{number // 250}.{number % 250 + 1}"
    return post(port, "/sync/log_in/", address, username=account, password="guess")


def told(receiver: Receiver) -> list[Any]:
    return [alert for posted in receiver.posts for alert in posted.told["alerts"]]


def guess_in_parallel(port: int, numbers: range) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda number: guess(port, number), numbers)) == {200}


@pytest.mark.slow
def test_two_workers_tell_an_alert_once(served: Served, receiver: Receiver) -> None:
    options = {"webhooks": [receiver.url], "triggers": FAILURES}
    with gunicorn(served, hasher=MD5, workers=2, threads=2, ALERTS=options) as port:
        guess_in_parallel(port, range(60))
    assert [alert["account"] for alert in told(receiver)] == ["nobody"]


@pytest.mark.slow
def test_without_a_store_that_they_share_each_worker_tells_it(served: Served, receiver: Receiver) -> None:
    options = {"webhooks": [receiver.url], "triggers": FAILURES}
    with gunicorn(served, hasher=MD5, workers=2, threads=2, ALERTS=options, REDIS_URL=None) as port:
        rounds = iter(range(0, 10_000, 20))

        def both_told() -> bool:
            begin = next(rounds)
            guess_in_parallel(port, range(begin, begin + 20))
            return len(told(receiver)) == 2

        until(both_told, "an alert of each worker")


@pytest.mark.slow
def test_what_waits_for_a_digest_is_sent_when_a_worker_is_told_to_end(served: Served, receiver: Receiver) -> None:
    options = {"webhooks": [receiver.url], "triggers": FAILURES, "digest": 3_600}
    with gunicorn(served, hasher=MD5, workers=1, threads=2, ALERTS=options) as port:
        guess(port, 1, "first")
        receiver.until(1)
        guess(port, 2, "second")
        guess(port, 3, "third")
        assert len(receiver.posts) == 1
    assert [alert["account"] for alert in told(receiver)] == ["first", "second", "third"]
    assert receiver.posts[1].told["kind"] == "digest"


CODE = """
import django, os
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "secguard"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    SECGUARD={"ALERTS": %s},
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.alerts.events import threat
from secguard.emit import emit
emit(threat())
%s
"""


def code(receiver: Receiver, then: str = "", **options: Any) -> str:
    return CODE % (json.dumps({"webhooks": [receiver.url], "site": "shop", **options}), then)


def test_an_alert_raised_just_before_the_end_is_sent(run_python: RunPython, receiver: Receiver) -> None:
    done = run_python(code(receiver))
    assert done.returncode == 0, done.stderr
    assert [alert["subject"] for alert in told(receiver)] == ["203.0.113.7"]


def test_so_is_one_that_is_raised_by_the_end_itself(run_python: RunPython, receiver: Receiver) -> None:
    late = "import atexit; atexit.register(emit, threat(8))"
    done = run_python(code(receiver, late))
    assert done.returncode == 0, done.stderr
    assert sorted(alert["subject"] for alert in told(receiver)) == ["203.0.113.7", "203.0.113.8"]


def test_a_webhook_that_does_not_answer_holds_up_no_end_for_long(run_python: RunPython, receiver: Receiver) -> None:
    receiver.gate.clear()
    done = run_python(code(receiver, "from secguard.alerts import worker; worker.EXIT_SECONDS = 0.3"))
    assert done.returncode == 0, done.stderr
    events = [json.loads(line)["context"] for line in done.stderr.splitlines() if line.startswith("{")]
    # Either its attempt had begun, or it was the last one.
    assert "alert_not_delivered" in [event["event_type"] for event in events]
    assert "Traceback" not in done.stderr
