"""``manage.py secguard status``."""

from __future__ import annotations

import pytest
from django.test import override_settings

from secguard import records
from secguard.events import new_event_id
from secguard.models import EventRecord
from secguard.pipeline import get_store
from secguard.records import database_now
from tests.command.running import (
    OTHER,
    ago,
    allowed_row,
    as_json,
    block_row,
    exit_code,
    facts_of,
    fail,
    lock_row,
    rows_of,
    secguard,
)

pytestmark = pytest.mark.django_db


def test_status_says_how_the_guard_is_doing() -> None:
    fail(5)
    records.block_network(OTHER)
    block_row("192.0.2.1", list_name="spam")
    lock_row()
    allowed_row("198.51.100.0/24")
    code, written = exit_code("status")
    assert code == 0
    assert facts_of(written) == {
        "mode": "enforce",
        "preset": "default",
        "lockout": "off",
        "store": "MemoryStore, each process's own, exact",
        "store answers": "yes",
        "replica": "3 networks, version unknown",
        "blocks in force": "3 (rules 1, operators 1, lists 1)",
        "locks in force": "1",
        "allowed": "1 network",
        "last hour": "2 blocks, 1 lock, 0 lifted",
        "alerts": "to nobody",
    }
    rules = {row["rule"]: row for row in rows_of(written, "rule")}
    assert rules["brute_force"] == {
        "rule": "brute_force",
        "counts": "login_failed",
        "over": "address",
        "threshold": "5",
        "within": "15m",
        "action": "block",
    }
    counted = "login_failed, password_reset_requested, signup_rejected"
    assert rules["account_enumeration"]["counts"] == f"distinct account of {counted}"


def test_status_can_be_read_by_programs() -> None:
    facts = as_json("status")
    assert (facts["mode"], facts["mode_overridden"], facts["lockout"]) == ("enforce", False, "off")
    assert facts["store"] == {
        "type": "MemoryStore",
        "shared": False,
        "exact": True,
        "degraded": False,
        "fail_mode": "local",
        "fail_mode_paths": {},
    }
    assert facts["in_force"] == {
        "blocks_by_rules": 0,
        "blocks_by_operators": 0,
        "blocks_by_lists": 0,
        "locks": 0,
        "allowed_networks": 0,
    }
    assert facts["last_hour"] == {"blocks": 0, "locks": 0, "lifts": 0}
    assert facts["replica"]["networks"] == 0
    (rule,) = (rule for rule in facts["rules"] if rule["name"] == "brute_force")
    assert (rule["threshold"], rule["window"], rule["action"]) == (5, 900, "block")


def test_what_has_ended_or_is_older_than_an_hour_is_not_counted() -> None:
    block_row(lifted_at=ago(minutes=5))
    block_row(expires_at=ago(seconds=5))
    block_row(created_at=ago(hours=2))
    block_row(created_at=ago(hours=3), lifted_at=ago(hours=2))
    lock_row(lifted_at=ago(minutes=1), created_at=ago(days=1))
    allowed_row(expires_at=ago(minutes=1))
    facts = as_json("status")
    assert facts["in_force"] == {
        "blocks_by_rules": 0,
        "blocks_by_operators": 1,
        "blocks_by_lists": 0,
        "locks": 0,
        "allowed_networks": 0,
    }
    assert facts["last_hour"] == {"blocks": 2, "locks": 0, "lifts": 2}


@override_settings(SECGUARD={"RULES": {"brute_force": {"threshold": 9}, "account_failures": None}})
def test_status_shows_the_rules_in_force() -> None:
    rules = {row["rule"]: row["threshold"] for row in rows_of(secguard("status"), "rule")}
    assert {"brute_force": "9", "distributed_attack": "10", "account_enumeration": "20"}.items() <= rules.items()
    assert "account_failures" not in rules


@override_settings(SECGUARD={"PRESET": "strict", "NETWORK_THRESHOLD": 5, "LOCK_DURATION": 60})
def test_status_names_the_keys_that_beat_the_preset() -> None:
    facts = facts_of(secguard("status"))
    assert (facts["preset"], facts["lockout"]) == ("strict, but for NETWORK_THRESHOLD", "unknown_devices")
    assert as_json("status")["preset_overridden_by"] == ["NETWORK_THRESHOLD"]


def test_status_shows_a_mode_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECGUARD_MODE", "monitor")
    with override_settings(SECGUARD={}):
        assert facts_of(secguard("status"))["mode"] == "monitor (overridden by the environment)"


def test_status_says_by_its_exit_code_that_the_store_is_away(dead_redis_url: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": dead_redis_url, "STORE_TIMEOUT": 10}):
        code, written = exit_code("status")
        assert facts_of(written)["store answers"] == "no: FAIL_MODE is local"
        assert as_json("status")["store"]["degraded"] is True
    assert code == 4


def test_status_says_what_happens_at_single_paths_meanwhile(dead_redis_url: str) -> None:
    modes = {"default": "open", "/admin/": "closed", "/admin/login/": "local"}
    with override_settings(SECGUARD={"REDIS_URL": dead_redis_url, "STORE_TIMEOUT": 10, "FAIL_MODE": modes}):
        answers = facts_of(exit_code("status")[1])["store answers"]
        assert answers == "no: FAIL_MODE is open, local at /admin/login, closed at /admin"
        assert as_json("status")["store"]["fail_mode_paths"] == {"/admin/login": "local", "/admin": "closed"}


@pytest.mark.django_db(transaction=True)
def test_status_of_a_store_that_answers(empty_redis: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": empty_redis, "STORE_TIMEOUT": 10}):
        records.block_network(OTHER)
        token = get_store().get_token(records.TOKEN)
        code, written = exit_code("status")
        get_store().primary.close()  # type: ignore[attr-defined]
    assert code == 0
    assert token
    facts = facts_of(written)
    assert (facts["store"], facts["replica"]) == (
        "RedisStore, shared by all processes, exact",
        f"1 network, version {token[:8]}",
    )


def test_it_says_whom_alerts_reach_and_how_many_did_not() -> None:
    now = database_now("default")
    for event_type in ("alert_not_delivered", "logout"):
        EventRecord.objects.create(event_id=new_event_id(), timestamp=now, event_type=event_type)
    hook = {"url": "https://siem.example.com/s3cret", "name": "siem"}
    with override_settings(SECGUARD={"ALERTS": {"mail": True, "webhooks": [hook]}}):
        written = secguard("status")
    assert facts_of(written)["alerts"] == "to mail, siem; 1 not delivered in an hour"
    assert "s3cret" not in written
