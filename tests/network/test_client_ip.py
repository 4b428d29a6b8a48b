"""Nothing that an untrusted party wrote ever becomes the client's address."""

import copy
import threading
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from secguard.network import UNKNOWN, ClientAddressResolver, parse_address, unknown
from secguard.network.client_ip import MAX_CACHED

PROXY = "10.0.0.1"
CLIENT = "198.51.100.7"
SPOOFED = "203.0.113.66"
PROXIES = ["10.0.0.0/8", "2001:db8:ffff::/48"]


def sent(**headers):
    """The look-up that a request with these headers offers: X_Forwarded_For="…" is X-Forwarded-For."""
    return {name.replace("_", "-"): value for name, value in headers.items()}.get


def forwarded_for(value):
    return sent(X_Forwarded_For=value)


def no_look_up(name):
    raise AssertionError(f"{name} was read")


def behind_proxy(value, **options):
    return ClientAddressResolver(PROXIES, **options).resolve(PROXY, forwarded_for(value))


def behind_rfc_7239_proxy(value, **options):
    resolver = ClientAddressResolver(PROXIES, header="Forwarded", **options)
    return resolver.resolve(PROXY, sent(Forwarded=value))


# Reading one address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:80", "1.2.3.4"),
        ("1.2.3.4:_hidden", "1.2.3.4"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[::1]:80", "::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::ffff:102:304", "1.2.3.4"),
        ("[::ffff:1.2.3.4]:80", "1.2.3.4"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%eth0]:80", "fe80::1"),
        ("::ffff:1.2.3.4%eth0", "1.2.3.4"),
        ('"1.2.3.4"', "1.2.3.4"),
        (' "[::1]:80" ', "::1"),
        ("\t1.2.3.4 ", "1.2.3.4"),
    ],
)
def test_an_address_is_read_without_port_brackets_zone_and_quotes(text, expected):
    assert parse_address(text) == ip_address(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "unknown",
        "_hidden",
        "unix:",
        "localhost",
        "1.2.3",
        "1.2.3.256",
        "01.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:123456",
        "1.2.3.4:http",
        "1.2.3.4/24",
        "1.2.3.4%eth0",
        "1.2.3.4 5.6.7.8",
        "1.2.3.4, 5.6.7.8",
        "16909060",
        "0x1020304",
        "\u0661.2.3.4",
        "[1.2.3.4]",
        "[::1",
        "::1]",
        "[[::1]]",
        "[::1]80",
        "::1%",
        '"1.2.3.4',
        '"',
        "1.2.3.4\n",
        "1.2.3.4\x00",
        "\ud800",
        "1.2.3.4" + " " * 100,
    ],
)
def test_what_is_no_address_is_none(text):
    assert parse_address(text) is None


@given(st.text() | st.text('0123456789abcdef.:[]%" _', max_size=60))
def test_reading_an_address_never_raises(text):
    parsed = parse_address(text)

    assert parsed is None or parse_address(str(parsed)) == parsed


@given(st.ip_addresses())
def test_every_address_is_read_back(address):
    assert parse_address(str(address)) == (getattr(address, "ipv4_mapped", None) or address)


# What is known of a client


def test_an_ipv4_client_is_counted_by_its_address():
    client = ClientAddressResolver().resolve(CLIENT, no_look_up)

    assert (client.text, client.subject, client.network) == (CLIENT, CLIENT, "198.51.100.0/24")
    assert client.version == 4
    assert client.number == client.subject_number == int(ip_address(CLIENT))


def test_an_ipv6_client_is_counted_by_its_64():
    client = ClientAddressResolver().resolve("2001:db8:1:2:3:4:5:6", no_look_up)

    assert client.text == "2001:db8:1:2:3:4:5:6"
    assert client.subject == "2001:db8:1:2::/64"
    assert client.network == "2001:db8:1::/48"
    assert client.version == 6
    assert client.number == int(ip_address("2001:db8:1:2:3:4:5:6"))
    assert client.subject_number == int(ip_address("2001:db8:1:2::"))


