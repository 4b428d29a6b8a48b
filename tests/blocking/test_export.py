"""The blocks in the languages of firewalls and proxies: held against what their manuals say of the syntax."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.blocking.export import FORMATS, MAX_IPSET_TIMEOUT, Entry, prepare
from secguard.network import Network, parse_network


def entry(network: str, seconds: float | None = None, reference: str = "r") -> Entry:
    return Entry(parse_network(network), seconds, reference)


ENTRIES = prepare(
    [
        entry("2001:db8:1::/64", reference="d"),
        entry("203.0.113.0/24", 900.2, reference="c"),
        entry("198.51.100.7", reference="a"),
        entry("198.51.100.20", 60, reference="b"),
        entry("2001:db8:2::1/128", 5, reference="e"),
    ]
)


def written(format_: str, entries: list[Entry]) -> str:
    return "\n".join(FORMATS[format_](entries))


# -- golden --------------------------------------------------------------------------------------------------------


def test_plain_is_one_network_a_line() -> None:
    assert written("plain", ENTRIES).splitlines() == [
        "198.51.100.7",
        "198.51.100.20",
        "203.0.113.0/24",
        "2001:db8:1::/64",
        "2001:db8:2::1/128",
    ]


def test_nginx_gets_directives() -> None:
    assert written("nginx", ENTRIES).splitlines() == [
        "deny 198.51.100.7;",
        "deny 198.51.100.20;",
        "deny 203.0.113.0/24;",
        "deny 2001:db8:1::/64;",
        "deny 2001:db8:2::1;",
    ]


def test_nftables_gets_a_script_that_fills_two_named_sets_anew() -> None:
    assert written("nftables", ENTRIES).splitlines() == [
        "add table inet secguard",
        "add set inet secguard secguard_v4 { type ipv4_addr; flags interval; }",
        "flush set inet secguard secguard_v4",
        "add element inet secguard secguard_v4 { 198.51.100.7, 198.51.100.20, 203.0.113.0/24 }",
        "add set inet secguard secguard_v6 { type ipv6_addr; flags interval; }",
        "flush set inet secguard secguard_v6",
        "add element inet secguard secguard_v6 { 2001:db8:1::/64, 2001:db8:2::1 }",
    ]


def test_ipset_gets_two_sets_whose_entries_end_by_themselves() -> None:
    assert written("ipset", ENTRIES).splitlines() == [
        "create secguard_v4 hash:net family inet hashsize 4096 maxelem 1048576 timeout 0 -exist",
        "flush secguard_v4",
        "add secguard_v4 198.51.100.7 timeout 0 -exist",
        "add secguard_v4 198.51.100.20 timeout 60 -exist",
        "add secguard_v4 203.0.113.0/24 timeout 901 -exist",
        "create secguard_v6 hash:net family inet6 hashsize 4096 maxelem 1048576 timeout 0 -exist",
        "flush secguard_v6",
        "add secguard_v6 2001:db8:1::/64 timeout 0 -exist",
        "add secguard_v6 2001:db8:2::1 timeout 5 -exist",
    ]


def test_haproxy_gets_a_map_to_the_references() -> None:
    assert written("haproxy", ENTRIES).splitlines() == [
        "198.51.100.7 a",
        "198.51.100.20 b",
        "203.0.113.0/24 c",
        "2001:db8:1::/64 d",
        "2001:db8:2::1 e",
    ]


def test_json_tells_all_of_it() -> None:
    rows = json.loads(written("json", [Entry(parse_network("203.0.113.7"), 59.6, "r", "brute_force", "", "5 events")]))
    assert rows == [
        {
            "network": "203.0.113.7",
            "seconds": 60,
            "reference": "r",
            "rule": "brute_force",
            "list_name": "",
            "reason": "5 events",
        }
    ]


def test_nothing_blocked_is_right_in_every_language() -> None:
    assert {name: list(lines([])) for name, lines in FORMATS.items()} == {
        "plain": [],
        "json": ["[", "]"],
        "nginx": [],
        "nftables": [
            "add table inet secguard",
            "add set inet secguard secguard_v4 { type ipv4_addr; flags interval; }",
            "flush set inet secguard secguard_v4",
            "add set inet secguard secguard_v6 { type ipv6_addr; flags interval; }",
            "flush set inet secguard secguard_v6",
        ],
        "ipset": [
            "create secguard_v4 hash:net family inet hashsize 4096 maxelem 1048576 timeout 0 -exist",
            "flush secguard_v4",
            "create secguard_v6 hash:net family inet6 hashsize 4096 maxelem 1048576 timeout 0 -exist",
            "flush secguard_v6",
        ],
        "haproxy": [],
    }


# -- what the languages ask for ------------------------------------------------------------------------------------


def test_elements_of_an_interval_set_do_not_overlap() -> None:
    nested = prepare([entry("203.0.113.7"), entry("203.0.113.0/24"), entry("203.0.112.0/24")])
    (line,) = (line for line in FORMATS["nftables"](nested) if line.startswith("add element"))
    assert line == "add element inet secguard secguard_v4 { 203.0.112.0/23 }"


def test_many_elements_are_several_commands() -> None:
    many = prepare([entry(f"203.0.{high}.{low}") for high in (1, 3) for low in range(0, 256, 2)])
    lines = [line for line in FORMATS["nftables"](many) if line.startswith("add element")]
    assert [line.count(",") + 1 for line in lines] == [100, 100, 56]


def test_a_set_of_ipset_cannot_hold_everything_at_once() -> None:
    lines = [line for line in FORMATS["ipset"]([entry("0.0.0.0/0"), entry("::/0")]) if line.startswith("add")]
    assert lines == [
        "add secguard_v4 0.0.0.0/1 timeout 0 -exist",
        "add secguard_v4 128.0.0.0/1 timeout 0 -exist",
        "add secguard_v6 ::/1 timeout 0 -exist",
        "add secguard_v6 8000::/1 timeout 0 -exist",
    ]


@pytest.mark.parametrize(("seconds", "timeout"), [(0.2, 1), (1.0, 1), (59.1, 60), (10.0**9, MAX_IPSET_TIMEOUT)])
def test_a_timeout_of_ipset_is_never_nought_for_what_ends(seconds: float, timeout: int) -> None:
    line = list(FORMATS["ipset"]([entry("203.0.113.7", seconds)]))[2]
    assert line == f"add secguard_v4 203.0.113.7 timeout {timeout} -exist"


_V4 = r"\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?"
_V6 = r"[0-9a-f:]+(?:/\d{1,3})?"
_NAME = r"[A-Za-z][A-Za-z0-9_]*"
#: One line of each language, as its manual has it.
GRAMMAR = {
    "plain": rf"{_V4}|{_V6}",
    "nginx": rf"deny (?:{_V4}|{_V6});",
    "haproxy": rf"(?:{_V4}|{_V6}) \S+",
    "ipset": rf"create {_NAME} hash:net family inet6? hashsize \d+ maxelem \d+ timeout \d+ -exist|flush {_NAME}"
    rf"|add {_NAME} (?:{_V4}|{_V6}) timeout \d+ -exist",
    "nftables": rf"add table inet {_NAME}"
    rf"|add set inet {_NAME} {_NAME} \{{ type ipv[46]_addr; flags interval; \}}|flush set inet {_NAME} {_NAME}"
    rf"|add element inet {_NAME} {_NAME} \{{ (?:{_V4}(?:, {_V4})*|{_V6}(?:, {_V6})*) \}}",
}

_networks = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda it: ip_network(it, strict=False)),
    st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(lambda it: ip_network(it, strict=False)),
)
_near = st.tuples(st.integers(0, 255), st.integers(24, 32)).map(
    lambda it: ip_network((int(ip_address("203.0.113.0")) + it[0], it[1]), strict=False)
)


@given(st.lists(st.builds(Entry, _networks, st.none() | st.floats(0.1, 1e9), st.uuids().map(str)), max_size=20))
def test_every_line_is_one_of_its_language(entries: list[Entry]) -> None:
    prepared = prepare(entries)
    for name, grammar in GRAMMAR.items():
        for line in FORMATS[name](prepared):
            assert re.fullmatch(grammar, line), (name, line)


# -- what is written -----------------------------------------------------------------------------------------------


def test_the_order_does_not_depend_on_that_of_the_rows() -> None:
    names = ["203.0.113.7", "9.0.0.0/8", "2001:db8::/48", "203.0.113.0/24", "2001:db8::/32"]
    one, other = prepare(map(entry, names)), prepare(map(entry, reversed(names)))
    assert one == other
    assert [str(each.network) for each in one] == [
        "9.0.0.0/8",
        "203.0.113.0/24",
        "203.0.113.7/32",
        "2001:db8::/32",
        "2001:db8::/48",
    ]


def test_of_several_blocks_the_longest_counts() -> None:
    def kept(*blocks: tuple[float | None, str]) -> str:
        (one,) = prepare([entry("203.0.113.7", seconds, reference) for seconds, reference in blocks])
        return one.reference

    assert kept((60, "short"), (900, "long")) == "long"
    assert kept((900, "long"), (60, "short")) == "long"
    assert kept((None, "for good"), (900, "long")) == "for good"
    assert kept((900, "long"), (None, "for good")) == "for good"


def test_what_is_never_refused_is_cut_out() -> None:
    blocks = [entry("203.0.113.0/29", 60, "wide"), entry("203.0.113.7", 60, "inside"), entry("198.51.100.7")]
    found = prepare(blocks, [parse_network("203.0.113.6/31"), parse_network("198.51.100.0/24")])
    assert [(str(each.network), each.reference) for each in found] == [
        ("203.0.113.0/30", "wide"),
        ("203.0.113.4/31", "wide"),
    ]


@given(blocks=st.lists(_near, max_size=8), holes=st.lists(_near, max_size=5))
def test_an_address_is_exported_if_it_is_blocked_and_in_no_hole(blocks: list[Network], holes: list[Network]) -> None:
    found = [each.network for each in prepare((Entry(block, None, "r") for block in blocks), holes)]
    for address in ip_network("203.0.113.0/24"):
        wanted = any(address in block for block in blocks) and not any(address in hole for hole in holes)
        assert any(address in network for network in found) is wanted
