"""Imported lists: what becomes of their lines, and what a second import changes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from secguard import records
from secguard.models import Block
from secguard.pipeline import get_replica
from secguard.records import TOKEN, Synchroniser, database_now
from secguard.records.lists import MAX_SKIPPED, ImportResult, import_list, lists, remove_list
from secguard.stores import ResilientStore
from secguard.testing import CapturedEvents, ManualClock
from tests.records.rows import HOST, OTHER, committing, in_transaction, is_blocked, later, lift, row


def in_force(name: str = "spam") -> list[str]:
    return sorted(Block.objects.filter(list_name=name, lifted_at=None).values_list("network", flat=True))


def imported(*lines: str, name: str = "spam", **options: Any) -> ImportResult:
    return import_list(name, lines, **options)


def numbers(result: ImportResult) -> tuple[int, int, int, int]:
    return result[:4]


# -- what is imported ----------------------------------------------------------------------------------------------


@in_transaction
def test_a_list_becomes_rows_of_its_name() -> None:
    result = imported("203.0.113.7", "198.51.100.0/24", "what?", "2001:db8::7", by="anna", reason="they spam")
    assert result == ImportResult(3, 0, 0, 3, result.skipped, 1, 0)
    assert in_force() == ["198.51.100.0/24", "2001:db8::/64", "203.0.113.7"]
    block = Block.objects.get(network=HOST)
    assert (block.list_name, block.created_by, block.reason, block.rule) == ("spam", "anna", "they spam", "")
    assert (block.expires_at, block.created_at) == (None, block.updated_at)
    assert abs(block.created_at - database_now("default")) < timedelta(seconds=10)


@in_transaction
def test_lines_may_be_a_text(sync: Synchroniser) -> None:
    assert numbers(import_list("spam", "203.0.113.7\r\n203.0.113.8\n")) == (2, 0, 0, 2)


@committing
def test_workers_learn_of_a_list_all_at_once_and_are_told_once(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync.poll()
    told: list[str] = []
    set_token = store.set_token

    def tell(name: str, value: str) -> None:
        told.append(name)
        set_token(name, value)

    monkeypatch.setattr(store, "set_token", tell)
    imported("203.0.113.7", "198.51.100.0/24")
    later(clock, sync)
    assert is_blocked(HOST)
    assert is_blocked("198.51.100.77")
    imported("203.0.113.8")
    later(clock, sync)
    assert (is_blocked(HOST), is_blocked(OTHER), len(get_replica())) == (False, True, 1)
    assert told == [TOKEN, TOKEN]
    assert get_replica().active() == 0  # rules did nothing


@in_transaction
def test_a_network_inside_another_is_left_out_unless_it_lasts_longer() -> None:
    day = datetime.now(timezone.utc) + timedelta(days=1)
    lines = [
        "network,expires",
        *("203.0.113.0/24,", "203.0.113.7,", f"203.0.113.8,{day.isoformat()}", "203.0.113.0/24,"),
        *(f"198.51.100.0/24,{day.isoformat()}", "198.51.100.7,", f"198.51.100.8,{day.isoformat()}"),
        *(f"192.0.2.1,{day.isoformat()}", "192.0.2.1,", "2001:db8::1,", "2001:db8::2,"),
        *("10.0.0.0/8,", "10.0.0.0/16,", "10.0.0.1,", "11.0.0.1,"),
    ]
    result = imported(*lines)
    assert in_force() == [
        *("10.0.0.0/8", "11.0.0.1", "192.0.2.1", "198.51.100.0/24", "198.51.100.7", "2001:db8::/64"),
        "203.0.113.0/24",
    ]
    assert (result.total, result.collapsed) == (7, 8)
    assert Block.objects.get(network="192.0.2.1").expires_at is None


@in_transaction
def test_a_network_that_lasts_beyond_the_list_is_kept_beside_the_one_around_it() -> None:
    late = datetime.now(timezone.utc) + timedelta(days=9)
    imported("network,expires", "203.0.113.0/24,", f"203.0.113.7,{late.isoformat()}", duration=86_400)
    assert in_force() == ["203.0.113.0/24", HOST]


@in_transaction
@override_settings(SECGUARD={"ALLOWLIST": ["192.0.2.0/24", "2001:db8:7::7"], "TRUSTED_PROXIES": ["10.1.2.3"]})
def test_what_is_too_wide_or_never_refused_is_skipped_and_it_is_said_why() -> None:
    lines = ["0.0.0.0/0", "10.0.0.0/7", "2000::/12", "192.0.2.7", "192.0.0.0/16", "2001:db8:7::/48", "10.1.0.0/16"]
    result = imported(HOST, *lines, "198.51.100.0/24", "192.0.3.0/24", "2001:db8:8::/48")
    assert in_force() == ["192.0.3.0/24", "198.51.100.0/24", "2001:db8:8::/48", HOST]
    assert [(line, text) for line, text, _ in result.skipped] == list(enumerate(lines, 2))
    reasons = [why for _, _, why in result.skipped]
    assert all("too wide" in why for why in reasons[:3])
    assert all("192.0.2.0/24 in SECGUARD['ALLOWLIST']" in why for why in reasons[3:5])
    assert "2001:db8:7::7/128 in SECGUARD['ALLOWLIST']" in reasons[5]
    assert "10.1.2.3/32 in SECGUARD['TRUSTED_PROXIES']" in reasons[6]


@in_transaction
def test_a_line_that_has_ended_is_skipped() -> None:
    result = imported("ip,expires", "203.0.113.7,2020-01-01", "203.0.113.8,2999-01-01T00:00:00Z")
    assert in_force() == [OTHER]
    assert [(line, "ended at 2020" in why) for line, _, why in result.skipped] == [(2, True)]


@in_transaction
def test_of_very_many_skipped_lines_the_first_are_shown_and_all_counted() -> None:
    lines = [f"203.0.{n >> 8}.{n & 255}" for n in range(MAX_SKIPPED + 10)]
    result = imported(*lines, *(f"rubbish {n}" for n in range(MAX_SKIPPED + 5)))
    assert (len(result.skipped), result.skipped_total) == (MAX_SKIPPED, MAX_SKIPPED + 5)


@in_transaction
def test_a_list_lasts_as_long_as_it_is_given_and_its_lines_as_they_say(sync: Synchroniser, clock: ManualClock) -> None:
    end = datetime(2999, 1, 1, tzinfo=timezone.utc)
    imported("ip,expires,reason", "203.0.113.7,,", f"203.0.113.8,{end.isoformat()},scans", duration=60, reason="spam")
    first, second = Block.objects.order_by("network")
    assert first.expires_at is not None
    assert (first.expires_at - first.created_at, first.reason) == (timedelta(seconds=60), "spam")
    assert (second.expires_at, second.reason) == (end, "scans")
    sync.poll()
    clock.advance(61)
    assert (is_blocked(HOST), is_blocked(OTHER)) == (False, True)


@committing
@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns"])
def test_a_time_means_the_same_where_the_project_has_no_time_zones(
    zone: str, sync: Synchroniser, clock: ManualClock
) -> None:
    end = (datetime.now(timezone.utc) + timedelta(seconds=90)).astimezone(timezone(timedelta(hours=-7)))
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        for _ in range(2):
            result = imported("ip,expires", f"203.0.113.7,{end.isoformat()}")
        assert numbers(result) == (0, 1, 0, 1)
        sync.poll()
        clock.advance(60)
        assert is_blocked()
        clock.advance(60)
        assert not is_blocked()


@in_transaction
def test_progress_counts_the_lines() -> None:
    seen: list[int] = []
    imported(*(f"203.0.{n >> 8}.{n & 255}" for n in range(2_500)), progress=seen.append)
    assert seen == [1_000, 2_000, 2_500]


# -- a second import -----------------------------------------------------------------------------------------------


@in_transaction
def test_a_second_import_changes_what_differs_and_touches_nothing_else() -> None:
    imported("203.0.113.7", "203.0.113.8", "203.0.113.9", by="anna")
    row("203.0.113.8", rule="brute_force")
    imported("203.0.113.8", name="other")
    kept = Block.objects.get(network=OTHER, list_name="spam")
    result = imported("203.0.113.8", "203.0.113.9", "203.0.113.10", by="bert", reason="update")
    assert numbers(result) == (1, 2, 1, 3)
    assert in_force() == ["203.0.113.10", "203.0.113.8", "203.0.113.9"]
    same = Block.objects.get(pk=kept.pk)
    assert (same.updated_at, same.created_by, same.reference) == (kept.updated_at, "anna", kept.reference)
    gone = Block.objects.get(network=HOST)
    assert (gone.lifted_by, gone.lift_reason, gone.updated_at) == ("bert", "update", gone.lifted_at)
    assert Block.objects.get(network="203.0.113.10").created_by == "bert"
    assert in_force("other") == in_force("") == [OTHER]


@in_transaction
def test_the_same_list_again_writes_nothing() -> None:
    lines = ["ip,expires", "203.0.113.7,2999-01-01", "203.0.113.8,"]
    imported(*lines)
    before = list(Block.objects.values())
    with CaptureQueriesContext(connection) as queries:
        assert numbers(imported(*lines)) == (0, 2, 0, 2)
    assert list(Block.objects.values()) == before
    assert not any(query["sql"].startswith('INSERT INTO "secguard_block"') for query in queries)


@in_transaction
def test_another_end_is_another_block() -> None:
    imported("203.0.113.7", "203.0.113.8", duration=600)
    assert numbers(imported("203.0.113.7", "203.0.113.8")) == (2, 0, 2, 2)
    assert Block.objects.filter(lifted_at=None, expires_at=None).count() == 2


@in_transaction
def test_what_was_lifted_by_hand_or_has_ended_is_added_again() -> None:
    imported("203.0.113.7", "203.0.113.8", "203.0.113.9")
    records.unblock_network(HOST)
    Block.objects.filter(network=OTHER).update(expires_at=database_now("default"))
    assert numbers(imported("203.0.113.7", "203.0.113.8", "203.0.113.9")) == (2, 1, 0, 3)


@in_transaction
def test_a_network_that_is_there_twice_is_made_one() -> None:
    imported(HOST)
    row(HOST, list_name="spam")
    assert numbers(imported(HOST)) == (0, 1, 1, 1)


# -- nothing is changed --------------------------------------------------------------------------------------------


@in_transaction
@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 65, "a\n", "../x/y", "a,b"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name of a list: use 1 to 64"):
        imported(HOST, name=name)
    assert not Block.objects.exists()


@in_transaction
@pytest.mark.parametrize("duration", [0, -1, float("nan"), float("inf"), 1e15])
def test_a_duration_that_is_none_is_refused(duration: float) -> None:
    with pytest.raises(ValueError, match="give seconds, up to a hundred years"):
        imported(HOST, duration=duration)


@in_transaction
@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["<html>", "<body>", "203.0.113.9", "</html>"], "3 of 4 lines are no networks.*line 1, '<html>'"),
        ([], "No network is left"),
        (["# all gone"], "No network is left"),
        (["0.0.0.0/0"], "No network is left"),
    ],
)
def test_what_is_no_list_replaces_none(lines: Iterable[str], why: str, events: CapturedEvents) -> None:
    imported(HOST)
    events.clear()
    with pytest.raises(ValueError, match=why):
        imported(*lines)
    assert in_force() == [HOST]
    assert events == []


@in_transaction
def test_how_much_junk_a_list_may_have_can_be_said() -> None:
    lines = ["203.0.113.7", "a", "b", "c"]
    assert imported(*lines, max_junk=0.75).total == 1
    with pytest.raises(ValueError, match="3 of 4"):
        imported(*lines, max_junk=0.7)
    with pytest.raises(ValueError, match="1 of 2"):
        imported("203.0.113.7", "a", max_junk=0)


@committing
def test_an_import_that_fails_half_way_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    imported("203.0.113.7", "203.0.113.8")
    before = list(Block.objects.order_by("pk").values())
    monkeypatch.setattr("secguard.records.lists._BATCH", 5)
    lines = [f"198.51.100.{n}" for n in range(20)]

    def failing(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT") and "198.51.100.12" in str(params):
            raise DatabaseError("the disk is full")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(failing), pytest.raises(DatabaseError):
        imported(*lines)
    assert list(Block.objects.order_by("pk").values()) == before
    assert imported(*lines).added == 20


# -- what is said of it --------------------------------------------------------------------------------------------


@in_transaction
def test_an_import_is_one_event_with_its_numbers(events: CapturedEvents) -> None:
    imported("203.0.113.7", "203.0.113.8", "what?", by="anna", reason="spam", duration=60)
    imported("203.0.113.8", "203.0.113.9")
    assert events.types == ["list_imported", "list_imported"]
    context = events[0].context
    names = ("list", "added", "kept", "removed", "total", "skipped", "duration_seconds", "reason", "by")
    assert [context[name] for name in names] == ["spam", 2, 0, 0, 2, 1, 60, "spam", "anna"]
    assert context["event_id"]


@in_transaction
def test_lists_are_listed_with_what_is_in_force() -> None:
    assert lists() == []
    first = row(HOST, list_name="spam", created_by="anna", created_at=datetime(2020, 1, 1, tzinfo=timezone.utc))
    imported("198.51.100.1", "198.51.100.2", name="bots", by="bert")
    row(OTHER, list_name="gone", lifted_at=database_now("default"))
    row(OTHER)
    bots, spam = lists()
    assert (bots.name, bots.networks, bots.by) == ("bots", 2, "bert")
    assert spam == ("spam", 1, first.created_at, "anna")


@committing
def test_a_list_can_be_removed(
    sync: Synchroniser, store: ResilientStore, clock: ManualClock, events: CapturedEvents
) -> None:
    imported("203.0.113.7", "203.0.113.8")
    imported("203.0.113.8", name="other")
    sync.poll()
    lift(Block.objects.get(network=HOST))
    assert remove_list("spam", "anna", "no longer needed") == 1
    later(clock, sync)
    assert (is_blocked(HOST), is_blocked(OTHER), len(get_replica())) == (False, True, 1)
    block = Block.objects.get(network=OTHER, list_name="spam")
    assert (block.lifted_by, block.lift_reason) == ("anna", "no longer needed")
    assert [events[-1].context[name] for name in ("list", "removed", "total", "by")] == ["spam", 1, 0, "anna"]


@in_transaction
def test_of_a_list_that_there_is_not_the_others_are_told(events: CapturedEvents) -> None:
    with pytest.raises(LookupError, match=r"no list 'spam' .* Lists with some: none\."):
        remove_list("spam")
    imported(HOST, name="bots")
    imported(OTHER, name="scanners")
    with pytest.raises(LookupError, match=r"Lists with some: bots, scanners\."):
        remove_list("spam")
    assert len(events) == 2
