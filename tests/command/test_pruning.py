"""``manage.py secguard prune``."""

from __future__ import annotations

import io
import sys
import uuid

import pytest
from django.core.management import CommandError
from django.test import override_settings

from secguard import records
from secguard.events import new_event_id
from secguard.models import AccountLock, AllowedNetwork, Block, ChainHead, EventCount, EventRecord
from secguard.records import pruning, verification
from secguard.records.chain import insert
from secguard.records.verification import verify
from tests.command.running import HOST, Terminal, ago, allowed_row, as_json, block_row, exit_code, lock_row, secguard

pytestmark = pytest.mark.django_db


def networks() -> list[str]:
    return sorted(Block.objects.values_list("network", flat=True))


def test_what_ended_long_ago_is_deleted() -> None:
    block_row("192.0.2.1", created_at=ago(days=300), lifted_at=ago(days=181))
    block_row("192.0.2.2", created_at=ago(days=300), lifted_at=ago(days=179))
    block_row("192.0.2.3", created_at=ago(days=300), expires_at=ago(days=181))
    block_row("192.0.2.4", created_at=ago(days=300), expires_at=ago(days=179))
    block_row("192.0.2.5", created_at=ago(days=300))
    block_row("192.0.2.6", created_at=ago(days=300), expires_at=ago(days=-1))
    lock_row(created_at=ago(days=300), lifted_at=ago(days=181))
    lock_row("ben", created_at=ago(days=300))
    allowed_row(created_at=ago(days=300), expires_at=ago(days=181))
    allowed_row("192.0.2.0/24", created_at=ago(days=300))
    assert secguard("prune").splitlines() == [
        "Deleted 2 blocks, 1 lock, 1 allowed network that ended more than 180 days ago.",
        "Deleted 0 events and 0 counts from before that.",
    ]
    assert networks() == ["192.0.2.2", "192.0.2.4", "192.0.2.5", "192.0.2.6"]
    assert [lock.account for lock in AccountLock.objects.all()] == ["ben"]
    assert [row.network for row in AllowedNetwork.objects.all()] == ["192.0.2.0/24"]


def test_a_block_that_was_lifted_before_its_end_counts_from_the_lifting() -> None:
    block_row(created_at=ago(days=30), lifted_at=ago(days=20), expires_at=ago(days=-300))
    secguard("prune", "--days", "21")
    assert networks() == [HOST]
    secguard("prune", "--days", "19")
    assert networks() == []


@override_settings(SECGUARD={"OFFENCE_MEMORY": 90 * 86_400})
def test_what_makes_the_next_block_longer_is_kept() -> None:
    block_row(rule="brute_force", created_at=ago(days=80), expires_at=ago(days=79))
    block_row(rule="brute_force", created_at=ago(days=100), expires_at=ago(days=99))
    block_row("192.0.2.1", rule="brute_force", created_at=ago(days=80), lifted_at=ago(days=79))
    block_row("192.0.2.2", created_at=ago(days=80), expires_at=ago(days=79))
    block_row("192.0.2.3", rule="brute_force", created_at=ago(days=100), expires_at=ago(days=91))
    deleted = {"blocks": 3, "locks": 0, "allowed": 0, "events": 0, "counts": 0}
    assert as_json("prune", "--days", "30") == {"days": 30, "deleted": deleted, "broken": None}
    assert networks() == [HOST, HOST]
    assert records.count_offences(HOST) == 2


@override_settings(SECGUARD={"OFFENCE_MEMORY": 30 * 86_400})
def test_offences_without_a_quiet_time_between_them_are_all_kept() -> None:
    for began, ended in ((100, 93), (70, 63), (40, 33), (10, 9)):
        block_row(rule="brute_force", created_at=ago(days=began), expires_at=ago(days=ended))
    block_row("192.0.2.1", rule="brute_force", created_at=ago(days=40), expires_at=ago(days=29))
    before = [records.count_offences(network) for network in (HOST, "192.0.2.1")]
    assert before == [4, 1]
    secguard("prune", "--days", "7")
    assert [records.count_offences(network) for network in (HOST, "192.0.2.1")] == before


def test_rows_go_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH", 3)
    for number in range(7):
        block_row(f"192.0.2.{number}", created_at=ago(days=300), lifted_at=ago(days=200))
    done: list[int] = []
    assert pruning.prune(180, progress=done.append).deleted["blocks"] == 7
    assert done == [3, 6, 7]
    assert networks() == []


def test_progress_is_shown_where_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, said in ((Terminal(), True), (io.StringIO(), False)):
        block_row(created_at=ago(days=300), lifted_at=ago(days=200))
        monkeypatch.setattr(sys, "stderr", stream)
        secguard("prune")
        assert ("\rrows deleted: 1" in stream.getvalue()) is said


# -- events and counts -----------------------------------------------------------------------------------------------


def event_row(days: float) -> EventRecord:
    return EventRecord(
        event_id=uuid.UUID(new_event_id()),
        timestamp=ago(days=days),
        event_type="address_blocked",
        category="threat",
        severity="error",
    )


