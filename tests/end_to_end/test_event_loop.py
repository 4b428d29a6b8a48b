"""Under uvicorn a store that hangs holds up those who need it, and nobody else on the same event loop."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from tests.end_to_end.serving import Served, get, kill, migrated_database, own_store, post, until, uvicorn

pytestmark = pytest.mark.slow

#: Nobody gives up on the store while this test runs.
PATIENCE = 60
BASIC = "Basic " + base64.b64encode(b"anna:guess").decode()
STRANGER, READER = "192.0.2.10", "192.0.2.20"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with own_store(tmp_path) as url:
        yield Served(tmp_path, migrated_database(tmp_path / "db.sqlite3"), url)
        kill(url)


def test_a_hanging_store_delays_no_concurrent_view(served: Served) -> None:
    with redis.Redis.from_url(served.redis_url) as client:
        store = int(client.info("server")["process_id"])
    # No poll for news: it is one request's, a second, and would be the reader's here.
    with uvicorn(served, STORE_TIMEOUT=PATIENCE, SYNC_INTERVAL=3_600) as port, ThreadPoolExecutor(8) as threads:
        assert get(port, "/async/home/", READER) == 200
        os.kill(store, signal.SIGSTOP)
        try:
            held: dict[str, Future[int]] = {
                "a login": threads.submit(post, port, "/async/log_in/", STRANGER, username="anna", password="guess"),
                "a denial": threads.submit(get, port, "/async/deny/", STRANGER),
                "a forbidden page": threads.submit(get, port, "/async/forbid/", STRANGER),
                "a rate": threads.submit(get, port, "/async/two_a_minute/", STRANGER),
                "a sync view's login": threads.submit(
                    post, port, "/sync/log_in/", "192.0.2.11", username="anna", password="guess"
                ),
                "a login at REST framework": threads.submit(get, port, "/api/", "192.0.2.12", Authorization=BASIC),
            }
            asked = redis.Redis.from_url(served.redis_url, socket_timeout=0.2)
            with asked, pytest.raises(redis.TimeoutError):
                asked.ping()  # it does hang
            assert [get(port, "/async/home/", READER) for _ in range(20)] == [200] * 20
            assert [name for name, answer in held.items() if answer.done()] == []
        finally:
            os.kill(store, signal.SIGCONT)
        until(lambda: all(answer.done() for answer in held.values()), "those who waited are answered")
    assert {name: answer.result() for name, answer in held.items()} == {
        "a login": 200,
        "a denial": 403,
        "a forbidden page": 403,
        "a rate": 200,
        "a sync view's login": 200,
        "a login at REST framework": 401,
    }
    assert len(served.logged("permission_denied")) == 2
    assert len(served.logged("login_failed")) == 3
    assert served.logged("authentication_required") == []