@given(st.lists(st.sampled_from([0, 0, 1, 0xFFFF]), min_size=8, max_size=8))
def test_the_subject_of_an_ipv6_client_is_spelled_as_ipaddress_spells_it(groups):
    address = ":".join(f"{group:x}" for group in groups)
    assume(ip_address(address).ipv4_mapped is None)
    expected = ip_network(f"{address}/64", strict=False)

    client = ClientAddressResolver().resolve(address, sent())

    assert (client.subject, client.subject_number) == (str(expected), int(expected.network_address))


def test_ten_thousand_addresses_of_one_64_are_one_subject():
    resolver = ClientAddressResolver()

    assert {resolver.resolve(f"2001:db8::{i:x}", no_look_up).subject for i in range(10_000)} == {"2001:db8::/64"}


def test_an_ipv4_mapped_peer_is_the_same_client_as_the_ipv4_peer():
    resolver = ClientAddressResolver()

    assert resolver.resolve(f"::ffff:{CLIENT}", no_look_up) == resolver.resolve(CLIENT, no_look_up)


def test_a_zone_id_is_no_part_of_the_client():
    resolver = ClientAddressResolver()

    assert resolver.resolve("fe80::1%eth0", sent()) == resolver.resolve("fe80::1%eth1", sent())


def test_an_ordinary_client_is_known_and_not_exempt():
    client = ClientAddressResolver(PROXIES, allowlist=["192.0.2.0/24"]).resolve(CLIENT, no_look_up)

    assert client.known
    assert (client.exempt, client.allowlisted, client.trusted_proxy) == (False, False, False)
    assert client.reason == ""


def test_an_allowlisted_client_is_exempt():
    client = behind_proxy(CLIENT, allowlist=["198.51.100.0/24"])

    assert client.text == CLIENT
    assert client.allowlisted
    assert client.exempt
    assert not client.trusted_proxy


def test_allowlisting_one_ipv6_address_does_not_exempt_its_neighbours():
    resolver = ClientAddressResolver(allowlist=["2001:db8::1"])

    assert resolver.resolve("2001:db8::1", no_look_up).exempt
    assert not resolver.resolve("2001:db8::2", no_look_up).exempt


def test_a_client_cannot_be_changed():
    client = ClientAddressResolver().resolve(CLIENT, no_look_up)

    with pytest.raises(AttributeError):
        client.exempt = True


def test_a_client_has_no_room_for_other_attributes():
    assert not hasattr(ClientAddressResolver().resolve(CLIENT, no_look_up), "__dict__")


def test_a_copy_of_a_client_is_equal_to_it():
    client = ClientAddressResolver().resolve(CLIENT, no_look_up)

    assert copy.deepcopy(client) == client


def test_a_client_is_shown_as_its_address():
    assert str(ClientAddressResolver().resolve(CLIENT, no_look_up)) == CLIENT


@pytest.mark.parametrize(
    "reason",
    ["no_remote_address", "untrusted_forwarding_private_peer", "malformed_header", "no_client_in_header"],
)
def test_an_unknown_client_is_exempt_and_has_no_subject(reason):
    client = unknown(reason)

    assert not client.known
    assert client.exempt
    assert (client.text, client.subject, client.network) == ("", "", "")
    assert client.reason == reason
    assert unknown(reason) is client


def test_the_bare_unknown_means_that_there_is_no_address():
    assert unknown("no_remote_address") is UNKNOWN


def test_another_reason_for_knowing_nothing_is_refused():
    with pytest.raises(ValueError, match="'tired' is no reason; expected one of no_remote_address, "):
        unknown("tired")


@pytest.mark.parametrize("text", ["198.51.100.7", "198.51.100.7:443", "::ffff:198.51.100.7"])
def test_an_address_given_as_text_is_the_client_that_a_request_would_be(text):
    resolver = ClientAddressResolver()

    assert resolver.address(text) == resolver.resolve(CLIENT, no_look_up)


def test_text_that_is_no_address_is_no_client():
    assert ClientAddressResolver().address("nonsense") is None


# The peer


def test_headers_of_a_peer_that_is_no_trusted_proxy_are_not_even_read():
    assert ClientAddressResolver(PROXIES).resolve(CLIENT, no_look_up).text == CLIENT


def test_headers_of_a_public_peer_are_not_read_without_trusted_proxies():
    assert ClientAddressResolver().resolve(CLIENT, no_look_up).text == CLIENT


