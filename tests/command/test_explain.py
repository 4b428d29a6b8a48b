"""``manage.py secguard explain``: counters, decisions, and what would become of somebody now."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.core.management import CommandError
from django.test import Client, override_settings

from secguard import records
from secguard.detection import DEFAULT_RULES, Observation
from secguard.logging import security_event_logger
from secguard.models import Block, FailureCount
from secguard.pipeline import get_store
from secguard.records.readings import Reading, read
from secguard.stores import CacheStore, MemoryStore, ResilientStore
from secguard.testing import ManualClock
from tests.command.running import (
    ANNA,
    HOST,
    OTHER,
    ago,
    allowed_row,
    as_json,
    block_row,
    digest_of,
    exit_code,
    facts_of,
    fail,
    lock_row,
    rows_of,
    secguard,
)

pytestmark = pytest.mark.django_db

OVER_ADDRESSES = {rule.name for rule in DEFAULT_RULES if rule.subject in ("address", "network", "actor")}
BLOCKING = ("brute_force", "account_enumeration", "password_spraying", "token_guessing")


def explained(*arguments: str) -> dict[str, Any]:
    """The one explanation that the command gives."""
    (found,) = as_json("explain", *arguments)["explanations"]
    return dict(found)


def counter(rule: str, *arguments: str) -> dict[str, Any]:
    (found,) = (each for each in explained(*arguments)["counters"] if each["rule"] == rule)
    return dict(found)


# -- counters ------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> ManualClock:
    """The store's clock."""
    clock = ManualClock()
    get_store.value = ResilientStore(MemoryStore(clock=clock))
    return clock


def test_every_counter_is_shown_with_its_threshold_and_window() -> None:
    fail(3)
    rows = {row["rule"]: row for row in rows_of(secguard("explain", HOST), "rule")}
    assert set(rows) == OVER_ADDRESSES
    assert rows["brute_force"] == {
        "rule": "brute_force",
        "over": "address",
        "count": "3",
        "threshold": "5",
        "window": "15m",
        "threat": "-",
        "below threshold": "-",
        "empty": "in 15m",
    }
    assert (rows["account_enumeration"]["count"], rows["account_enumeration"]["window"]) == ("1", "10m")


def near(seconds: float) -> Any:
    return pytest.approx(seconds, abs=0.51)


def test_a_count_tells_when_it_falls_below_the_threshold_and_when_it_is_nought(clock: ManualClock) -> None:
    fail(2)
    clock.advance(100)
    fail(2)
    clock.advance(100)
    fail(1)
    clock.advance(10)
    found = counter("brute_force", HOST)
    assert (found["count"], found["threat_open"]) == (5, True)
    # Four are left when the first two, 210 s old, have left the window of 900 s.
    assert (found["below_threshold_in"], found["empty_in"]) == (near(690), near(890))


def test_a_count_of_different_values_goes_by_when_each_was_last_seen(clock: ManualClock) -> None:
    fail(1, HOST, "one")
    clock.advance(200)
    fail(1, HOST, "two")
    clock.advance(100)
    fail(1, HOST, "one")
    found = counter("account_enumeration", HOST)
    assert (found["count"], found["below_threshold_in"], found["empty_in"]) == (2, None, near(600))
    clock.advance(590)
    assert counter("account_enumeration", HOST)["empty_in"] == near(10)


def test_looking_changes_nothing(clock: ManualClock) -> None:
    fail(5)
    first = explained(HOST)["counters"]
    assert explained(HOST)["counters"] == first
    clock.advance(899)
    assert counter("brute_force", HOST)["count"] == 5


def test_the_end_of_a_week_is_found_as_exactly() -> None:
    slow = {"events": "x", "subject": "address", "threshold": 2, "window": 604_800}
    with override_settings(SECGUARD={"RULES": {"slow": slow}}):
        clock = ManualClock()
        get_store.value = ResilientStore(MemoryStore(clock=clock))
        for _ in range(2):
            security_event_logger.log("x", ip_address=HOST)
            clock.advance(1_000)
        found = counter("slow", HOST)
    assert (found["below_threshold_in"], found["empty_in"]) == (near(602_800), near(603_800))


