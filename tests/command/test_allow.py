"""``manage.py secguard allow``, and what ``records`` does for it."""

from __future__ import annotations

import pytest
from django.core.management import CommandError

from secguard import records
from secguard.context import get_resolver
from secguard.models import AllowedNetwork, Block
from secguard.pipeline import get_replica, get_store
from secguard.testing import capture_events
from tests.command.running import HOST, ago, allowed_row, as_json, block_row, exit_code, fail, is_blocked, secguard

pytestmark = pytest.mark.django_db


def is_allowed(text: str = HOST) -> bool:
    address = get_resolver().address(text)
    assert address is not None
    return get_replica().is_allowed(address)


def test_an_allowed_network_is_recorded_and_in_force() -> None:
    with capture_events() as events:
        written = secguard("allow", "203.0.113.0/24", "--duration", "2h", "--reason", "a partner")
    row = AllowedNetwork.objects.get()
    assert written == f"Allowed 203.0.113.0/24 for 2h. Reference: {row.reference}\n"
    assert (row.network, row.reason, bool(row.created_by)) == ("203.0.113.0/24", "a partner", True)
    assert row.expires_at is not None
    assert (row.expires_at - row.created_at).total_seconds() == 7200
    assert is_allowed("203.0.113.99")
    (event,) = events
    assert event.type == "network_allowed"
    assert (event.context["subject"], event.context["by"]) == ("203.0.113.0/24", row.created_by)
    assert (event.context["duration_seconds"], event.context["reference"]) == (7200, str(row.reference))


@pytest.mark.django_db(transaction=True)
def test_the_other_processes_are_told() -> None:
    secguard("allow", HOST)
    first = get_store().get_token(records.TOKEN)
    secguard("allow", HOST, "--remove")
    assert first is not None
    assert get_store().get_token(records.TOKEN) != first


def test_whoever_is_allowed_is_not_blocked_again() -> None:
    fail(5)
    written = secguard("allow", HOST)
    assert written.splitlines()[1] == "Lifted 1 block of it."
    assert not is_blocked()
    with capture_events() as events:
        fail(5)
    assert not is_blocked()
    (suppressed,) = events.of("block_suppressed")
    assert suppressed.context["reason"] == "allowed"


def test_blocks_of_wider_networks_are_not_lifted() -> None:
    block_row("203.0.113.0/24")
    secguard("allow", HOST)
    assert Block.objects.filter(lifted_at=None).count() == 1


def test_what_was_allowed_can_be_taken_back() -> None:
    records.allow_network(HOST)
    records.allow_network(HOST)
    allowed_row("203.0.113.0/24")
    with capture_events() as events:
        assert exit_code("allow", HOST, "--remove", "--reason", "left us") == (
            0,
            "203.0.113.7 is no longer allowed.\n",
        )
    assert not is_allowed()
    row = AllowedNetwork.objects.filter(network=HOST).first()
    assert row is not None
    assert (row.lift_reason, bool(row.lifted_by), row.lifted_at is None) == ("left us", True, False)
    assert [(event.type, event.context["count"]) for event in events] == [("network_disallowed", 2)]
    assert [each.network for each in records.active_allowed()] == ["203.0.113.0/24"]


def test_what_is_not_allowed_cannot_be_taken_back() -> None:
    allowed_row(HOST, expires_at=ago(minutes=1))
    with capture_events() as events:
        assert exit_code("allow", HOST, "--remove") == (3, "203.0.113.7 was not allowed.\n")
    assert events == []


@pytest.mark.parametrize("network", ["0.0.0.0/0", "10.0.0.0/7", "::/0", "2000::/15"])
def test_a_good_part_of_the_internet_is_never_allowed(network: str) -> None:
    with pytest.raises(CommandError, match="too wide"):
        secguard("allow", network)
    assert not AllowedNetwork.objects.exists()


@pytest.mark.parametrize(
    "arguments", [("203.0.113.7/24",), ("anna",), (HOST, "--duration", "0"), (HOST, "--remove", "--duration", "1h")]
)
def test_wrong_input_changes_nothing(arguments: tuple[str, ...]) -> None:
    allowed_row(HOST)
    block_row(HOST)
    with pytest.raises(CommandError):
        secguard("allow", *arguments)
    assert AllowedNetwork.objects.filter(lifted_at=None).count() == 1
    assert Block.objects.filter(lifted_at=None).count() == 1


def test_allow_can_be_read_by_programs() -> None:
    told = as_json("allow", "2001:db8::7")
    row = AllowedNetwork.objects.get()
    assert told == {"network": "2001:db8::/64", "reference": str(row.reference), "lifted": 0, "duration": None}
    assert as_json("allow", "2001:db8::9", "--remove") == {"network": "2001:db8::/64", "ended": 1}