def test_headers_of_a_private_peer_outside_the_trusted_proxies_are_ignored():
    assert ClientAddressResolver(PROXIES).resolve("192.168.0.9", no_look_up).text == "192.168.0.9"


@pytest.mark.parametrize("remote_addr", [None, "", "  ", "unix:", "nonsense", "x" * 100_000, "\ud800"])
def test_without_a_remote_address_the_client_is_unknown(remote_addr):
    client = ClientAddressResolver(PROXIES).resolve(remote_addr, no_look_up)

    assert client == unknown("no_remote_address")


PRIVATE_PEERS = [
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "127.0.0.1",
    "169.254.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "::1",
    "fd00::1",
    "fe80::1%eth0",
    "::ffff:10.0.0.1",
]


@pytest.mark.parametrize("peer", PRIVATE_PEERS)
def test_a_private_peer_that_forwards_without_trusted_proxies_is_unknown(peer):
    client = ClientAddressResolver().resolve(peer, forwarded_for(CLIENT))

    assert client == unknown("untrusted_forwarding_private_peer")


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "CF-Connecting-IP"])
def test_any_forwarding_header_and_the_configured_one_betray_a_forgotten_setting(header):
    client = ClientAddressResolver(header="CF-Connecting-IP").resolve("127.0.0.1", {header: "nonsense"}.get)

    assert client == unknown("untrusted_forwarding_private_peer")


@pytest.mark.parametrize("peer", PRIVATE_PEERS)
def test_a_private_peer_that_forwards_nothing_counts_like_any_other(peer):
    client = ClientAddressResolver().resolve(peer, sent(CF_Connecting_IP=CLIENT))

    assert client.known
    assert not client.exempt


def test_a_private_peer_is_asked_again_on_every_request():
    resolver = ClientAddressResolver()
    resolver.resolve("127.0.0.1", sent())

    assert resolver.resolve("127.0.0.1", forwarded_for(CLIENT)) == unknown("untrusted_forwarding_private_peer")


@pytest.mark.parametrize("peer", ["192.0.2.1", "203.0.113.1", "2001:db8::1", "11.0.0.1", "172.32.0.1", "100.128.0.1"])
def test_a_documentation_or_public_range_is_not_private(peer):
    assert ClientAddressResolver().resolve(peer, no_look_up).text == peer


# X-Forwarded-For


def test_the_right_most_untrusted_entry_is_the_client():
    assert behind_proxy(f"{CLIENT}, 10.0.0.3, 10.0.0.2").text == CLIENT


def test_a_spoofed_left_most_entry_behind_one_trusted_hop_is_ignored():
    assert behind_proxy(f"{SPOOFED}, {CLIENT}").text == CLIENT


def test_a_spoofed_trusted_proxy_to_the_left_of_the_client_is_ignored():
    assert behind_proxy(f"{SPOOFED}, 10.0.0.9, {CLIENT}").text == CLIENT


def test_garbage_to_the_left_of_the_client_is_ignored():
    assert behind_proxy(f'"<script>, ,\x00\ud800, {CLIENT}').text == CLIENT


@pytest.mark.parametrize(
    "entry", [f"{CLIENT}:4711", f"::ffff:{CLIENT}", f"[::ffff:{CLIENT}]:80", f'"{CLIENT}"', f"\t{CLIENT} "]
)
def test_another_spelling_of_the_client_is_the_same_client(entry):
    assert behind_proxy(f"{SPOOFED},{entry}").text == CLIENT


def test_an_ipv6_client_behind_an_ipv6_proxy_is_found():
    resolver = ClientAddressResolver(PROXIES)

    assert resolver.resolve("2001:db8:ffff::1", forwarded_for("2001:db8::7, 2001:db8:ffff::2")).text == "2001:db8::7"


def test_if_every_entry_is_a_trusted_proxy_the_left_most_is_the_client_and_exempt():
    client = behind_proxy("10.0.0.4, 10.0.0.3, 10.0.0.2")

    assert client.text == "10.0.0.4"
    assert client.trusted_proxy
    assert client.exempt


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_trusted_proxy_without_the_header_is_the_client_and_exempt(value):
    client = behind_proxy(value)

    assert client.text == PROXY
    assert client.exempt