def events_left() -> list[int | None]:
    return list(EventRecord.objects.order_by("timestamp").values_list("sequence", flat=True))


def test_old_events_are_deleted() -> None:
    insert([event_row(days) for days in (300, 181, 179, 0)], "default")
    assert "Deleted 2 events and 0 counts" in secguard("prune")
    assert len(events_left()) == 2


@override_settings(SECGUARD={"RETENTION_DAYS": 30})
def test_what_is_old_is_the_settings_to_say() -> None:
    insert([event_row(31), event_row(29)], "default")
    assert as_json("prune")["days"] == 30
    assert len(events_left()) == 1


def test_counts_by_the_minute_are_kept_two_days_and_those_by_the_hour_as_long_as_the_rest() -> None:
    for span in (60, 3_600):
        for days in (181, 179, 3, 1):
            EventCount.objects.create(span=span, start=ago(days=days), event_type="login_failed", count=1)
    assert as_json("prune")["deleted"]["counts"] == 4
    assert list(EventCount.objects.order_by("span", "start").values_list("span", flat=True)) == [60] + [3_600] * 3


CHAINED = {"AUDIT_CHAIN": True, "HMAC_KEY": "0123456789abcdef"}


@override_settings(SECGUARD=CHAINED)
@pytest.mark.parametrize("batch", [1, 2, 3, 500])
def test_a_chain_is_shortened_from_its_oldest_end(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH", batch)
    insert([event_row(days) for days in (300, 290, 280, 200, 100, 0)], "default")
    head = verify().head
    assert as_json("prune")["deleted"]["events"] == 4
    found = verify()
    assert (found.broken, found.checked, found.anchor, found.head) == (None, 2, 4, head)
    insert([event_row(0)], "default")
    assert (verify().broken, verify().checked) == (None, 3)


@override_settings(SECGUARD=CHAINED)
def test_a_chain_that_is_pruned_altogether_goes_on() -> None:
    insert([event_row(300), event_row(300)], "default")
    secguard("prune")
    assert (verify().broken, verify().checked, events_left()) == (None, 0, [])
    insert([event_row(0)], "default")
    assert (verify().broken, events_left()) == (None, [3])


@override_settings(SECGUARD=CHAINED)
def test_what_came_late_is_kept_until_what_is_before_it_goes() -> None:
    insert([event_row(300), event_row(100), event_row(300), event_row(0)], "default")
    secguard("prune")
    assert sorted(events_left()) == [2, 3, 4]  # type: ignore[type-var]
    assert verify().broken is None


@override_settings(SECGUARD=CHAINED)
def test_a_clock_that_was_wrong_keeps_nothing_for_ever() -> None:
    insert([event_row(300), event_row(-4_000), event_row(300), event_row(0)], "default")
    secguard("prune")
    assert events_left() == [4]
    assert verify().broken is None


@override_settings(SECGUARD=CHAINED)
def test_nobody_has_pruning_remove_what_he_changed() -> None:
    insert([event_row(days) for days in (300, 5, 4, 3)], "default")
    EventRecord.objects.filter(sequence__in=[2, 3]).update(timestamp=ago(days=300))
    code, written = exit_code("prune")
    assert code == 6
    assert "The chain is broken at place 2" in written
    assert sorted(events_left()) == [2, 3, 4]  # type: ignore[type-var]
    found = verify().broken
    assert found is not None
    assert found.sequence == 2
    assert exit_code("prune", "--broken")[0] == 0
    assert events_left() == [4]


@override_settings(SECGUARD=CHAINED)
def test_nor_does_it_seal_a_head_that_somebody_else_wrote() -> None:
    insert([event_row(300), event_row(3), event_row(2)], "default")
    EventRecord.objects.filter(sequence=3).delete()
    ChainHead.objects.update(sequence=2, link=EventRecord.objects.get(sequence=2).link)
    assert exit_code("prune")[0] == 6
    assert verify().broken is not None


@override_settings(SECGUARD=CHAINED)
def test_pruning_that_was_stopped_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    insert([event_row(300) for _ in range(5)], "default")

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pruning.prune(180, progress=stop)
    assert (len(events_left()), verify().broken) == (3, None)
    assert pruning.prune(180).deleted["events"] == 3


@override_settings(SECGUARD=CHAINED)
def test_verification_passes_over_what_is_pruned_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "BATCH", 2)
    insert([event_row(days) for days in (300, 299, 298, 297, 0, 0)], "default")
    found = verify(progress=lambda done: secguard("prune") if done == 2 else None)  # type: ignore[func-returns-value]
    assert (found.broken, found.checked) == (None, 4)


@pytest.mark.parametrize("days", ["0", "-3", "ten", "1.5", "", "999999999"])
def test_what_is_no_number_of_days_deletes_nothing(days: str) -> None:
    block_row(created_at=ago(days=300), lifted_at=ago(days=200))
    with pytest.raises(CommandError):
        secguard("prune", f"--days={days}")
    assert networks() == [HOST]
