"""The chain of events: what was done to it is named, and what honest work does to it breaks nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import OperationalError, transaction
from django.db.models import F
from django.test import override_settings

from secguard.events import new_event_id
from secguard.models import ChainHead, EventRecord
from secguard.records import chain, get_recorder, verification
from secguard.records.chain import BLANK, insert
from secguard.records.verification import Place, Verification, verify

NOON = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)
KEY = "0123456789abcdef"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _chained() -> Any:
    with override_settings(SECGUARD={"AUDIT_CHAIN": True, "HMAC_KEY": KEY}):
        yield


def row(number: int = 0, **fields: Any) -> EventRecord:
    given = {
        "event_id": uuid.UUID(new_event_id()),
        "timestamp": NOON + timedelta(seconds=number, microseconds=7),
        "event_type": "address_blocked",
        "category": "threat",
        "severity": "error",
        "message": f"Blocked 192.0.2.{number}",
        "ip_address": f"192.0.2.{number}",
        "network": f"192.0.2.{number}",
        "account": "änna",
        "rule": "brute_force",
        "count": number,
        "extra": {"duration_seconds": 900.0, "z": [1, 2.5, True, None, {"ä": "\u202e"}], "a": 1e20},
    }
    return EventRecord(**{**given, **fields})


def written(count: int = 6) -> list[EventRecord]:
    insert([row(number) for number in range(count)], "default")
    return list(EventRecord.objects.exclude(sequence=None).order_by("sequence"))


def change(sequence: int, **fields: Any) -> None:
    assert EventRecord.objects.filter(sequence=sequence).update(**fields)


def move(**places: int) -> None:
    for name, to in places.items():
        EventRecord.objects.filter(sequence=int(name[1:])).update(sequence=-to)
    EventRecord.objects.filter(sequence__lt=0).update(sequence=-F("sequence"))


def broken() -> tuple[str, int]:
    found = verify().broken
    assert found is not None
    return found.kind, found.sequence


# -- what is whole -------------------------------------------------------------------------------------------------


def test_rows_are_linked_one_after_the_other() -> None:
    rows = written()
    insert([row(9), row(10)], "default")
    found = verify()
    assert (found.checked, found.broken, found.outside) == (8, None, 0)
    assert [each.sequence for each in rows] == [1, 2, 3, 4, 5, 6]
    last = EventRecord.objects.get(sequence=8)
    assert found.head == f"8:{last.link}"


def test_without_a_chain_there_is_nothing_to_verify() -> None:
    with override_settings(SECGUARD={}):
        insert([row()], "default")
    assert verify() == Verification(0, 0, "", 0, 1, 0, "", None)
    assert EventRecord.objects.get().link == ""


def test_rows_from_before_and_from_between_are_outside_and_said() -> None:
    with override_settings(SECGUARD={}):
        insert([row(0)], "default")
    written(2)
    with override_settings(SECGUARD={}):
        insert([row(5)], "default")
    insert([row(6)], "default")
    found = verify()
    assert (found.checked, found.outside, found.broken) == (3, 2, None)
    assert found.outside_since == 2


def test_rows_that_were_saved_before_take_no_second_place() -> None:
    rows = [row(number) for number in range(3)]
    insert(rows, "default")
    insert([*rows, row(9)], "default")
    assert (verify().checked, verify().broken) == (4, None)
    assert EventRecord.objects.count() == 4


def test_what_is_rolled_back_leaves_no_gap() -> None:
    written(2)
    with transaction.atomic():
        insert([row(7)], "default")
        transaction.set_rollback(True)
    insert([row(8)], "default")
    assert (verify().checked, verify().broken) == (3, None)


def test_an_attempt_that_failed_at_the_end_is_made_again_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(number) for number in range(3)]
    with monkeypatch.context() as patched:
        patched.setattr(chain, "seal", lambda *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            insert(rows, "default")
    assert not EventRecord.objects.exists()
    insert([row(9)], "default")
    insert(rows, "default")
    assert (verify().checked, verify().broken) == (4, None)


@override_settings(SECGUARD={"AUDIT_CHAIN": True, "PERSIST_EVENTS": "all"})
def test_what_the_recorder_could_not_save_is_linked_when_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = get_recorder()
    with monkeypatch.context() as patched:
        patched.setattr(chain, "seal", away)
        recorder.save([row(number) for number in range(3)])
    assert len(recorder.waiting) == 3
    recorder.save_waiting()
    assert (verify().checked, verify().broken) == (3, None)


def away(*given: object) -> None:
    raise OperationalError("the database is away")


@pytest.mark.parametrize("batch", [1, 2, 3, 6, 7])
def test_batches_change_nothing(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "BATCH", batch)
    monkeypatch.setattr(chain, "BATCH", batch)
    written()
    done: list[int] = []
    assert verify(progress=done.append).broken is None
    assert done == list(range(batch, 7, batch))


def test_everything_that_a_row_says_comes_back_as_it_was_linked() -> None:
    extra = {
        "numbers": [0, -0.0, 1.0, -1.5, 1e-7, 1e15, 1e16, 1e17, 123456789.125, 2**53, 2**63 - 1, -(2**63), 1e300, 0.1],
        "texts": ["", "ä", "\u2028", '"\\', "\U0001f600", "1.0"],
        "nested": {"b": {}, "a": [], "ä": None},
        "choices": [EventRecord.Severity.ERROR, (1, 2)],
        "2": True,
    }
    insert([row(3, extra=extra, message=" é  ", user_agent="\u202e", count=None, rule="", path="/ä")], "default")
    insert([row(4, severity=EventRecord.Severity.ERROR)], "default")
    assert verify().broken is None


# -- what was done to it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("timestamp", NOON), ("event_type", "address_unblocked"), ("severity", "info"), ("category", "system")],
        *[("rule", ""), ("count", None), ("country", "DE"), ("method", "GET"), ("event_id", uuid.uuid4())],
        *[("message", "Blocked"), ("ip_address", "192.0.2.9"), ("network", ""), ("account", "anna")],
        *[("account_digest", "00"), ("user_id", "5"), ("path", "/"), ("user_agent", "curl"), ("request_id", "1")],
        *[("extra", {}), ("commitment", "0" * 64), ("nonce", ""), ("link", "0" * 64)],
    ],
)
def test_a_row_that_was_changed_is_named(name: str, value: Any) -> None:
    rows = written()
    change(3, **{name: value})
    found = verify().broken
    assert found is not None
    assert (found.kind, found.sequence) == ("changed", 3)
    assert found.event_id == str(value if name == "event_id" else rows[2].event_id)


def test_every_field_of_a_row_is_covered() -> None:
    own = {"id", "sequence", "link", "commitment", "nonce", "erasure"}
    assert {field.name for field in EventRecord._meta.concrete_fields} == own | {*chain.STANDING, *chain.PERSONAL}


@pytest.mark.parametrize(("gone", "expected"), [({1}, 1), ({3}, 3), ({3, 4}, 3), ({1, 2, 3, 4, 5}, 1)])
def test_a_row_that_was_taken_out_is_missed(gone: set[int], expected: int) -> None:
    written()
    EventRecord.objects.filter(sequence__in=gone).delete()
    assert broken() == ("missing", expected)


@pytest.mark.parametrize("left", [0, 1, 5])
def test_an_end_that_was_cut_off_is_missed(left: int) -> None:
    written()
    EventRecord.objects.filter(sequence__gt=left).delete()
    assert broken() == ("truncated", left + 1)


def test_a_gap_that_was_closed_is_seen() -> None:
    written()
    EventRecord.objects.filter(sequence=3).delete()
    move(_4=3, _5=4, _6=5)
    ChainHead.objects.update(sequence=5)
    assert broken() == ("changed", 3)  # what it followed is gone


def test_rows_that_changed_places_are_named() -> None:
    written()
    move(_3=4, _4=3)
    found = verify().broken
    assert found is not None
    assert (found.kind, found.sequence) == ("order", 3)
    assert "written at place 4" in found.what


@pytest.mark.parametrize("batch", [1, 2, 3, 1000])
def test_a_copy_of_a_row_is_seen(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "BATCH", batch)
    copy = written()[2]
    copy.pk, copy.event_id = None, uuid.uuid4()
    copy.save(force_insert=True)
    assert broken() == ("duplicate", 3)


def test_a_row_that_was_put_in_is_seen() -> None:
    last = written()[-1]
    EventRecord.objects.bulk_create([row(7, sequence=7, link="0" * 64)])
    assert broken() == ("added", 7)
    ChainHead.objects.update(sequence=7, link="0" * 64)
    assert broken() == ("changed", 7)
    EventRecord.objects.filter(sequence=7).update(sequence=0)
    ChainHead.objects.update(sequence=6, link=last.link)
    assert broken() == ("added", 0)


def test_an_end_that_was_cut_off_with_the_head_set_back_is_seen() -> None:
    rows = written()
    EventRecord.objects.filter(sequence__gt=4).delete()
    ChainHead.objects.update(sequence=4, link=rows[3].link)
    assert broken() == ("head", 4)


def test_and_still_when_the_next_row_was_written() -> None:
    rows = written()
    EventRecord.objects.filter(sequence__gt=4).delete()
    ChainHead.objects.update(sequence=4, link=rows[3].link)
    insert([row(7), row(8)], "default")
    assert broken() == ("changed", 5)


def test_a_beginning_that_was_cut_off_with_the_anchor_moved_is_seen() -> None:
    rows = written()
    EventRecord.objects.filter(sequence__lte=2).delete()
    ChainHead.objects.update(anchor_sequence=2, anchor_link=rows[1].link)
    assert broken() == ("head", 6)


def test_a_head_that_was_taken_away_is_missed() -> None:
    written()
    ChainHead.objects.all().delete()
    assert broken() == ("head", 1)
    insert([row(7)], "default")
    assert broken() == ("changed", 7)


def test_a_head_that_names_another_link_is_seen() -> None:
    written()
    ChainHead.objects.update(link="0" * 64)
    assert broken() == ("head", 6)


def test_with_another_key_nothing_holds() -> None:
    written()
    with override_settings(SECGUARD={"AUDIT_CHAIN": True, "HMAC_KEY": "another one of 16"}):
        assert broken() == ("changed", 1)


def test_a_row_that_was_emptied_is_no_erasure() -> None:
    written()
    change(3, **BLANK)
    assert broken() == ("erased", 3)
    change(3, nonce="", erasure="0" * 64)
    assert broken() == ("erased", 3)


def test_a_mark_of_erasure_is_good_for_its_own_row_alone() -> None:
    rows = written()
    change(3, **BLANK, nonce="", erasure=chain.mark_of_erasure(rows[3].event_id))
    assert broken() == ("erased", 3)


def test_what_was_erased_cannot_be_filled_in_again() -> None:
    rows = written()
    change(3, **BLANK, nonce="", erasure=chain.mark_of_erasure(rows[2].event_id))
    assert verify().broken is None
    assert verify().erased == 1
    change(3, account="somebody else")
    assert broken() == ("changed", 3)


def test_only_the_first_break_is_told() -> None:
    written()
    change(2, rule="")
    change(4, rule="")
    assert (broken(), verify().checked) == (("changed", 2), 1)


# -- a head that was kept elsewhere ----------------------------------------------------------------------------------


def test_a_head_that_was_kept_is_found_again() -> None:
    rows = written()
    for sequence in (1, 4, 6):
        assert verify(expect=Place(sequence, rows[sequence - 1].link)).expected == "found"


def test_a_chain_that_was_written_anew_under_the_key_is_seen_by_it() -> None:
    kept = Place(4, written()[3].link)
    EventRecord.objects.all().delete()
    ChainHead.objects.all().delete()
    written()
    assert verify().broken is None
    found = verify(expect=kept).broken
    assert found is not None
    assert (found.kind, found.sequence) == ("expected", 4)


def test_a_chain_that_was_set_back_to_an_older_copy_is_seen_by_it() -> None:
    written(2)
    copy = ChainHead.objects.values("sequence", "link", "seal").get()
    kept = Place(4, (written(2))[-1].link)
    EventRecord.objects.filter(sequence__gt=2).delete()
    ChainHead.objects.update(**copy)
    assert verify().broken is None
    found = verify(expect=kept).broken
    assert found is not None
    assert (found.kind, found.sequence) == ("expected", 2)


def test_a_chain_that_is_gone_is_seen_by_it() -> None:
    found = verify(expect=Place(4, "0" * 64)).broken
    assert found is not None
    assert found.kind == "expected"


# -- others write meanwhile ------------------------------------------------------------------------------------------


def test_rows_that_come_while_it_looks_break_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "BATCH", 2)
    written()
    more = iter(range(20, 40))
    found = verify(progress=lambda done: insert([row(next(more))], "default"))
    assert (found.checked, found.broken) == (6, None)


def test_the_head_is_locked_before_anything_is_read(django_assert_num_queries: Callable[..., Any]) -> None:
    written(1)
    with django_assert_num_queries(7) as queries:
        insert([row(2), row(3)], "default")
    assert "UPDATE" in [query["sql"].split()[0] for query in queries.captured_queries][:2]