@pytest.mark.parametrize("entry", ["unknown", "", "_hidden", "1.2.3.4/24", "unix:", "x" * 4000])
def test_an_unreadable_entry_is_never_skipped_to_the_one_on_its_left(entry):
    assert behind_proxy(f"{SPOOFED}, {entry}, 10.0.0.2") == unknown("malformed_header")


def test_a_proxy_that_appended_nothing_does_not_expose_what_the_client_sent():
    assert behind_proxy(f"{SPOOFED}, ") == unknown("malformed_header")


def test_headers_that_disagree_do_not_matter_but_the_configured_one():
    headers = sent(X_Forwarded_For=CLIENT, Forwarded=f"for={SPOOFED}", X_Real_IP=SPOOFED, CF_Connecting_IP=SPOOFED)

    assert ClientAddressResolver(PROXIES).resolve(PROXY, headers).text == CLIENT


def test_only_the_configured_header_of_a_trusted_proxy_is_read():
    read = []

    ClientAddressResolver(PROXIES, header="X-Real-IP").resolve(PROXY, read.append)

    assert read == ["X-Real-IP"]


def test_a_thousand_spoofed_entries_do_not_hide_the_client():
    assert behind_proxy(f"{SPOOFED}, " * 1000 + CLIENT).text == CLIENT


def test_64_kilobytes_of_header_do_not_hide_the_client():
    assert behind_proxy("x" * 65_536 + "," + CLIENT).text == CLIENT


@pytest.mark.parametrize(("trusted", "expected"), [(63, CLIENT), (64, "")])
def test_entries_beyond_the_64th_are_not_looked_at(trusted, expected):
    assert behind_proxy(CLIENT + ", 10.0.0.2" * trusted).text == expected


def test_too_many_trusted_entries_are_malformed():
    assert behind_proxy(", ".join(["10.0.0.2"] * 65)) == unknown("malformed_header")


TRUSTED_TAIL = f",{'10.0.0.2':>98}" * 41  # 4,059 characters


@pytest.mark.parametrize(("width", "expected"), [(37, CLIENT), (38, "")])
def test_characters_beyond_the_last_4096_are_not_looked_at(width, expected):
    assert behind_proxy(CLIENT.ljust(width) + TRUSTED_TAIL).text == expected


def test_an_address_cut_in_two_by_the_cap_is_not_taken_for_another_one():
    assert behind_proxy("1" + "98.51.100.7".ljust(37) + TRUSTED_TAIL) == unknown("malformed_header")


def test_a_header_far_beyond_the_cap_is_cut_before_it_is_split():
    class Recorded(str):
        sliced = ()

        def __getitem__(self, key):
            Recorded.sliced = (*Recorded.sliced, key)
            return super().__getitem__(key)

        def strip(self, *_):
            return self

        def split(self, *_):
            raise AssertionError("the whole header was split")

        rsplit = partition = rpartition = split

    assert behind_proxy(Recorded("x," * 32_768 + CLIENT)).text == CLIENT
    assert Recorded.sliced == (slice(-4096, None, None),)


# A number of hops


@pytest.mark.parametrize(
    ("hops", "expected"),
    [(1, "192.0.2.3"), (2, "192.0.2.2"), (3, "192.0.2.1"), (4, "192.0.2.1"), (64, "192.0.2.1")],
)
def test_the_client_is_as_many_hops_left_of_the_peer(hops, expected):
    assert behind_proxy("192.0.2.1, 192.0.2.2, 192.0.2.3", hops=hops).text == expected


def test_a_spoofed_entry_beyond_the_counted_hops_is_ignored():
    assert behind_proxy(f"{SPOOFED}, {CLIENT}, 192.0.2.3", hops=2).text == CLIENT


def test_hops_are_not_counted_for_a_peer_that_is_not_trusted():
    assert ClientAddressResolver(PROXIES, hops=1).resolve(CLIENT, no_look_up).text == CLIENT


def test_an_unreadable_entry_at_the_hop_is_malformed():
    assert behind_proxy(f"{SPOOFED}, unknown, 192.0.2.3", hops=2) == unknown("malformed_header")


def test_a_hop_that_the_cap_cut_off_is_malformed_and_not_the_left_most_one_seen():
    assert behind_proxy(f"{SPOOFED}," + " " * 5000 + CLIENT, hops=2) == unknown("malformed_header")


