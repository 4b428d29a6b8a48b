"""``manage.py secguard subject``: whoever asks what is held of him gets all of it, and nothing of anybody else."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.test import override_settings

from secguard import records
from secguard.logging import security_event_logger
from secguard.management.verbs.subject import as_json as streamed
from secguard.models import FailureCount
from secguard.records import disclosure
from secguard.records.disclosure import disclose_account
from secguard.testing import capture_events
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
    secguard,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _all_events_are_rows() -> Iterator[None]:
    with override_settings(SECGUARD={"PERSIST_EVENTS": "all", "RULES": {"brute_force": None}}):
        yield


@pytest.fixture
def _history(_all_events_are_rows: None) -> None:
    fail(3, HOST, ANNA)
    fail(2, OTHER, "ben")
    lock_row(lifted_at=ago(days=1), reason="Anna asked")
    lock_row("ben")
    block_row(reason="=cmd|'/c calc'!A1")
    block_row(OTHER)
    allowed_row(lifted_at=ago(days=1))
    now = ago(days=0)
    FailureCount.objects.create(digest=digest_of(), account=ANNA, count=3, since=now, updated_at=now)
    records.save_at_exit()


@pytest.mark.usefixtures("_history")
def test_all_of_an_account_is_exported() -> None:
    found = as_json("subject", ANNA)
    assert (found["subject"], found["kind"], found["digests"]) == (ANNA, "account", [digest_of()])
    assert [(row["account"], row["reason"]) for row in found["locks"]] == [(ANNA, "Anna asked")]
    assert [row["count"] for row in found["failure_counts"]] == [3]
    assert [row["event_type"] for row in found["events"]] == ["login_failed"] * 3
    assert {row["account"] for row in found["events"]} == {ANNA}
    assert {row["ip_address"] for row in found["events"]} == {HOST}
    assert {(row["rule"], row["count"]) for row in found["counters"]} >= {("account_failures", 3)}
    assert found["counters_known"] is True
    assert any("log files" in each for each in found["not_covered"])
    assert "ben" not in json.dumps(found)


@pytest.mark.usefixtures("_history")
def test_all_of_an_address_is_exported() -> None:
    found = as_json("subject", HOST)
    assert (found["subject"], found["kind"]) == (HOST, "address")
    assert len(found["blocks"]) == len(found["allowed"]) == 1
    assert len(found["events"]) == 3
    assert ("account_enumeration", 1) in {(row["rule"], row["count"]) for row in found["counters"]}
    assert OTHER not in json.dumps(found)


@pytest.mark.usefixtures("_history")
def test_a_person_reads_how_much_there_is() -> None:
    code, written = exit_code("subject", ANNA)
    assert code == 0
    facts = facts_of(written.partition("Not covered")[0])
    assert facts == {
        "account": ANNA,
        "digest": digest_of(),
        "locks": "1 lock",
        "failure counts": "1 count of failures in a row",
        "events": "3 events",
        "counters": "2 counters",
    }
    assert "Not covered:\n  log files" in written


def test_of_nobody_there_is_nothing() -> None:
    found = as_json("subject", "nobody")
    assert {name: found[name] for name in ("locks", "failure_counts", "events", "counters")} == {
        "locks": [],
        "failure_counts": [],
        "events": [],
        "counters": [],
    }


@pytest.mark.usefixtures("_history")
def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "anna.json"
    written = secguard("subject", ANNA, "--output", str(path))
    assert f"Wrote what is held of {ANNA} to {path}." in written
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(json.loads(path.read_text())["events"]) == 3
    with pytest.raises(CommandError, match="is there already"):
        secguard("subject", "ben", "--output", str(path))
    assert json.loads(path.read_text())["subject"] == ANNA
    with pytest.raises(CommandError, match="cannot be written"):
        secguard("subject", "ben", "--output", str(tmp_path / "no" / "where"))


@pytest.mark.parametrize("subject", [ANNA, HOST])
def test_one_event_says_who_asked_and_not_for_whom(subject: str) -> None:
    lock_row(reason="Anna's own")
    with capture_events() as events:
        secguard("subject", subject)
    (event,) = events
    assert (event.type, bool(event.context["by"])) == ("data_exported", True)
    assert not any(part in f"{event.message} {event.context}".lower() for part in ("anna", "203.0.113", digest_of()))


def test_rows_are_read_while_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disclosure, "CHUNK", 2)
    fail(7)
    records.save_at_exit()
    parts = list(streamed(disclose_account(ANNA)))
    assert max(part.count("event_id") for part in parts) == 1
    assert len(json.loads("".join(parts))["events"]) == 7


def test_whatever_was_typed_is_text_in_it() -> None:
    name = 'an"na\u202e\n</script>=1+1'
    fail(1, HOST, name)
    records.save_at_exit()
    written = secguard("subject", "--account", name, "--json")
    assert written.isascii()
    assert len(json.loads(written)["events"]) == 1


def test_the_events_of_a_user_are_found_by_all_his_names(django_user_model: Any) -> None:
    user = django_user_model.objects.create_user("anna", ANNA)
    fail(1, HOST, "anna")
    fail(1, HOST, ANNA)
    security_event_logger.log_logout(user_id=user.pk, ip_address=OTHER)
    records.save_at_exit()
    found = as_json("subject", "anna")
    assert len(found["events"]) == 3
    assert found["user_id"] == str(user.pk)


def test_a_store_that_is_away_is_told_by_the_exit_code(dead_redis_url: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": dead_redis_url, "STORE_TIMEOUT": 10}):
        code, written = exit_code("subject", ANNA)
    assert code == 4
    assert "the store is away" in written
