"""The page on operations: what it asks of the server is enough, and no more than is used."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import redis
from django.test import override_settings

from secguard import records
from secguard.logging import SecurityEventLogger
from secguard.pipeline import get_locks, get_store
from tests.docs.pages import BLOCKS

ASKED = [line for block in BLOCKS if block.language == "redis" for line in block.code.splitlines()]
NAME, PASSWORD = "secguard", "replace-this-password"
ADDRESS = "192.0.2.1"


@pytest.fixture
def configured(empty_redis: str) -> Iterator[str]:
    """The URL of a server that is configured as the page says, for the user that the page makes."""
    with redis.Redis.from_url(empty_redis) as server:
        before = {}
        for name, *words in map(str.split, ASKED):
            if name == "user":
                server.execute_command("ACL", "SETUSER", *words)
            else:
                before |= server.config_get(name)
                server.config_set(name, " ".join(words))
        url = urlsplit(empty_redis)
        yield url._replace(netloc=f"{NAME}:{PASSWORD}@{url.netloc}").geturl()
        for name, value in before.items():
            server.config_set(name, value)
        server.acl_deluser(NAME)


@pytest.mark.django_db
def test_the_user_of_the_page_may_do_all_that_is_needed(configured: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": configured, "STORE_TIMEOUT": 2}):
        log = SecurityEventLogger()
        for _ in range(5):
            log.log_login_failed(username="alice", ip_address=ADDRESS)
        assert log.get_failed_login_count(ADDRESS) == 5
        log.log_login_success(username="alice", ip_address=ADDRESS)
        log.reset(ip_address=ADDRESS)
        store = get_store()
        store.set_token("a test", "a value")
        assert (store.get_token("a test"), store.degraded) == ("a value", False)


def test_and_nothing_else(configured: str) -> None:
    with redis.Redis.from_url(configured) as client:
        for command in ("KEYS *", "FLUSHALL", "CONFIG GET maxmemory", "GET session:1"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command.split())


@pytest.mark.django_db
def test_under_another_key_a_lock_is_no_longer_found() -> None:
    found = []
    with override_settings(SECGUARD={"HMAC_KEY": "a" * 16}):
        records.lock_account("alice")
        found.append(get_locks().find(SecurityEventLogger().pipeline.detector.account_digest("alice")))
    with override_settings(SECGUARD={"HMAC_KEY": "b" * 16}):
        records.get_synchroniser().poll()
        found.append(get_locks().find(SecurityEventLogger().pipeline.detector.account_digest("alice")))
        assert len(get_locks()) == 1
    assert [lock is not None for lock in found] == [True, False]