def test_hops_are_counted_in_the_forwarded_header_too():
    assert behind_rfc_7239_proxy(f"for={SPOOFED}, for={CLIENT}, for=192.0.2.3", hops=2).text == CLIENT


def test_a_trusted_proxy_without_the_header_is_the_client_whatever_the_hops():
    assert behind_proxy(None, hops=2).text == PROXY


@pytest.mark.parametrize("hops", [0, -1, 65, 1.5, "2", True])
def test_hops_that_cannot_be_counted_are_refused(hops):
    with pytest.raises(ValueError, match="hops must be a number from 1 to 64"):
        ClientAddressResolver(PROXIES, hops=hops)


def test_hops_without_trusted_proxies_are_refused():
    with pytest.raises(ValueError, match="hops needs trusted_proxies"):
        ClientAddressResolver(hops=1)


def test_hops_in_a_header_of_one_address_are_refused():
    with pytest.raises(ValueError, match="hops cannot be counted in X-Real-IP"):
        ClientAddressResolver(PROXIES, hops=1, header="X-Real-IP")


# A unix socket


@pytest.mark.parametrize("remote_addr", [None, "", " ", "unix:"])
def test_a_trusted_unix_socket_names_the_client(remote_addr):
    resolver = ClientAddressResolver(["unix"])

    assert resolver.resolve(remote_addr, forwarded_for(f"{SPOOFED}, {CLIENT}")).text == CLIENT


def test_a_trusted_unix_socket_without_the_header_names_nobody():
    assert ClientAddressResolver(["unix"]).resolve("", sent()) == unknown("no_client_in_header")


def test_a_remote_address_that_is_garbage_is_not_taken_for_a_unix_socket():
    assert ClientAddressResolver(["unix"]).resolve("nonsense", no_look_up) == unknown("no_remote_address")


def test_trusting_the_unix_socket_trusts_no_address():
    assert ClientAddressResolver(["unix"]).resolve("127.0.0.1", no_look_up).text == "127.0.0.1"


def test_a_unix_socket_and_networks_are_trusted_together():
    resolver = ClientAddressResolver(["10.0.0.0/8", " UNIX "])

    assert resolver.resolve("", forwarded_for(f"{CLIENT}, 10.0.0.2")).text == CLIENT
    assert resolver.resolve(PROXY, forwarded_for(CLIENT)).text == CLIENT


# Forwarded


@pytest.mark.parametrize(
    "element",
    [
        f"for={CLIENT}",
        f"For={CLIENT}",
        f'FOR="{CLIENT}"',
        f'for="{CLIENT}:4711"',
        f"for={CLIENT}:4711",
        f'for="{CLIENT}:_port"',
        f'for="[::ffff:{CLIENT}]:80"',
        f"proto=https;for={CLIENT};by=203.0.113.43",
        f'by=_x; for={CLIENT} ;host="a;for={SPOOFED}"',
        f'for={CLIENT};host="a\\";for={SPOOFED};x=\\""',
        f"for={CLIENT};",
    ],
)
def test_every_spelling_of_a_forwarded_element_is_read(element):
    assert behind_rfc_7239_proxy(f"for={SPOOFED}, {element}").text == CLIENT


@pytest.mark.parametrize("value", ['for="[2001:db8::7]:4711"', "For=[2001:db8::7]", 'for="[2001:DB8::7]"'])
def test_an_ipv6_address_in_a_forwarded_element_is_read(value):
    assert behind_rfc_7239_proxy(value).text == "2001:db8::7"


def test_if_every_forwarded_element_is_a_trusted_proxy_the_left_most_is_the_client():
    assert behind_rfc_7239_proxy("for=10.0.0.3, for=10.0.0.2").text == "10.0.0.3"


def test_forwarded_elements_are_walked_past_trusted_proxies():
    value = f'for={SPOOFED}, for={CLIENT}, for="10.0.0.3:80", for=10.0.0.2;proto=http'

    assert behind_rfc_7239_proxy(value).text == CLIENT


