"""``manage.py secguard selftest``: every rule is tried, and nobody notices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import redis
from django.core.cache import caches
from django.test import override_settings

from secguard.conf import get_settings
from secguard.detection.store import FAIL, OPENED, Op, Reply
from secguard.logging import SecurityEventLogger
from secguard.models import Block
from secguard.pipeline import get_store
from secguard.records.selftest import try_rules
from secguard.stores import CacheStore, MemoryStore, ResilientStore
from secguard.testing import capture_events
from tests.command.running import HOST, as_json, exit_code, fail, rows_of, secguard

pytestmark = pytest.mark.django_db

#: Every kind of subject, of distinct value and of several events.
RULES: dict[str, Any] = {
    "pairs": {"events": "login_failed", "subject": "pair", "threshold": 4, "window": 60, "action": "block"},
    "devices": {"events": "login_failed", "subject": "device", "threshold": 4, "window": 60},
    "users": {"events": ["permission_denied", "logout"], "subject": "user", "threshold": 7, "window": 60},
    "spread": {"events": "login_failed", "subject": "network", "distinct": "address", "threshold": 45, "window": 60},
    "paths": {"events": "permission_denied", "subject": "address", "distinct": "path", "threshold": 3, "window": 60},
    "shops": {"events": "coupon_failed", "subject": "shop", "distinct": "coupon", "threshold": 3, "window": 60},
    "once": {"events": "data_access", "subject": "address", "threshold": 1, "window": 60},
    "most": {"events": "coupon_failed", "subject": "address", "threshold": 1000, "window": 604_800},
}
SETTINGS: dict[str, Any] = {
    "RULES": RULES,
    "SUBJECTS": {"shop": lambda request, account: None},
    "TRAP_PATHS": ["/wp-login.php"],
    "ACCOUNT_LOCKOUT": "unknown_devices",
}


class Numb(MemoryStore):
    """A store whose threats never open."""

    def execute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        return [reply._replace(threats=(0,) * len(reply.threats)) for reply in super().execute(ops, now)]


class Hasty(MemoryStore):
    """A store that counts double."""

    def execute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        replies = []
        for op in ops:
            (reply,) = super().execute([op], now)
            if op.code == FAIL and OPENED not in reply.threats:
                (reply,) = super().execute([op._replace(ids=op.ids[::-1])], now)
            replies.append(reply)
        return replies


@override_settings(SECGUARD=SETTINGS)
def test_every_rule_opens_at_its_threshold() -> None:
    code, written = exit_code("selftest")
    assert code == 0
    rows = {row["rule"]: row["result"] for row in rows_of(written, "rule")}
    assert rows == {rule.name: f"opens at {rule.threshold}" for rule in get_settings().rules}
    assert len(rows) == 21
    assert "All rules work." in written


def contents(client: redis.Redis) -> dict[Any, Any]:
    return {key: client.get(key) for key in client.scan_iter()}


def test_it_works_on_a_server_and_leaves_nothing_there(empty_redis: str, redis_client: redis.Redis) -> None:
    with override_settings(SECGUARD={**SETTINGS, "REDIS_URL": empty_redis, "STORE_TIMEOUT": 10}):
        fail(4)
        before = contents(redis_client)
        code, written = exit_code("selftest")
        get_store().primary.close()  # type: ignore[attr-defined]
    assert code == 0, written
    assert before
    assert contents(redis_client) == before
    assert "each process's own" not in written


def test_it_works_on_an_approximate_store() -> None:
    store = CacheStore(caches["default"])
    trials = try_rules(get_settings().rules, store)
    caches["default"].clear()
    assert [trial.opened_at for trial in trials] == [rule.threshold for rule in get_settings().rules]


def test_no_live_counter_row_or_event_is_touched() -> None:
    store = get_store().primary
    assert isinstance(store, MemoryStore)
    fail(4)
    before = len(store)
    with capture_events() as events:
        secguard("selftest")
    assert events == []
    assert len(store) == before
    assert not Block.objects.exists()
    fail(1)
    assert Block.objects.get().network == HOST


def test_a_rule_that_stays_silent_is_told_by_the_exit_code() -> None:
    get_store.value = ResilientStore(Numb())
    code, written = exit_code("selftest")
    assert code == 5
    assert {row["result"] for row in rows_of(written, "rule")} == {"stays silent"}
    assert "Not all work." in written
    told = as_json("selftest")
    assert (told["works"], [rule["opened_at"] for rule in told["rules"]]) == (False, [None] * 11)


def test_a_rule_that_opens_early_is_told_by_the_exit_code() -> None:
    get_store.value = ResilientStore(Hasty())
    code, written = exit_code("selftest")
    rows = {row["rule"]: row["result"] for row in rows_of(written, "rule")}
    assert code == 5
    assert rows["brute_force"] == "opens at 3, too early"
    assert rows["account_enumeration"] == "opens at 20"


def test_a_store_that_is_away_is_told_by_the_exit_code(dead_redis_url: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": dead_redis_url, "STORE_TIMEOUT": 10}):
        code, written = exit_code("selftest")
        assert "ConnectionError" in as_json("selftest")["rules"][0]["error"]
    assert code == 5
    assert all(row["result"].startswith("failed: ConnectionError") for row in rows_of(written, "rule"))


def test_the_rules_of_the_projects_own_logger_are_tried() -> None:
    with override_settings(SECGUARD={"LOGGER_CLASS": "tests.command.test_selftest.Strict"}):
        assert as_json("selftest")["rules"][0]["opened_at"] == 3


class Strict(SecurityEventLogger):
    FAILED_LOGIN_THRESHOLD = 3


def test_programs_read_which_store_was_tried() -> None:
    told = as_json("selftest")
    assert (told["store"], told["shared"], told["mode"], told["works"]) == ("MemoryStore", False, "enforce", True)
    (rule,) = (rule for rule in told["rules"] if rule["name"] == "brute_force")
    assert {**rule, "seconds": 0} == {
        "name": "brute_force",
        "works": True,
        "opened_at": 5,
        "threshold": 5,
        "error": "",
        "seconds": 0,
    }


def test_where_nothing_is_counted_it_says_so() -> None:
    with override_settings(SECGUARD={"MODE": "off"}):
        assert "MODE is off" in secguard("selftest")


def test_a_rule_is_tried_by_itself() -> None:
    rule = replace(get_settings().rules[0], name="other", threshold=2)
    store = MemoryStore()
    assert [trial.works for trial in try_rules([*get_settings().rules, rule], store)] == [True] * 12
    assert len(store) == 0
