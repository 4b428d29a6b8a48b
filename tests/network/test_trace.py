"""The way to the client, hop by hop: always the one that the resolver takes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from secguard.network import ClientAddressResolver
from secguard.network.trace import trace

PROXIES = ("10.0.0.0/8", "2001:db8:ffff::/48")


def verdicts(remote: str | None, value: str | None, **options: Any) -> list[tuple[str, str]]:
    """Entry and verdict of each hop."""
    resolver = ClientAddressResolver(**{"trusted_proxies": PROXIES, **options})
    found = trace(resolver, remote, {resolver.header: value}.get)
    return [(hop.text, hop.verdict) for hop in found.hops]


def why(remote: str | None, value: str | None, **options: Any) -> str:
    resolver = ClientAddressResolver(**{"trusted_proxies": PROXIES, **options})
    return trace(resolver, remote, {resolver.header: value}.get).why


def test_the_entries_are_walked_from_the_right_past_the_proxies() -> None:
    assert verdicts("10.0.0.1", "192.0.2.66, 203.0.113.7, 10.0.0.2") == [
        ("10.0.0.1", "a trusted proxy: its header is read"),
        ("10.0.0.2", "a trusted proxy: passed over"),
        ("203.0.113.7", "taken as the client"),
        ("192.0.2.66", "not looked at"),
    ]
    assert why("10.0.0.1", "203.0.113.7") == "it is the first from the right that is no trusted proxy"


def test_who_is_no_proxy_is_taken_for_himself_whatever_he_sends() -> None:
    assert verdicts("203.0.113.7", "192.0.2.66") == [
        ("203.0.113.7", "taken as the client"),
        ("192.0.2.66", "not read"),
    ]
    assert "anybody can send X-Forwarded-For" in why("203.0.113.7", "192.0.2.66")
    assert why("203.0.113.7", None) == "the peer speaks for itself"


def test_a_private_peer_that_is_not_named_is_pointed_out() -> None:
    assert "though its address is private" in why("192.168.1.1", "203.0.113.7")
    assert "TRUSTED_PROXIES is empty" in why("192.168.1.1", "203.0.113.7", trusted_proxies=())


def test_hops_count_places() -> None:
    assert verdicts("10.0.0.1", "192.0.2.66, 203.0.113.7, 198.51.100.9", hops=2) == [
        ("10.0.0.1", "a trusted proxy: its header is read"),
        ("198.51.100.9", "a proxy, by its place"),
        ("203.0.113.7", "taken as the client"),
        ("192.0.2.66", "not looked at"),
    ]
    assert why("10.0.0.1", "203.0.113.7", hops=3) == "it is the left-most entry, though 3 hops were expected"


def test_where_all_are_proxies_the_left_most_is_the_client() -> None:
    assert verdicts("10.0.0.1", "10.0.0.3, 10.0.0.2")[-1] == ("10.0.0.3", "taken as the client")


def test_what_is_no_address_ends_the_walk() -> None:
    assert verdicts("10.0.0.1", "203.0.113.7, unknown, 10.0.0.2") == [
        ("10.0.0.1", "a trusted proxy: its header is read"),
        ("10.0.0.2", "a trusted proxy: passed over"),
        ("unknown", "no address"),
        ("203.0.113.7", "not looked at"),
    ]
    assert why("10.0.0.1", "203.0.113.7, unknown, 10.0.0.2") == "the header cannot be read as far as it has to be"


def test_a_proxy_without_the_header_is_the_client() -> None:
    assert verdicts("10.0.0.1", None) == [("10.0.0.1", "a trusted proxy")]
    assert why("10.0.0.1", None) == "a trusted proxy that sent no header is the client itself"


def test_a_unix_socket_is_trusted_if_it_is_named() -> None:
    assert verdicts("", "203.0.113.7", trusted_proxies=("unix",))[-1] == ("203.0.113.7", "taken as the client")
    assert why("", None, trusted_proxies=("unix",)) == "the trusted socket sent no header"
    assert why("", "203.0.113.7").startswith("REMOTE_ADDR is no address")


def test_a_header_of_one_address_and_forwarded_are_read_too() -> None:
    assert "holds one address" in why("10.0.0.1", "203.0.113.7", header="X-Real-IP")
    hops = verdicts("10.0.0.1", "for=192.0.2.66, for=203.0.113.7;proto=https", header="Forwarded")
    assert hops[1:] == [("203.0.113.7", "taken as the client"), ("192.0.2.66", "not looked at")]


_entries = st.sampled_from(
    ["203.0.113.7", "10.0.0.2", "10.9.9.9", "192.0.2.66:80", "[2001:db8::1]", "2001:db8:ffff::1", "unknown", "", " "]
)


@given(
    remote=st.sampled_from(["10.0.0.1", "203.0.113.9", "192.168.1.1", "", None, "rubbish", "unix:"]),
    entries=st.lists(_entries, max_size=6),
    hops=st.sampled_from([None, 1, 2, 4]),
    proxies=st.sampled_from([(), ("10.0.0.0/8",), ("unix", "10.0.0.0/8")]),
)
def test_the_hop_that_is_taken_is_the_client_that_the_resolver_finds(
    remote: str | None, entries: list[str], hops: int | None, proxies: tuple[str, ...]
) -> None:
    resolver = ClientAddressResolver(proxies, hops=hops if proxies else None)
    headers = {"X-Forwarded-For": ",".join(entries) if entries else None}
    found = trace(resolver, remote, headers.get)
    assert found.client == resolver.resolve(remote, headers.get)
    assert found.why
    taken = [hop.address for hop in found.hops if hop.verdict == "taken as the client"]
    if found.client.known and found.why != "a trusted proxy that sent no header is the client itself":
        assert taken == [found.client]
    else:
        assert taken == []