@pytest.mark.parametrize(
    "element",
    [
        "for=unknown",
        "for=_hidden",
        'for="_hidden:80"',
        "for=",
        'for=""',
        "for",
        "",
        "proto=https",
        f"for={CLIENT};for={SPOOFED}",
        f'for="{CLIENT}',
        f"for={CLIENT};host=a b",
        f"for = {CLIENT}",
        f";for={CLIENT}",
        CLIENT,
    ],
)
def test_a_forwarded_element_without_exactly_one_address_is_malformed(element):
    assert behind_rfc_7239_proxy(f"for={SPOOFED}, {element}") == unknown("malformed_header")


@pytest.mark.parametrize("left", [f'for="{SPOOFED}', 'for="', '"', 'host="a\\', f'for={SPOOFED};x="\\'])
def test_a_quote_left_open_by_the_client_does_not_swallow_what_the_proxy_appended(left):
    assert behind_rfc_7239_proxy(f"{left}, for={CLIENT}").text == CLIENT
    assert behind_rfc_7239_proxy(f'{left}, for="{CLIENT}:80"').text == CLIENT


@pytest.mark.parametrize(
    "host", ["a,b", f"a,for={SPOOFED}", f"a,for={SPOOFED};x=", f'a\\",for={SPOOFED};x=\\"', ",", ",,\\\\"]
)
def test_a_comma_that_the_proxy_quoted_neither_ends_nor_forges_an_element(host):
    assert behind_rfc_7239_proxy(f'for={SPOOFED}, for={CLIENT};host="{host}"').text == CLIENT


def test_a_long_forwarded_header_is_capped():
    assert behind_rfc_7239_proxy(f"for={CLIENT}" + ", for=10.0.0.2" * 64) == unknown("malformed_header")
    assert behind_rfc_7239_proxy(f"for={SPOOFED}, " * 1000 + f"for={CLIENT}").text == CLIENT


def test_a_trusted_proxy_without_forwarded_is_the_client():
    assert behind_rfc_7239_proxy(None).text == PROXY


# Headers of one address


