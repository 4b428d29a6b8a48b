"""``manage.py secguard explain --header``: which entry is taken as the client, hop by hop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.management import CommandError
from django.test import override_settings

from tests.command.running import HOST, OTHER, as_json, block_row, rows_of, secguard

pytestmark = pytest.mark.django_db


HEADER = "X-Forwarded-For: 192.0.2.66, 203.0.113.7, 10.0.0.2"


@pytest.fixture(autouse=True)
def _behind_proxies() -> Iterator[None]:
    with override_settings(SECGUARD={"TRUSTED_PROXIES": ["10.0.0.0/8"]}):
        yield


def test_the_way_is_shown_hop_by_hop() -> None:
    written = secguard("explain", "--header", HEADER, "--remote-addr", "10.0.0.1")
    assert rows_of(written, "from") == [
        {"from": "REMOTE_ADDR", "entry": "10.0.0.1", "verdict": "a trusted proxy: its header is read"},
        {"from": "X-Forwarded-For", "entry": "10.0.0.2", "verdict": "a trusted proxy: passed over"},
        {"from": "X-Forwarded-For", "entry": HOST, "verdict": "taken as the client"},
        {"from": "X-Forwarded-For", "entry": "192.0.2.66", "verdict": "not looked at"},
    ]
    assert "The client is 203.0.113.7: it is the first from the right that is no trusted proxy." in written
    assert "CLIENT_IP_HEADER is X-Forwarded-For; TRUSTED_PROXIES: 10.0.0.0/8." in written


def test_then_all_about_the_client_is_told() -> None:
    block_row(created_by="ben")
    told = as_json("explain", "--header", HEADER, "--remote-addr", "10.0.0.1")
    assert (told["way"]["client"], told["explanations"][0]["subject"]) == (HOST, HOST)
    assert told["explanations"][0]["request"]["refused"] is True


def test_without_a_peer_the_address_itself_is_the_peer() -> None:
    assert as_json("explain", "10.0.0.1", "--header", HEADER)["way"]["client"] == HOST
    assert as_json("explain", OTHER, "--header", HEADER)["way"]["client"] == OTHER


def test_an_address_that_was_expected_and_is_not_the_client_is_pointed_out() -> None:
    given = ("--header", HEADER, "--remote-addr", "10.0.0.1")
    assert "It is not 203.0.113.8." in secguard("explain", OTHER, *given)
    assert "It is not" not in secguard("explain", HOST, *given)


def test_a_header_that_is_not_configured_is_not_read() -> None:
    given = ("--header", "X-Real-IP: 203.0.113.9", "--header", HEADER, "--remote-addr", "10.0.0.1")
    assert "Not read at all: X-Real-IP." in secguard("explain", *given)


def test_lines_of_one_header_are_joined() -> None:
    given = ("--header", "x-forwarded-for: 203.0.113.7", "--header", "X-Forwarded-For: 10.0.0.2")
    assert as_json("explain", *given, "--remote-addr", "10.0.0.1")["way"]["client"] == HOST


def test_a_client_that_nobody_knows_is_told_as_that() -> None:
    given = ("--header", "X-Forwarded-For: unknown", "--remote-addr", "10.0.0.1")
    written = secguard("explain", *given)
    assert "The client is unknown, and refused by no address: the header cannot be read" in written
    told = as_json("explain", *given)
    assert (told["way"]["unknown_because"], told["explanations"]) == ("malformed_header", [])


@pytest.mark.parametrize("header", ["203.0.113.7", ": 203.0.113.7", ""])
def test_what_is_no_header_is_an_error(header: str) -> None:
    with pytest.raises(CommandError, match="no header"):
        secguard("explain", "10.0.0.1", "--header", header)
