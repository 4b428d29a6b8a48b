"""What operators do to blocks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import override_settings

from secguard import records
from secguard.blocking.replica import Replica
from secguard.logging import security_event_logger
from secguard.models import Block
from secguard.pipeline import get_replica
from secguard.records import Synchroniser
from secguard.signals import address_blocked, address_unblocked
from secguard.testing import CapturedEvents, ManualClock
from tests.conftest import without_block_table
from tests.records.rows import (
    HOST,
    ago,
    committing,
    fail,
    in_transaction,
    is_blocked,
    row,
)

# -- what operators do ---------------------------------------------------------------------------------------------


@in_transaction
def test_an_operators_block_is_a_row_in_force_at_once_and_an_event(sync: Synchroniser, events: CapturedEvents) -> None:
    heard: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        heard.append(kwargs)

    address_blocked.connect(receive)
    request = records.block_network(" 203.0.113.7/32 ", duration=60, reason="abuse", by="anna")
    assert is_blocked()
    block = Block.objects.get()
    assert (block.network, block.reason, block.created_by) == (HOST, "abuse", "anna")
    (event,) = events.of("address_blocked")
    named = ("subject", "by", "reason", "duration_seconds", "reference")
    assert [event.context[name] for name in named] == [HOST, "anna", "abuse", 60, request.reference]
    assert (heard[0]["network"], heard[0]["duration"], heard[0]["reference"]) == (HOST, 60, request.reference)


@in_transaction
def test_an_operators_unblock_is_in_force_at_once_and_an_event(sync: Synchroniser, events: CapturedEvents) -> None:
    heard: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        heard.append(kwargs)

    address_unblocked.connect(receive)
    for _ in range(2):
        records.block_network(HOST, duration=60)
    assert records.unblock_network(HOST, reason="a mistake", by="bert") == 2
    assert not is_blocked()
    assert {(block.lifted_by, block.lift_reason) for block in Block.objects.all()} == {("bert", "a mistake")}
    assert all(block.lifted_at for block in Block.objects.all())
    (event,) = events.of("address_unblocked")
    named = ("subject", "by", "reason", "count")
    assert [event.context[name] for name in named] == [HOST, "bert", "a mistake", 2]
    assert (heard[0]["network"], heard[0]["by"]) == (HOST, "bert")


@in_transaction
def test_what_was_not_blocked_is_no_event_when_it_is_lifted(sync: Synchroniser, events: CapturedEvents) -> None:
    assert records.unblock_network(HOST) == 0
    assert events == []


@in_transaction
def test_a_block_that_has_ended_is_not_lifted_again(sync: Synchroniser) -> None:
    row(HOST, expires_at=ago(seconds=1))
    assert records.unblock_network(HOST) == 0
    assert Block.objects.get().lifted_at is None


@in_transaction
def test_lifting_a_network_lifts_nothing_inside_or_around_it(sync: Synchroniser) -> None:
    for network in (HOST, "203.0.113.0/24", "203.0.0.0/16"):
        records.block_network(network)
    assert records.unblock_network("203.0.113.0/24") == 1
    assert sorted(block.network for block in records.active_blocks()) == ["203.0.0.0/16", HOST]


@committing
def test_operators_are_told_when_the_database_is_away(sync: Synchroniser) -> None:
    with without_block_table():
        for verb in (records.block_network, records.unblock_network):
            with pytest.raises(DatabaseError):
                verb(HOST)
        with pytest.raises(DatabaseError):
            records.active_blocks()


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7/32", "203.0.113.7"),
        (" 203.0.113.0/24 ", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("2001:DB8:0::/64", "2001:db8::/64"),
        ("2001:db8::7/128", "2001:db8::7/128"),
        ("2001:db8::/48", "2001:db8::/48"),
    ],
)
def test_a_network_has_one_spelling(given: str, canonical: str) -> None:
    assert records.canonical_network(given) == canonical
    assert records.canonical_network(canonical) == canonical


@pytest.mark.parametrize(
    "given", ["", "*", "{}", "203.0.113.*", "203.0.113.7/24", "203.0.113", "example.org", "0.0.0.0/33", "::/129", "7"]
)
def test_what_is_no_network_is_refused(given: str) -> None:
    for verb in (records.canonical_network, records.block_network, records.unblock_network):
        with pytest.raises(ValueError, match="network"):
            verb(given)


# -- lifting closes what led to the block -------------------------------------------------------------------------


@in_transaction
@pytest.mark.parametrize("address", [HOST, "2001:db8::7"])
def test_lifting_a_block_closes_its_threat_and_counts_from_nought(
    address: str, sync: Synchroniser, events: CapturedEvents
) -> None:
    fail(5, address)
    assert is_blocked(address)
    assert records.unblock_network(address) == 1
    assert not security_event_logger.is_suspicious_activity(ip_address=address)
    assert security_event_logger.get_failed_login_count(address) == 0
    fail(4, address)
    assert not is_blocked(address)
    fail(1, address)
    assert is_blocked(address)
    assert len(events.of("suspicious_activity")) == 2


@in_transaction
def test_counters_can_be_kept(sync: Synchroniser) -> None:
    fail(5)
    records.unblock_network(HOST, keep_counters=True)
    assert not is_blocked()
    assert security_event_logger.get_failed_login_count(HOST) == 5
    assert security_event_logger.is_suspicious_activity(ip_address=HOST)


@in_transaction
@pytest.mark.parametrize(
    ("network", "address"), [("198.51.100.0/24", "198.51.100.{}"), ("2001:db8::/48", "2001:db8:0:{}::1")]
)
def test_lifting_a_network_closes_the_threat_of_the_network(
    network: str, address: str, clock: ManualClock, events: CapturedEvents
) -> None:
    rule = {"events": "login_failed", "subject": "network", "threshold": 6, "window": 600, "action": "block"}
    with override_settings(SECGUARD={"RULES": {"neighbours": rule}}):
        get_replica.value = Replica(clock)
        for n in range(6):
            fail(1, address.format(n))
        assert is_blocked(address.format(77))
        assert records.unblock_network(network) == 1
        for n in range(5):
            fail(1, address.format(n))
        assert not is_blocked(address.format(77))
        fail(1, address.format(5))
        assert is_blocked(address.format(77))
    assert [event.context["subject"] for event in events.of("suspicious_activity")] == [network, network]


@in_transaction
def test_the_settings_say_how_long_an_automatic_block_lasts(clock: ManualClock) -> None:
    with override_settings(SECGUARD={"BLOCK_DURATION": 120, "BLOCK_JITTER": 0}):
        get_replica.value = Replica(clock)
        fail(5)
    block = Block.objects.get()
    assert block.expires_at is not None
    assert block.expires_at - block.created_at == timedelta(seconds=120)
    assert block.rule == "brute_force"