@pytest.mark.parametrize("header", ["X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "x-client-ip"])
def test_a_header_of_one_address_names_the_client(header):
    resolver = ClientAddressResolver(PROXIES, header=header)

    assert resolver.resolve(PROXY, {header: f" {CLIENT} "}.get).text == CLIENT


@pytest.mark.parametrize("value", [f"{SPOOFED}, {CLIENT}", "unknown", "x" * 65_536])
def test_a_header_of_one_address_with_anything_else_is_malformed(value):
    resolver = ClientAddressResolver(PROXIES, header="X-Real-IP")

    assert resolver.resolve(PROXY, sent(X_Real_IP=value)) == unknown("malformed_header")


def test_a_header_of_one_address_from_an_untrusted_peer_is_ignored():
    assert ClientAddressResolver(PROXIES, header="X-Real-IP").resolve(CLIENT, no_look_up).text == CLIENT


# Options


@pytest.mark.parametrize(("name", "read"), [("x-forwarded-for", "X-Forwarded-For"), (" FORWARDED ", "Forwarded")])
def test_the_header_is_named_in_any_case(name, read):
    assert ClientAddressResolver(PROXIES, header=name).header == read


@pytest.mark.parametrize("name", ["", "HTTP_X_FORWARDED_FOR", "X Real IP", "X-Real-IP:", None])
def test_a_name_that_is_no_header_is_refused(name):
    with pytest.raises(ValueError, match="is no header's name: write it as sent"):
        ClientAddressResolver(PROXIES, header=name)


@pytest.mark.parametrize("option", ["trusted_proxies", "allowlist"])
def test_an_entry_that_is_no_network_is_refused_and_named(option):
    with pytest.raises(ValueError, match=r"'10\.0\.0\.1/8' has host bits set"):
        ClientAddressResolver(**{option: ["10.0.0.1/8"]})


@pytest.mark.parametrize("option", ["trusted_proxies", "allowlist"])
def test_a_text_instead_of_a_list_is_refused(option):
    with pytest.raises(ValueError, match="expected a list of networks"):
        ClientAddressResolver(**{option: "10.0.0.1"})


def test_unix_is_no_entry_for_the_allowlist():
    with pytest.raises(ValueError, match="'unix' is not a network"):
        ClientAddressResolver(allowlist=["unix"])


# Caches


def test_a_peer_seen_before_is_the_same_object():
    resolver = ClientAddressResolver()

    assert resolver.resolve(CLIENT, no_look_up) is resolver.resolve(CLIENT, no_look_up)


def test_a_forwarded_client_seen_before_is_the_same_object_whatever_its_port():
    resolver = ClientAddressResolver(PROXIES)

    first = resolver.resolve(PROXY, forwarded_for(f"{CLIENT}:1"))

    assert resolver.resolve(PROXY, forwarded_for(f"{CLIENT}:2")) is first


def test_a_trusted_peer_is_never_answered_from_memory():
    resolver = ClientAddressResolver(PROXIES)
    resolver.resolve(PROXY, sent())

    assert resolver.resolve(PROXY, forwarded_for(CLIENT)).text == CLIENT


def test_a_flood_of_addresses_is_not_remembered_for_ever():
    resolver = ClientAddressResolver()
    first = resolver.resolve(CLIENT, no_look_up)

    for number in range(MAX_CACHED):
        resolver.resolve(f"2001:db8::{number:x}", no_look_up)

    again = resolver.resolve(CLIENT, no_look_up)
    assert again is not first
    assert again == first


def test_threads_share_one_resolver_through_a_flood():
    resolver = ClientAddressResolver(PROXIES)
    wrong = []

    def flood(start):
        for number in range(start, start + MAX_CACHED):
            text = f"2001:db8:1::{number:x}"
            if resolver.resolve(PROXY, forwarded_for(text)).text != text:
                wrong.append(text)

    threads = [threading.Thread(target=flood, args=(start,)) for start in (1, 500, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


# Whatever a client sends

hostile_text = st.text() | st.text('",;=\\[]:._ 0123456789', max_size=80) | st.just(f"for={SPOOFED}")
hostile = st.lists(
    hostile_text | st.sampled_from([SPOOFED, "10.0.0.9", f'for="{SPOOFED}', "for=10.0.0.9", '";for=']),
    max_size=70,
).map(",".join)
clients = st.ip_addresses(network="198.51.100.0/24").map(str) | st.ip_addresses(network="2001:db8::/64").map(str)
proxies = st.ip_addresses(network="10.0.0.0/8").map(str)


def as_node(address):
    return f'"[{address}]:443"' if ":" in address else address


@given(hostile, clients, st.lists(proxies, max_size=5))
def test_no_client_chooses_its_address_in_x_forwarded_for(prefix, client, chain):
    value = ", ".join([prefix, client, *chain])

    assert behind_proxy(value).text == client
    assert behind_proxy(value, hops=len(chain) + 1).text == client


@given(hostile, clients, st.lists(proxies, max_size=5))
@example('for="', CLIENT, [])
def test_no_client_chooses_its_address_in_forwarded(prefix, client, chain):
    value = ", ".join([prefix, *(f"for={as_node(address)};proto=https" for address in [client, *chain])])

    assert behind_rfc_7239_proxy(value).text == client
    assert behind_rfc_7239_proxy(value, hops=len(chain) + 1).text == client


@given(hostile, hostile_text.map(lambda text: text.replace("\n", " ")), clients)
def test_no_client_chooses_its_address_in_a_host_that_the_proxy_quotes(prefix, host, client):
    quoted = host.replace("\\", "\\\\").replace('"', '\\"')
    found = behind_rfc_7239_proxy(f'{prefix}, for={as_node(client)};host="{quoted}"')

    assert found.text == client or (not found.known and host.count(",") > 60)


@given(hostile)
def test_no_header_of_an_untrusted_peer_changes_its_address(value):
    resolver = ClientAddressResolver(PROXIES)

    assert resolver.resolve(CLIENT, forwarded_for(value)).text == CLIENT


@given(
    st.none() | st.text(max_size=120) | st.sampled_from([PROXY, CLIENT, "127.0.0.1", ""]),
    st.none() | hostile,
    st.sampled_from(["X-Forwarded-For", "Forwarded", "X-Real-IP"]),
    st.sampled_from([[], PROXIES, ["unix"]]),
)
def test_resolving_never_raises(remote_addr, value, header, trusted):
    client = ClientAddressResolver(trusted, header=header).resolve(remote_addr, lambda name: value)

    assert client.known is (client.text != "")
    assert client.known is (client.reason == "")
