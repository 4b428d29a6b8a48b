"""``manage.py secguard verify``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.management import CommandError
from django.test import override_settings

from secguard import records
from secguard.models import EventRecord
from tests.command.running import as_json, exit_code, secguard

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _chained() -> Iterator[None]:
    with override_settings(SECGUARD={"AUDIT_CHAIN": True, "HMAC_KEY": "0123456789abcdef"}):
        yield


def decide(count: int = 3) -> None:
    for number in range(count):
        records.block_network(f"192.0.2.{number}", by="deploy")


def head() -> str:
    return next(line for line in secguard("verify").splitlines() if line.startswith("Head: "))[6:]


def test_what_is_whole_is_said_with_its_head() -> None:
    decide()
    code, written = exit_code("verify")
    assert code == 0
    last = EventRecord.objects.get(sequence=3)
    assert written.splitlines() == ["All links hold: 3 rows, 0 of them erased.", f"Head: 3:{last.link}"]


def test_without_a_chain_it_says_so() -> None:
    with override_settings(SECGUARD={}):
        decide()
        code, written = exit_code("verify")
    assert code == 3
    assert written.splitlines() == [
        "There is no chain.",
        "Outside of the chain: 3 rows.",
        "SECGUARD['AUDIT_CHAIN'] is off: what is written now is outside of the chain.",
    ]


def test_the_first_broken_link_is_named() -> None:
    decide()
    row = EventRecord.objects.get(sequence=2)
    EventRecord.objects.filter(pk=row.pk).update(ip_address="192.0.2.77")
    code, written = exit_code("verify")
    assert code == 6
    assert f"The chain is broken at place 2, event {row.event_id}: its address, names or texts were changed" in written
    assert "The links of 1 row before it hold." in written


def test_a_head_that_was_kept_is_found_or_missed() -> None:
    decide()
    kept = head()
    decide(1)
    assert "The head that was expected is there." in secguard("verify", "--expect", kept)
    assert exit_code("verify", "--expect", kept.replace(kept[-4:], "0000"))[0] == 6
    assert exit_code("verify", "--expect", "9" + kept)[0] == 6


def test_programs_read_what_was_found() -> None:
    decide(2)
    EventRecord.objects.filter(sequence=2).delete()
    found = as_json("verify")
    assert (found["checked"], found["head"][:2], found["chained_now"]) == (1, "2:", True)
    assert (found["broken"]["kind"], found["broken"]["sequence"]) == ("truncated", 2)
    assert found["seconds"] >= 0


@pytest.mark.parametrize("given", ["", "5", "5:abc", "x:" + "0" * 64, "-1:" + "0" * 64, "1:" + "g" * 64])
def test_what_is_no_head_is_refused(given: str) -> None:
    with pytest.raises(CommandError, match="is no head"):
        secguard("verify", f"--expect={given}")
