"""``manage.py secguard prune``."""

from __future__ import annotations

import io
import sys

import pytest
from django.core.management import CommandError
from django.test import override_settings

from secguard import records
from secguard.models import AccountLock, AllowedNetwork, Block
from secguard.records import pruning
from tests.command.running import HOST, Terminal, ago, allowed_row, as_json, block_row, lock_row, secguard

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
    assert secguard("prune") == ("Deleted 2 blocks, 1 lock, 1 allowed network that ended more than 180 days ago.\n")
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
    assert as_json("prune", "--days", "30") == {"days": 30, "deleted": {"blocks": 3, "locks": 0, "allowed": 0}}
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
    assert pruning.prune(180, progress=done.append) == {"blocks": 7, "locks": 0, "allowed": 0}
    assert done == [3, 6, 7]
    assert networks() == []


def test_progress_is_shown_where_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, said in ((Terminal(), True), (io.StringIO(), False)):
        block_row(created_at=ago(days=300), lifted_at=ago(days=200))
        monkeypatch.setattr(sys, "stderr", stream)
        secguard("prune")
        assert ("\rrows deleted: 1" in stream.getvalue()) is said


@pytest.mark.parametrize("days", ["0", "-3", "ten", "1.5", "", "999999999"])
def test_what_is_no_number_of_days_deletes_nothing(days: str) -> None:
    block_row(created_at=ago(days=300), lifted_at=ago(days=200))
    with pytest.raises(CommandError):
        secguard("prune", f"--days={days}")
    assert networks() == [HOST]
