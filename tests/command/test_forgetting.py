"""``manage.py secguard forget``: what identifies somebody is gone, what protects others holds."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import redis
from django.core.management import CommandError
from django.test import override_settings

from secguard import records
from secguard.detection import Observation
from secguard.logging import security_event_logger
from secguard.models import AccountLock, AllowedNetwork, Block, EventRecord, FailureCount
from secguard.pipeline import get_locks, get_store
from secguard.records import erasure
from secguard.records.readings import read
from secguard.records.verification import verify
from secguard.testing import capture_events
from tests.command.running import (
    ANNA,
    HOST,
    OTHER,
    Terminal,
    ago,
    allowed_row,
    as_json,
    block_row,
    digest_of,
    exit_code,
    fail,
    is_blocked,
    lock_row,
    secguard,
)

pytestmark = pytest.mark.django_db


def counts(**who: str) -> dict[str, int]:
    return {each.rule: each.count for each in read(Observation(**who)) if each.count}  # type: ignore[arg-type]


# -- an account ----------------------------------------------------------------------------------------------------


def test_an_account_is_forgotten_and_its_lock_holds() -> None:
    fail(3)
    records.lock_account(ANNA, reason="Anna asked for it")
    lock_row(lifted_at=ago(days=1))
    lock_row(expires_at=ago(days=1))
    other = lock_row("ben", reason="his own")
    now = ago(days=0)
    FailureCount.objects.create(digest=digest_of(), account=ANNA, count=9, since=now, updated_at=now)
    FailureCount.objects.create(digest=digest_of("ben"), account="ben", count=9, since=now, updated_at=now)
    code, written = exit_code("forget", "Anna@example.com", "--yes")
    assert code == 0
    assert written.splitlines() == [
        "Erased what was stored of the account Anna@example.com.",
        "  2 locks deleted",
        "  1 lock left in force without the name",
        "  1 count of failures deleted",
        "  1 event left without what identifies anybody",
    ]
    lock = AccountLock.objects.exclude(pk=other.pk).get()
    assert (lock.account, lock.reason, lock.digest) == ("", "", digest_of())
    assert get_locks().find(digest_of()) is not None
    assert [each.reference for each in records.active_locks()] == [other.reference, lock.reference]
    other.refresh_from_db()
    assert (other.account, other.reason) == ("ben", "his own")
    assert [row.account for row in FailureCount.objects.all()] == ["ben"]
    assert counts(account=ANNA) == {}
    assert {"brute_force": 3, "account_enumeration": 1}.items() <= counts(address=HOST).items()


def test_a_name_that_was_linked_is_forgotten_with_its_account() -> None:
    detector = security_event_logger.pipeline.detector
    get_store().execute(detector.pass_ops(detector.attempt(Observation(OTHER, account=ANNA)), link="anna"))
    fail(2, HOST, "anna")
    lock_row("anna")
    secguard("forget", ANNA, "--yes")
    assert counts(account="anna") == counts(account=ANNA) == {}
    assert AccountLock.objects.get().account == ""


def test_nothing_of_an_account_is_left_on_a_server(empty_redis: str, redis_client: redis.Redis) -> None:
    with override_settings(SECGUARD={"REDIS_URL": empty_redis, "STORE_TIMEOUT": 10}):
        fail(2)
        fail(1, OTHER, "ben")
        secguard("forget", ANNA, "--yes")
        secguard("forget", HOST, "--yes")
        get_store().primary.close()  # type: ignore[attr-defined]
    keys = [key for key in redis_client.scan_iter() if not key.startswith(b"sg:token")]
    assert sorted(key[:5] for key in keys) == [b"sg:a:", b"sg:n:", b"sg:u:"]  # the other's, and the network of both


# -- an address ----------------------------------------------------------------------------------------------------


def test_an_address_is_forgotten_and_its_block_holds() -> None:
    fail(5)
    records.block_network(HOST, reason="the man from no. 5")
    block_row(lifted_at=ago(days=1), rule="brute_force")
    block_row(expires_at=ago(days=1))
    allowed_row(lifted_at=ago(days=1))
    allowed_row(reason="our neighbour")
    other = block_row(OTHER, reason="abuse")
    wider = block_row("203.0.113.0/24", reason="abuse", lifted_at=ago(days=1))
    code, written = exit_code("forget", HOST, "--yes")
    assert code == 0
    assert written.splitlines() == [
        "Erased what was stored of 203.0.113.7.",
        "  2 blocks deleted",
        "  2 blocks left in force without a reason",
        "  1 allowed network deleted",
        "  1 allowed network left in force without a reason",
        "  3 events left without what identifies anybody",
    ]
    mine = Block.objects.filter(network=HOST)
    assert [(row.reason, row.lifted_at) for row in mine] == [("", None)] * 2
    assert AllowedNetwork.objects.get().reason == ""
    assert is_blocked()
    for row in (other, wider):
        row.refresh_from_db()
        assert row.reason == "abuse"
    assert counts(address=HOST) == {}


def test_the_counter_that_led_to_a_block_is_dropped_even_if_it_is_of_both() -> None:
    pairs = {"pairs": {"events": "login_failed", "subject": "pair", "threshold": 3, "window": 60, "action": "block"}}
    with override_settings(SECGUARD={"RULES": pairs}):
        fail(3)
        assert counts(address=HOST, account=ANNA)["pairs"] == 3
        secguard("forget", HOST, "--yes")
        assert "pairs" not in counts(address=HOST, account=ANNA)


def test_an_ipv6_address_is_its_64_and_a_network_is_itself() -> None:
    fail(2, "2001:db8::1")
    block_row("2001:db8::/64", lifted_at=ago(days=1))
    block_row("2001:db8::/48", lifted_at=ago(days=1))
    secguard("forget", "2001:db8::ffff", "--yes")
    assert counts(address="2001:db8::/64") == {}
    assert [row.network for row in Block.objects.all()] == ["2001:db8::/48"]
    secguard("forget", "2001:db8::/48", "--yes")
    assert not Block.objects.exists()


# -- events ----------------------------------------------------------------------------------------------------------

IDENTIFYING = {"message", "ip_address", "network", "account", "account_digest", "user_id", "path", "user_agent"} | {
    "request_id",
    "extra",
}


def left_of(event: EventRecord) -> set[str]:
    return {name for name in IDENTIFYING if getattr(event, name)}


@override_settings(SECGUARD={"PERSIST_EVENTS": "all", "AUDIT_CHAIN": True})
@pytest.mark.parametrize(("subject", "places"), [(ANNA, {1, 3}), (HOST, {1, 2})])
def test_events_lose_what_identifies_anybody_and_their_links_hold(subject: str, places: set[int]) -> None:
    fail(1, HOST, ANNA)
    fail(1, HOST, "ben")
    fail(1, OTHER, ANNA)
    fail(1, OTHER, "carl")
    records.save_at_exit()
    kept = ("event_type", "timestamp", "severity", "category")
    before = list(EventRecord.objects.order_by("sequence").values(*kept))
    secguard("forget", subject, "--yes")
    rows = EventRecord.objects.filter(sequence__lte=4).order_by("sequence")
    assert list(rows.values(*kept)) == before
    for event in rows:
        if event.sequence in places:
            assert left_of(event) == set()
        else:
            assert left_of(event) >= {"account", "network", "message"}
    found = verify()
    assert (found.broken, found.erased, found.checked) == (None, 2, 5)


def test_events_under_the_other_name_of_a_user_are_his(django_user_model: Any) -> None:
    user = django_user_model.objects.create_user("anna", ANNA)
    with override_settings(SECGUARD={"PERSIST_EVENTS": "all"}):
        fail(1, HOST, "anna")
        fail(1, OTHER, ANNA)
        security_event_logger.log_logout(user_id=user.pk, ip_address=HOST)
        security_event_logger.log_logout(user_id=user.pk + 1, ip_address=HOST)
        records.save_at_exit()
        assert "4 events" not in secguard("forget", ANNA, "--yes")
    left = EventRecord.objects.filter(erasure="").exclude(event_type="data_erased")
    assert [event.user_id for event in left if event.event_type == "logout"] == [str(user.pk + 1)]
    assert not left.filter(event_type="login_failed").exists()


def test_events_of_a_name_that_two_users_share_are_not_the_others(django_user_model: Any) -> None:
    victim = django_user_model.objects.create_user("anna", "")
    django_user_model.objects.create_user("ANNA", "")
    with override_settings(SECGUARD={"PERSIST_EVENTS": "all"}):
        security_event_logger.log_logout(user_id=victim.pk, username="somebody", ip_address=HOST)
        records.save_at_exit()
        secguard("forget", "anna", "--yes")
    assert EventRecord.objects.get(event_type="logout").account == "somebody"


@pytest.mark.parametrize("before", ["plain", "hmac"])
def test_an_address_is_found_as_it_was_shown_before(before: str) -> None:
    key = {"HMAC_KEY": "0123456789abcdef", "PERSIST_EVENTS": "all"}
    with override_settings(SECGUARD={"PRIVACY": before, **key}):
        fail(1)
        records.save_at_exit()
    with override_settings(SECGUARD={"PRIVACY": "hmac" if before == "plain" else "plain", **key}):
        assert as_json("forget", HOST, "--yes")["events_blanked"] == 1


def test_a_search_in_batches_finds_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "BATCH", 2)
    with override_settings(SECGUARD={"PERSIST_EVENTS": "all", "RULES": {"brute_force": None}}):
        fail(5)
        records.save_at_exit()
        assert as_json("forget", ANNA, "--yes")["events_blanked"] == 5
        assert as_json("forget", ANNA, "--yes")["events_blanked"] == 0


# -- what is said --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", [ANNA, HOST])
def test_one_event_says_it_without_the_name(subject: str) -> None:
    lock_row(reason="Anna's own")
    block_row(reason="Anna's own")
    with capture_events() as events:
        secguard("forget", subject, "--yes")
    (event,) = events
    assert event.type == "data_erased"
    assert event.context["by"]
    assert event.context["subject_type"] == ("account" if subject == ANNA else "address")
    assert event.context["counters_known"] is True
    assert not any(part in f"{event.message} {event.context}".lower() for part in ("anna", "203.0.113", digest_of()))


def test_programs_read_what_was_done() -> None:
    lock_row(lifted_at=ago(days=1))
    assert as_json("forget", ANNA, "--yes") == {
        "locks_deleted": 1,
        "locks_blanked": 0,
        "failure_counts_deleted": 0,
        "events_blanked": 0,
        "counters_reached": True,
    }


def test_a_store_that_is_away_is_told_by_the_exit_code(dead_redis_url: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": dead_redis_url, "STORE_TIMEOUT": 10}):
        lock_row(lifted_at=ago(days=1))
        code, written = exit_code("forget", ANNA, "--yes")
    assert code == 4
    assert "its counters were not reached" in written
    assert not AccountLock.objects.exists()


# -- being asked ---------------------------------------------------------------------------------------------------


def rows() -> tuple[int, int]:
    return AccountLock.objects.count(), Block.objects.count()


@pytest.fixture
def _something() -> None:
    lock_row(lifted_at=ago(days=1))
    block_row(lifted_at=ago(days=1))


@pytest.mark.usefixtures("_something")
@pytest.mark.parametrize("typed", [None, "n\n", "\n", ""])
@pytest.mark.parametrize("subject", [ANNA, HOST])
def test_nothing_is_erased_without_a_yes(subject: str, typed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if typed is not None:
        monkeypatch.setattr(sys, "stdin", Terminal(typed))
    with pytest.raises(CommandError, match="Add --yes" if typed is None else "Nothing was erased"):
        secguard("forget", subject)
    assert rows() == (1, 1)


@pytest.mark.usefixtures("_something")
def test_a_yes_may_be_typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    secguard("forget", ANNA)
    assert "What is stored of the account anna@example.com will be erased." in capsys.readouterr().out
    assert rows() == (0, 1)


@pytest.mark.usefixtures("_something")
@pytest.mark.parametrize("subject", ["", "  ", "203.0.113.7/24"])
def test_wrong_input_erases_nothing(subject: str) -> None:
    with pytest.raises(CommandError):
        secguard("forget", subject, "--yes")
    assert rows() == (1, 1)