def test_a_server_tells_the_same(empty_redis: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": empty_redis, "STORE_TIMEOUT": 10}):
        fail(5)
        readings = {each.rule: each for each in read(Observation(HOST))}
        code, written = exit_code("explain", HOST)
        get_store().primary.close()  # type: ignore[attr-defined]
    brute: Reading = readings["brute_force"]
    assert (brute.count, brute.threat_open) == (5, True)
    assert brute.below_threshold_in is not None
    assert brute.empty_in is not None
    assert 880 < brute.below_threshold_in <= brute.empty_in <= 900
    assert code == 0
    assert "each process's own" not in written


def test_an_approximate_store_tells_the_window() -> None:
    store = CacheStore(caches["default"])
    store.shared = True
    get_store.value = ResilientStore(store)
    fail(5)
    (row,) = (row for row in rows_of(secguard("explain", HOST), "rule") if row["rule"] == "brute_force")
    assert (row["count"], row["below threshold"], row["empty"]) == ("5", "within 15m", "within 15m")
    caches["default"].clear()


def test_counters_of_each_process_are_said_to_be_that() -> None:
    written = secguard("explain", HOST)
    assert "this command does not see those of the servers" in written
    assert as_json("explain", HOST)["counters_shared"] is False


def test_while_the_store_is_away_it_is_said_by_the_exit_code_too(dead_redis_url: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": dead_redis_url, "STORE_TIMEOUT": 10}):
        code, written = exit_code("explain", HOST)
        assert explained(HOST)["counters_known"] is False
    assert code == 4
    assert "The store is away" in written


# -- an address: what becomes of it, held against the middleware ---------------------------------------------------


def status_of_a_request(address: str = HOST) -> int:
    return Client(REMOTE_ADDR=address).get("/healthz").status_code


def verdict(*arguments: str) -> str:
    return facts_of(secguard("explain", *(arguments or (HOST,))))["a request"]


def test_who_is_not_blocked_is_served() -> None:
    assert verdict() == "served: not blocked"
    assert status_of_a_request() == 200


def test_a_block_by_a_rule_is_told_with_its_end() -> None:
    with override_settings(SECGUARD={"BLOCK_JITTER": 0}):
        fail(5)
        block = Block.objects.get()
        facts = facts_of(secguard("explain", HOST))
        assert status_of_a_request() == 403
    assert facts["a request"] == f"refused: blocked by rule brute_force, for another 15m ({block.reference})"
    assert facts["a login"] == "the same"
    assert facts["offences"] == "1 remembered"
    assert facts["next block"] == ", ".join(f"{rule} 1h" for rule in BLOCKING)


def test_an_offence_that_goes_on_counts_for_the_next_block_once() -> None:
    block_row(HOST, rule="brute_force", created_at=ago(days=2), expires_at=ago(days=1))
    for _ in range(3):  # several workers answered one attack
        block_row(HOST, rule="brute_force", created_at=ago(minutes=1), expires_at=ago(minutes=-59))
    facts = facts_of(secguard("explain", HOST))
    assert (facts["offences"], facts["next block"]) == ("2 remembered", ", ".join(f"{rule} 1d" for rule in BLOCKING))


def test_of_several_blocks_the_longest_is_told() -> None:
    block_row(HOST, expires_at=ago(hours=-1), rule="brute_force")
    block_row("203.0.113.0/24", created_by="ben")
    block_row("203.0.0.0/16", expires_at=ago(hours=-2), list_name="spam")
    assert verdict() == f"refused: blocked by ben, for good ({Block.objects.get(created_by='ben').reference})"
    Block.objects.filter(created_by="ben").update(lifted_at=ago(seconds=1))
    assert verdict().startswith("refused: blocked by list spam, for another 2h (")
    assert status_of_a_request() == 403


@pytest.mark.parametrize(
    ("settings_", "told"),
    [
        ({"MODE": "off"}, "served: MODE is off"),
        ({"MODE": "monitor"}, "served, though blocked: MODE is monitor"),
        ({"ALLOWLIST": ["203.0.113.0/28"]}, "served, though blocked: it is in ALLOWLIST"),
        ({"TRUSTED_PROXIES": ["203.0.113.0/28"]}, "served, though blocked: it is a trusted proxy"),
    ],
)
def test_who_is_served_though_blocked_is_told_why(settings_: dict[str, Any], told: str) -> None:
    block_row()
    with override_settings(SECGUARD=settings_):
        assert verdict() == told
        assert status_of_a_request() == 200


def test_who_is_allowed_is_served() -> None:
    block_row("203.0.113.0/24")
    allowed_row(expires_at=ago(minutes=-5))
    facts = facts_of(secguard("explain", HOST))
    assert facts["a request"] == "served, though blocked: an operator allowed it"
    assert facts["never refused"] == "an operator"
    assert status_of_a_request() == 200
    assert verdict(OTHER).startswith("refused")


@override_settings(SECGUARD={"EXEMPT_PATHS": ["/healthz"], "EXEMPT_WHEN": lambda request: False})
def test_what_is_served_to_blocked_addresses_is_named() -> None:
    block_row()
    assert facts_of(secguard("explain", HOST))["served all the same"] == "EXEMPT_PATHS /healthz, EXEMPT_WHEN"


def test_a_full_limit_refuses_logins_though_nothing_is_blocked() -> None:
    fail(5)
    records.unblock_network(HOST, keep_counters=True)
    facts = facts_of(secguard("explain", HOST))
    assert facts["a request"] == "served: not blocked"
    assert facts["a login"].startswith("refused: the limit of rule brute_force is reached, for another 15m")
    with override_settings(SECGUARD={"MODE": "monitor"}):
        fail(5)
        assert facts_of(secguard("explain", HOST))["a login"].endswith("a limit is reached, and nothing refuses it")


def test_an_ipv6_address_is_explained_as_its_64() -> None:
    fail(3, "2001:db8::1")
    block_row("2001:db8::/48", created_by="ben")
    for text in ("2001:db8::ffff", "2001:db8::/64"):
        facts = facts_of(secguard("explain", text))
        assert facts["counted as"] == "2001:db8::/64, in 2001:db8::/48"
        assert facts["a request"].startswith("refused: blocked by ben")
        assert counter("brute_force", text)["count"] == 3


def test_the_allowlist_is_asked_about_the_address_itself() -> None:
    with override_settings(SECGUARD={"ALLOWLIST": ["2001:db8::7/128"]}):
        assert facts_of(secguard("explain", "2001:db8::7"))["never refused"] == "ALLOWLIST"
        assert facts_of(secguard("explain", "2001:db8::8"))["never refused"] == "no"


# -- history -------------------------------------------------------------------------------------------------------


def test_the_history_says_who_and_why() -> None:
    block_row(HOST, rule="brute_force", reason="5 events", created_at=ago(days=3), expires_at=ago(days=2))
    lifted = block_row(
        "203.0.113.0/24",
        created_by="ben",
        reason="abuse",
        created_at=ago(hours=2),
        lifted_at=ago(hours=1),
        lifted_by="anna",
        lift_reason="a mistake",
    )
    allowed_row(HOST, created_by="ben")
    block_row(OTHER)
    written = secguard("explain", HOST)
    rows = rows_of(written, "what")
    assert [(row["what"], row["whom"], row["state"], row["rule"], row["by"], row["reason"]) for row in rows] == [
        ("allowed", HOST, "in force", "-", "ben", "-"),
        ("block", "203.0.113.0/24", "lifted", "-", "ben", "abuse"),
        ("block", HOST, "expired", "brute_force", "-", "5 events"),
    ]
    assert f"{lifted.reference} was lifted by anna at " in written
    assert written.split(" was lifted by anna at ")[1].splitlines()[0].endswith("Z: a mistake")


def test_a_block_in_force_is_found_behind_any_number_of_others() -> None:
    block_row(created_at=ago(days=9))
    for hours in range(60):
        block_row(created_at=ago(days=2, hours=hours), lifted_at=ago(hours=1))
    assert verdict().startswith("refused: blocked")
    assert [each["state"] for each in explained(HOST)["history"]].count("lifted") == 50


# -- networks ------------------------------------------------------------------------------------------------------


def test_a_network_is_explained_with_what_contains_it() -> None:
    block_row("203.0.0.0/16", created_by="ben")
    block_row(HOST)
    facts = facts_of(secguard("explain", "203.0.113.0/24"))
    assert facts["a request"].startswith("refused: blocked by ben")
    assert [each["subject"] for each in explained("203.0.113.0/24")["history"]] == ["203.0.0.0/16"]
    with override_settings(SECGUARD={"MODE": "monitor"}):
        assert verdict("203.0.113.0/24") == "served, though blocked: MODE is monitor"
    allowed_row("203.0.113.0/24")
    assert verdict("203.0.113.0/24") == "served, though blocked: an operator allowed it"
    assert verdict("198.51.100.0/24") == "served: not blocked"


@pytest.mark.parametrize(
    ("setting", "told"),
    [("ALLOWLIST", "served, though blocked: it is in ALLOWLIST"), ("TRUSTED_PROXIES", "served, though blocked: ")],
)
def test_a_network_that_is_never_refused_is_served_though_blocked(setting: str, told: str) -> None:
    block_row("203.0.0.0/16")
    with override_settings(SECGUARD={setting: ["203.0.113.0/24", "2001:db8::/32"]}):
        for network in ("203.0.113.0/24", "203.0.113.128/25"):
            assert verdict(network).startswith(told)
            assert facts_of(secguard("explain", network))["never refused"] == setting
        for network in ("203.0.112.0/23", "203.0.114.0/24"):
            assert verdict(network).startswith("refused: blocked")
            assert facts_of(secguard("explain", network))["never refused"] == "no"


@override_settings(
    SECGUARD={"RULES": {"spread": {"events": "login_failed", "subject": "network", "threshold": 9, "window": 60}}}
)
def test_a_network_that_rules_count_has_counters() -> None:
    fail(1)
    fail(2, OTHER)
    assert counter("spread", "203.0.113.0/24")["count"] == 3
    assert counter("spread", HOST)["count"] == 3
    assert explained("203.0.112.0/23")["counters"] == []


# -- accounts ------------------------------------------------------------------------------------------------------


def test_an_account_is_explained_by_any_spelling() -> None:
    fail(3)
    written = secguard("explain", " Anna@Example.com ")
    assert facts_of(written) == {"account": ANNA, "a login": "its password is checked: no limit is reached"}
    rows = {row["rule"]: row["count"] for row in rows_of(written, "rule")}
    assert rows == {"distributed_attack": "1", "account_failures": "3", "success_after_attack": "0"}


def test_the_locks_of_an_account_are_told() -> None:
    lock_row(scope="unknown_devices", rule="account_failures", expires_at=ago(minutes=-30))
    facts = facts_of(secguard("explain", ANNA))
    assert facts["a login"].startswith("refused from unknown devices: locked by rule account_failures, for another 30m")
    lock = lock_row(created_by="ben", created_at=ago(minutes=5))
    assert facts_of(secguard("explain", ANNA))["a login"] == f"refused: locked by ben, for good ({lock.reference})"
    lock_row("somebody else")
    history = explained(ANNA)["history"]
    assert [(each["kind"], each["scope"], each["state"]) for each in history] == [
        ("lock", "unknown_devices", "in force"),
        ("lock", "all", "in force"),
    ]
    with override_settings(SECGUARD={"MODE": "monitor"}):
        assert facts_of(secguard("explain", ANNA))["a login"].startswith("its password is checked")


@override_settings(SECGUARD={"ACCOUNT_LOCKOUT": "all", "RULES": {"account_failures": {"threshold": 3}}})
def test_the_limit_of_an_account_is_told() -> None:
    for number in range(3):
        fail(1, f"198.51.100.{number}")
    records.unlock_account(ANNA, keep_counters=True)
    facts = facts_of(secguard("explain", ANNA))
    assert facts["a login"].startswith("refused: the limit of rule account_failures is reached, for another 30m")


def test_failures_in_a_row_are_told() -> None:
    FailureCount.objects.create(digest=digest_of(), account=ANNA, count=42, since=ago(days=3), updated_at=ago(hours=1))
    assert facts_of(secguard("explain", ANNA))["failures in a row"].startswith("42 since ")
    assert explained("ben")["consecutive_failures"] is None


def test_a_name_that_was_linked_is_explained_as_its_account() -> None:
    get_user_model().objects.create_user("anna", ANNA, "right")
    detector = security_event_logger.pipeline.detector
    get_store().execute(detector.pass_ops(detector.attempt(Observation(OTHER, account=ANNA)), link="anna"))
    fail(2, HOST, "anna")
    lock_row("anna")
    assert counter("account_failures", ANNA)["count"] == 2
    assert [each["kind"] for each in explained(ANNA)["history"]] == ["lock"]


def test_what_an_address_and_an_account_have_together_is_told_too() -> None:
    pairs = {"pairs": {"events": "login_failed", "subject": "pair", "threshold": 4, "window": 60}}
    with override_settings(SECGUARD={"RULES": pairs}):
        fail(2)
        fail(1, HOST, "ben")
        address, account = as_json("explain", HOST, "--account", ANNA)["explanations"]
        assert {each["rule"] for each in address["counters"]} == OVER_ADDRESSES
        counts = {each["rule"]: each["count"] for each in account["counters"]}
    assert {name: count for name, count in counts.items() if count} == {
        "pairs": 2,
        "distributed_attack": 1,
        "account_failures": 2,
    }


@override_settings(
    SECGUARD={"RULES": {"denied": {"events": "permission_denied", "subject": "user", "threshold": 9, "window": 60}}}
)
def test_the_user_behind_an_account_is_counted_too() -> None:
    user = get_user_model().objects.create_user("anna", ANNA, "right")
    security_event_logger.log_permission_denied(user_id=user.pk)
    assert counter("denied", "anna")["count"] == 1
    assert counter("denied", ANNA)["count"] == 1
    rules = ["distributed_attack", "account_failures", "success_after_attack"]
    assert [each["rule"] for each in explained("nobody")["counters"]] == rules


def test_an_account_may_look_like_an_address() -> None:
    fail(2, OTHER, HOST)
    assert counter("account_failures", "--account", HOST)["count"] == 2


# -- wrong input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", ["203.0.113.7/24", "203.0.113", "203.0.113.*", "2001:db8::zz/48", "2001:db8:::1"])
def test_a_network_with_a_mistake_in_it_is_no_account(subject: str) -> None:
    with pytest.raises(CommandError, match="--account"):
        secguard("explain", subject)


@pytest.mark.parametrize("subject", ["12345", "anna", "dad.bee", "o'hara@example.com", "AC/DC"])
def test_what_is_no_network_is_an_account(subject: str) -> None:
    assert facts_of(secguard("explain", subject))["account"] == subject.lower()
