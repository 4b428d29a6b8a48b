"""The lines of a list: what is understood, and what is said of the rest."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.network import parse_network
from secguard.records import canonical_network
from secguard.records.list_lines import Entry, Skipped, read_lines


def networks(*lines: str) -> list[str]:
    """All that is understood, and nothing else may be there."""
    found = list(read_lines(lines))
    assert [each for each in found if isinstance(each, Skipped)] == []
    return [network for each in found if isinstance(each, Entry) for network in each.networks]


def skipped(*lines: str) -> list[Skipped]:
    return [each for each in read_lines(lines) if isinstance(each, Skipped)]


# -- one a line ----------------------------------------------------------------------------------------------------


def test_a_plain_list_has_comments_blank_lines_and_any_line_ends() -> None:
    lines = [
        *("\ufeff# Spammers\r\n", "\r\n", "203.0.113.7\r\n", "  198.51.100.0/24 ; SBL1234\n", "; more\n"),
        *("2001:db8::/32 # a comment, with a comma\n", "\t192.0.2.1\t\n", "2001:DB8:1::7"),
    ]
    assert networks(*lines) == ["203.0.113.7", "198.51.100.0/24", "2001:db8::/32", "192.0.2.1", "2001:db8:1::/64"]


def test_lines_have_the_numbers_that_an_editor_shows() -> None:
    assert [each.line for each in read_lines(["# x", "", "203.0.113.7", "what", "\n", "203.0.113.8"])] == [3, 4, 6]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.7/32", ["203.0.113.7"]),
        ("::ffff:203.0.113.7", ["203.0.113.7"]),
        ("::ffff:203.0.113.0/120", ["203.0.113.0/24"]),
        ("::ffff:cb00:7100/120", ["203.0.113.0/24"]),
        ("2001:db8::7", ["2001:db8::/64"]),
        ("2001:db8::7/128", ["2001:db8::7/128"]),
        ("2001:db8:0:0::/64", ["2001:db8::/64"]),
        ("203.0.113.4-203.0.113.7", ["203.0.113.4/30"]),
        ("203.0.113.255 - 203.0.114.0", ["203.0.113.255", "203.0.114.0"]),
        ("2001:db8::-2001:db8::ffff", ["2001:db8::/112"]),
    ],
)
def test_a_network_is_understood_in_every_spelling(text: str, expected: list[str]) -> None:
    assert networks(text) == expected


@given(st.one_of(st.ip_addresses().map(str), st.from_regex(r"\A[0-9a-f:./]{1,45}\Z")))
def test_a_network_is_read_as_operators_write_it(text: str) -> None:
    (found,) = list(read_lines([text])) or [Skipped(1, text, "")]
    try:
        expected = canonical_network(text)
    except ValueError:
        assert isinstance(found, Skipped)
    else:
        assert isinstance(found, Entry)
        assert found.networks == (expected,)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<html>", "is not a network"),
        ("example.org", "is not a network"),
        ("203.0.113.7/24", "has host bits set: write '203.0.113.0/24'"),
        ("203.0.113.7 203.0.113.8", "is not a network"),
        ("203.0.113.9-203.0.113.7", "is no range of addresses"),
        ("203.0.113.9-2001:db8::", "is no range of addresses"),
        ("203.0.113.9-", "is no range of addresses"),
        ("0.0.0.1-255.255.255.254", "too wide"),
        ("203.0.113.7,some text", "is not a network"),
        ("\x00\ud800", "is not a network"),
        ("7" * 5_000, "more than 4,096 characters"),
    ],
)
def test_a_line_that_cannot_be_read_is_skipped_and_it_is_said_why(text: str, why: str) -> None:
    (found,) = skipped("192.0.2.1", text)
    assert found.line == 2
    assert why in found.why
    assert len(found.text) <= 101
    assert found.text.isprintable()


@given(st.lists(st.text(max_size=60)))
def test_whatever_stands_in_a_list_it_is_read_to_the_end(lines: list[str]) -> None:
    for each in read_lines(lines):
        if isinstance(each, Entry):
            assert [canonical_network(network) for network in each.networks] == list(each.networks)
            assert all(map(parse_network, each.networks))
        else:
            assert each.why


# -- CSV -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["ip,reason", "IP Address,x", '"network","x"', "x\tcidr", "x;range", "id,Address,x", "ip", "\ufeffip,x"]
)
def test_a_first_line_that_names_a_column_of_addresses_makes_it_csv(header: str) -> None:
    delimiter = next((each for each in ",;\t" if each in header), ",")
    at = [name.strip('"\ufeff').lower() in ("ip", "ip address", "network", "cidr", "range", "address")
          for name in header.split(delimiter)].index(True)  # fmt: skip
    row = delimiter.join("203.0.113.7" if column == at else "7" for column in range(header.count(delimiter) + 1))
    assert networks("# made by hand", header, row, "# not this", "") == ["203.0.113.7"]


def test_columns_say_until_when_and_why() -> None:
    found = list(
        read_lines(
            [
                "first_seen,ip,comment,expires",
                '2024-01-01,203.0.113.7,"scans, and spams",2030-01-02T03:04:05Z',
                "2024-01-01,203.0.113.8,,2030-01-02 03:04:05+02:00",
                "2024-01-01,203.0.113.9,,2030-01-02T03:04:05",
                "2024-01-01,203.0.113.10,bad\x1b[2J\udc00,2030-01-02",
                "2024-01-01,203.0.113.11",
                "2024-01-01,203.0.113.12,,never",
            ]
        )
    )
    time = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    assert [(each.expires, each.reason) for each in found if isinstance(each, Entry)] == [
        (time, "scans, and spams"),
        (time - timedelta(hours=2), ""),
        (time, ""),
        (datetime(2030, 1, 2, tzinfo=timezone.utc), "bad\\x1b[2J\ufffd"),
        (None, ""),
        (None, ""),
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("only one", "has 1 columns: the address would be number 2"),
        ("x,nonsense,", "is not a network"),
        ("x,203.0.113.7,tomorrow", "'tomorrow' is no time: write it as 2026-12-31T18:00:00Z"),
        ("x,203.0.113.7,2030-02-31", "is no time"),
        ("x,203.0.113.7,2030-01-01T25:00:00", "is no time"),
        ("x,,", "is not a network"),
    ],
)
def test_a_record_that_cannot_be_read_is_skipped(line: str, why: str) -> None:
    (found,) = skipped("name,ip,expires", line, "x,203.0.113.8,")
    assert why in found.why


def test_a_quotation_mark_that_is_left_open_swallows_no_other_line() -> None:
    lines = ["ip,comment", '203.0.113.7,"left open', "203.0.113.8,", '"203.0.113.9', "203.0.113.10,"]
    found = [network for each in read_lines(lines) if isinstance(each, Entry) for network in each.networks]
    assert {"203.0.113.7", "203.0.113.8", "203.0.113.10"} <= set(found)


def test_a_header_further_down_is_no_header() -> None:
    assert [each.text for each in skipped("203.0.113.7", "ip,reason", "203.0.113.8")] == ["ip,reason"]
