"""``manage.py secguard unblock``: of addresses, networks and accounts."""

from __future__ import annotations

import pytest
from django.test import override_settings

from secguard import records
from secguard.detection import Observation
from secguard.logging import security_event_logger
from secguard.models import AccountLock, Block
from secguard.pipeline import get_locks
from secguard.records.readings import read
from secguard.testing import capture_events
from tests.command.running import (
    ANNA,
    HOST,
    as_json,
    block_row,
    exit_code,
    fail,
    is_blocked,
    lock_row,
    secguard,
)

pytestmark = pytest.mark.django_db


def test_unblock_lifts_every_block_of_the_address() -> None:
    records.block_network(HOST)
    assert exit_code("unblock", HOST) == (0, "Lifted 1 block of 203.0.113.7.\n")
    assert not is_blocked()
    for _ in range(2):
        records.block_network(HOST)
    assert exit_code("unblock", HOST) == (0, "Lifted 2 blocks of 203.0.113.7.\n")


def test_unblock_records_who_and_why() -> None:
    records.block_network(HOST)
    with capture_events() as events:
        secguard("unblock", HOST, "--reason", "a mistake")
    block = Block.objects.get()
    assert block.lift_reason == "a mistake"
    assert block.lifted_by == events.of("address_unblocked")[0].context["by"] != ""


def test_unblock_of_what_is_not_blocked_says_so_by_its_exit_code() -> None:
    assert exit_code("unblock", HOST) == (3, "203.0.113.7 was not blocked.\n")


def test_unblock_closes_the_threat_and_counts_from_nought() -> None:
    fail(5)
    secguard("unblock", HOST)
    assert not security_event_logger.is_suspicious_activity(ip_address=HOST)
    assert security_event_logger.get_failed_login_count(HOST) == 0
    fail(4)
    assert not is_blocked()


def test_unblock_counts_from_nought_even_what_is_not_blocked() -> None:
    fail(4)
    assert exit_code("unblock", HOST)[0] == 3
    assert security_event_logger.get_failed_login_count(HOST) == 0


def test_unblock_keeps_the_counters_if_told_to() -> None:
    fail(5)
    secguard("unblock", HOST, "--keep-counters")
    assert not is_blocked()
    assert security_event_logger.get_failed_login_count(HOST) == 5


@pytest.mark.parametrize("spelling", ["2001:db8::ffff", "2001:db8::/64", "2001:DB8:0:0::/64"])
def test_any_address_of_a_64_lifts_its_block(spelling: str) -> None:
    fail(5, "2001:db8::7")
    assert is_blocked("2001:db8::1234")
    assert exit_code("unblock", spelling) == (0, "Lifted 1 block of 2001:db8::/64.\n")
    assert not is_blocked("2001:db8::7")


def test_who_is_still_inside_another_block_is_told() -> None:
    for network in (HOST, "203.0.113.0/24", "203.0.0.0/16", "198.51.100.0/24", "2001:db8::/32"):
        records.block_network(network)
    lifted, first, second = secguard("unblock", HOST).splitlines()
    assert lifted == "Lifted 1 block of 203.0.113.7."
    assert first == "It is still inside the blocked network 203.0.0.0/16."
    assert second == "It is still inside the blocked network 203.0.113.0/24."
    assert is_blocked()


def test_unblock_works_while_the_store_is_away(dead_redis_url: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": dead_redis_url, "STORE_TIMEOUT": 10}):
        records.block_network(HOST)
        assert exit_code("unblock", HOST) == (0, "Lifted 1 block of 203.0.113.7.\n")
        assert not is_blocked()
    assert records.active_blocks() == []


def test_what_a_list_blocks_comes_back_with_it_and_so_it_says() -> None:
    block_row(HOST, list_name="spam")
    code, written = exit_code("unblock", HOST)
    assert code == 0
    assert "on the list spam" in written


def test_unblock_can_be_read_by_programs() -> None:
    block_row(HOST)
    block_row("203.0.113.0/24")
    assert as_json("unblock", HOST) == {
        "network": HOST,
        "lifted": 1,
        "still_inside": ["203.0.113.0/24"],
        "on_lists": [],
    }


# -- accounts --------------------------------------------------------------------------------------------------------


def test_unblock_lifts_the_locks_of_an_account() -> None:
    records.lock_account(ANNA)
    assert exit_code("unblock", "--account", "ANNA@example.com", "--reason", "her own") == (
        0,
        "Lifted 1 lock of ANNA@example.com.\n",
    )
    lock = AccountLock.objects.get()
    assert lock.lifted_at is not None
    assert (lock.lift_reason, bool(lock.lifted_by)) == ("her own", True)
    assert get_locks().find(lock.digest) is None


def test_an_account_that_is_not_locked_is_told_by_the_exit_code() -> None:
    assert exit_code("unblock", "--account", ANNA) == (3, "anna@example.com was not locked.\n")
    assert as_json("unblock", "--account", ANNA) == {"account": ANNA, "lifted": 0}


def test_unlocking_counts_an_account_from_nought_unless_told_otherwise() -> None:
    def count() -> int:
        (found,) = (each for each in read(Observation(account=ANNA)) if each.rule == "account_failures")
        return found.count

    fail(3)
    lock_row()
    secguard("unblock", "--account", ANNA, "--keep-counters")
    assert count() == 3
    assert exit_code("unblock", "--account", ANNA)[0] == 3
    assert count() == 0
