"""``manage.py secguard list``."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from django.core.management import CommandError
from django.test import override_settings

from secguard import records
from secguard.detection import Observation
from secguard.detection.detector import account_key
from secguard.logging import security_event_logger
from secguard.models import AccountLock, Block
from secguard.pipeline import get_store
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
    fail,
    lock_row,
    rows_of,
    secguard,
)

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ((), "Nothing is blocked.\n"),
        (("blocks",), "Nothing is blocked.\n"),
        (("locks",), "No account is locked.\n"),
        (("threats",), "No threat is known to be open.\n"),
        (("allowed",), "No network is allowed by an operator.\n"),
        (("lists",), "No list is imported.\n"),
    ],
)
def test_an_empty_list_says_so(kind: tuple[str, ...], said: str) -> None:
    assert exit_code("list", *kind) == (0, said)
    assert as_json("list", *kind) == []


# -- blocks --------------------------------------------------------------------------------------------------------


def test_the_list_is_a_table_of_the_blocks_in_force() -> None:
    fail(5)
    request = records.block_network("2001:db8::/48", by="anna", reason="abuse")
    records.block_network(OTHER)
    records.unblock_network(OTHER)
    first, second = rows_of(secguard("list"), "network")
    assert first == {
        "network": "2001:db8::/48",
        "rule": "-",
        "list": "-",
        "expires at": "-",
        "created by": "anna",
        "reference": request.reference,
    }
    assert (second["network"], second["rule"], second["created by"]) == (HOST, "brute_force", "-")
    assert datetime.fromisoformat(second["expires at"].replace("Z", "+00:00")) > datetime.now(timezone.utc)


def test_the_list_can_be_read_by_programs() -> None:
    request = records.block_network(HOST, duration=3600, by="anna", reason="abuse")
    (row,) = as_json("list")
    lasts = datetime.fromisoformat(row.pop("expires_at")) - datetime.fromisoformat(row.pop("created_at"))
    assert lasts == timedelta(hours=1)
    assert row == {
        "network": HOST,
        "list": "",
        "rule": "",
        "created_by": "anna",
        "reference": request.reference,
        "reason": "abuse",
    }


def test_what_has_ended_is_not_listed() -> None:
    records.block_network(HOST)
    Block.objects.update(expires_at=datetime.now(timezone.utc) - timedelta(seconds=5))
    assert secguard("list") == "Nothing is blocked.\n"


def test_what_an_attacker_typed_cannot_command_the_terminal() -> None:
    lock_row("anna\x1b[2J\n\u202eevil")
    (row,) = rows_of(secguard("list", "locks"), "account")
    assert row["account"] == r"anna\x1b[2J\n\u202eevil"


@pytest.mark.parametrize(
    "arguments",
    [("block",), ("unblock",), ("forget", "--yes"), ("explain",)],
    ids=lambda arguments: arguments[0],
)
def test_nor_can_a_name_that_an_operator_copied(arguments: tuple[str, ...]) -> None:
    verb, *more = arguments
    name = "anna\x1b[2J\nevil"
    assert r"anna\x1b[2j\nevil" in exit_code(verb, "--account", name, *more)[1].lower()


# -- filters -------------------------------------------------------------------------------------------------------


def test_blocks_are_chosen_by_rule_list_and_number() -> None:
    block_row("192.0.2.1", rule="brute_force", created_at=ago(minutes=3))
    block_row("192.0.2.2", rule="trap", created_at=ago(minutes=2))
    block_row("192.0.2.3", list_name="spam", created_at=ago(minutes=1))

    def networks(*arguments: str) -> list[str]:
        return [row["network"] for row in as_json("list", *arguments)]

    assert networks("--rule", "trap") == ["192.0.2.2"]
    assert networks("--list", "spam") == ["192.0.2.3"]
    assert networks("--limit", "2") == ["192.0.2.3", "192.0.2.2"]
    assert networks("--rule", "brute_force", "--list", "spam") == []


@pytest.mark.parametrize("name", ["scanners", ""])
def test_a_list_that_does_not_exist_is_an_error(name: str) -> None:
    block_row(list_name="spam")
    with pytest.raises(CommandError, match="no list"):
        secguard("list", "--list", name)


@pytest.mark.parametrize(
    "arguments",
    [
        ("locks", "--list", "spam"),
        ("threats", "--list", "spam"),
        ("allowed", "--rule", "trap"),
        ("lists", "--rule", "x"),
    ],
)
def test_a_filter_that_does_not_apply_is_an_error(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="does not go with"):
        secguard("list", *arguments)


# -- locks, allowed networks, lists --------------------------------------------------------------------------------


def test_locks_are_listed_with_their_accounts() -> None:
    lock = lock_row(scope="unknown_devices", rule="account_failures", created_by="ben")
    lock_row("erased", account="")
    erased = AccountLock.objects.get(account="")
    lock_row("ended", lifted_at=ago(minutes=1))
    rows = {row["account"]: row for row in rows_of(secguard("list", "locks"), "account")}
    assert set(rows) == {ANNA, erased.digest}
    assert rows[ANNA] == {
        "account": ANNA,
        "scope": "unknown_devices",
        "rule": "account_failures",
        "expires at": "-",
        "created by": "ben",
        "reference": str(lock.reference),
    }
    assert [row["account"] for row in as_json("list", "locks", "--rule", "account_failures")] == [ANNA]


def test_allowed_networks_are_listed() -> None:
    row = allowed_row("198.51.100.0/24", reason="the office", created_by="ben")
    allowed_row("192.0.2.0/24", lifted_at=ago(minutes=1))
    assert rows_of(secguard("list", "allowed"), "network") == [
        {
            "network": "198.51.100.0/24",
            "expires at": "-",
            "created by": "ben",
            "reason": "the office",
            "reference": str(row.reference),
        }
    ]


# -- threats -------------------------------------------------------------------------------------------------------


def test_threats_that_led_to_a_block_are_listed_while_they_are_open() -> None:
    fail(6)
    fail(4, OTHER)
    block = Block.objects.get()
    (row,) = rows_of(secguard("list", "threats"), "subject")
    assert row["decided at"].startswith(f"{block.created_at:%Y-%m-%d %H:%M:%S}")
    del row["decided at"]
    assert row == {
        "subject": HOST,
        "over": "address",
        "rule": "brute_force",
        "count": "6",
        "threshold": "5",
        "reference": str(block.reference),
    }
    security_event_logger.reset(ip_address=HOST)
    assert as_json("list", "threats") == []


def test_a_threat_outlives_its_block_and_is_listed_once() -> None:
    fail(5)
    records.unblock_network(HOST, keep_counters=True)
    fail(1)
    assert Block.objects.count() == 2
    (row,) = as_json("list", "threats")
    assert (row["subject"], row["count"]) == (HOST, 6)
    assert row["reference"] == str(Block.objects.latest("created_at").reference)


@override_settings(SECGUARD={"ACCOUNT_LOCKOUT": "all", "RULES": {"account_failures": {"threshold": 3}}})
def test_threats_to_accounts_are_listed_where_they_lock() -> None:
    for number in range(3):
        fail(1, f"198.51.100.{number}")
    fail(5, HOST, "somebody else")
    rows = {row["subject"]: row for row in as_json("list", "threats")}
    assert (rows[ANNA]["rule"], rows[ANNA]["over"], rows[ANNA]["count"]) == ("account_failures", "account", 3)
    assert [row["subject"] for row in as_json("list", "threats", "--rule", "brute_force")] == [HOST]
    assert len(as_json("list", "threats", "--limit", "1")) == 1


def test_threats_are_unknown_while_the_store_is_away(dead_redis_url: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": dead_redis_url, "STORE_TIMEOUT": 10}):
        block_row(rule="brute_force", counter="sg:a:AAAAAAAAAAAAAAAAAAAAAA")
        assert exit_code("list", "threats")[0] == 4
        assert exit_code("list")[0] == 0


@override_settings(SECGUARD={"RULES": {"brute_force": None}})
def test_a_row_of_a_rule_that_is_gone_is_no_threat() -> None:
    block_row(rule="brute_force", counter="sg:a:AAAAAAAAAAAAAAAAAAAAAA")
    assert as_json("list", "threats") == []


def test_a_name_that_became_another_ones_is_no_threat() -> None:
    detector = security_event_logger.pipeline.detector
    get_store().execute(detector.pass_ops(detector.attempt(Observation(OTHER, account=ANNA)), link="anna"))
    lock_row(rule="account_failures", counter=account_key(digest_of()).decode())
    assert as_json("list", "threats") == []
