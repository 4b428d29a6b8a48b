"""Networks are read strictly, and a set of them agrees with the standard library."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.network import NetworkSet, describe_too_wide, parse_network

PREFIXES = {4: 32, 6: 128}


def networks(version):
    number = st.integers(0, 2 ** PREFIXES[version] - 1)
    kind = IPv4Network if version == 4 else IPv6Network
    return st.builds(
        lambda start, prefix: kind((start, prefix), strict=False), number, st.integers(0, PREFIXES[version])
    ).filter(lambda network: network.version == 4 or network.network_address.ipv4_mapped is None)


any_network = networks(4) | networks(6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        (" 192.0.2.0/24\t", "192.0.2.0/24"),
    ],
)
def test_a_network_is_read_in_any_spelling(text, expected):
    assert parse_network(text) == ip_network(expected)


@pytest.mark.parametrize(("text", "prefix"), [("192.0.2.1", 32), ("2001:db8::1", 128), ("::1", 128)])
def test_a_single_address_is_a_network_of_its_own(text, prefix):
    assert parse_network(text) == ip_network(f"{text}/{prefix}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:192.0.2.1", "192.0.2.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
    ],
)
def test_an_ipv4_mapped_network_is_the_ipv4_network(text, expected):
    assert parse_network(text) == IPv4Network(expected)


@pytest.mark.parametrize(
    ("text", "network", "address"),
    [
        ("192.0.2.5/24", "192.0.2.0/24", "192.0.2.5"),
        ("2001:db8::5/32", "2001:db8::/32", "2001:db8::5"),
        ("::ffff:192.0.2.5/120", "192.0.2.0/24", "192.0.2.5"),
    ],
)
def test_set_host_bits_are_refused_with_both_right_spellings(text, network, address):
    with pytest.raises(ValueError, match="host bits set") as refused:
        parse_network(text)

    assert all(repr(shown) in str(refused.value) for shown in (text, network, address))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "   ",
        "localhost",
        "10",
        "10/8",
        "10.0.0/24",
        "010.0.0.0/8",
        "256.0.0.0",
        "10.0.0.0/33",
        "2001:db8::/129",
        "10.0.0.0/-1",
        "10.0.0.0/",
        "10.0.0.0/8/8",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/0.255.255.255",
        "fe80::1%eth0",
        "192.0.2.1:80",
        "[::1]",
        "192.0.2.1,192.0.2.2",
        "\u0661\u0660.0.0.0/8",
        "\ud800",
        "1" * 100_000,
        None,
        5,
        b"10.0.0.0/8",
    ],
)
def test_anything_else_is_refused_in_a_short_clear_sentence(value):
    with pytest.raises(ValueError, match=r"is not a network: expected an address or CIDR") as refused:
        parse_network(value)

    assert len(str(refused.value)) < 300


@given(st.text() | st.text("0123456789abcdef.:/% ,", max_size=45))
def test_no_text_raises_anything_but_a_value_error(text):
    try:
        parse_network(text)
    except ValueError:
        return


@given(any_network)
def test_every_network_survives_its_own_text(network):
    assert parse_network(str(network)) == network


@pytest.mark.parametrize("text", ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/7", "2000::/15"])
def test_a_network_too_wide_to_trust_is_described(text):
    message = describe_too_wide(parse_network(text))

    assert message is not None
    assert message.startswith(f"{text} is too wide")


@pytest.mark.parametrize("text", ["10.0.0.0/8", "192.0.2.1", "2001::/16", "2001:db8::/32", "::1"])
def test_a_narrow_network_is_not_too_wide(text):
    assert describe_too_wide(parse_network(text)) is None


def test_every_mapped_address_at_once_is_too_wide():
    assert describe_too_wide(parse_network("::ffff:0:0/96")) is not None


@pytest.mark.parametrize("address", ["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.9", " 192.0.2.1 ", "2001:db8::1"])
def test_a_covered_address_is_in_the_set(address):
    assert address in NetworkSet(["192.0.2.0/24", "2001:db8::/64"])


@pytest.mark.parametrize("address", ["192.0.3.0", "192.0.1.255", "2001:db8:0:1::", "::", "::c000:201"])
def test_an_address_outside_is_not_in_the_set(address):
    assert address not in NetworkSet(["192.0.2.0/24", "2001:db8::/64"])


@pytest.mark.parametrize("thing", ["", "nonsense", "192.0.2.0/24", None, 3221225985, b"\xc0\x00\x02\x01", object()])
def test_what_is_no_address_is_in_no_set(thing):
    assert thing not in NetworkSet(["0.0.0.0/0", "::/0"])


def test_an_address_object_is_looked_up_like_its_text():
    assert ip_address("192.0.2.1") in NetworkSet(["192.0.2.0/24"])


def test_an_ipv4_network_never_covers_the_ipv6_address_of_the_same_number():
    assert not NetworkSet(["0.0.0.0/0"]).contains(6, 1)


def test_an_empty_set_is_false_and_covers_nothing():
    empty = NetworkSet([])

    assert not empty
    assert len(empty) == 0
    assert not empty.contains(4, 0)
    assert not empty.contains(6, 0)


def test_networks_are_kept_once_and_in_the_order_given():
    found = NetworkSet(["192.0.2.0/24", "2001:db8::/32", "::ffff:192.0.2.0/120", IPv4Network("10.0.0.0/8")])

    assert found
    assert [str(network) for network in found] == ["192.0.2.0/24", "2001:db8::/32", "10.0.0.0/8"]
    assert len(found) == 3


def test_sets_of_the_same_networks_are_equal_and_hash_alike():
    one, other = NetworkSet(["10.0.0.0/8", "::1"]), NetworkSet(["::1/128", "10.0.0.0/8"])

    assert one == other
    assert hash(one) == hash(other)
    assert one != NetworkSet(["10.0.0.0/8"])
    assert one != ["10.0.0.0/8", "::1"]


def test_a_set_shows_its_networks():
    assert repr(NetworkSet(["::1"])) == "NetworkSet(['::1/128'])"


def test_a_single_text_instead_of_a_list_is_refused():
    with pytest.raises(ValueError, match=r"expected a list of networks, found the text '10\.0\.0\.0/8'"):
        NetworkSet("10.0.0.0/8")


def test_a_set_with_one_bad_entry_is_refused_and_names_it():
    with pytest.raises(ValueError, match="'nonsense' is not a network"):
        NetworkSet(["10.0.0.0/8", "nonsense"])


def test_a_look_up_costs_one_probe_per_distinct_prefix_length():
    class CountedInt(int):
        shifts = 0

        def __rshift__(self, by):
            CountedInt.shifts += 1
            return int(self) >> by

    many = NetworkSet([f"10.{i}.{j}.0/24" for i in range(40) for j in range(40)] + ["192.0.2.0/28"])

    assert not many.contains(4, CountedInt(0))
    assert CountedInt.shifts == 2


@given(st.lists(any_network, max_size=8), st.data())
def test_the_set_agrees_with_ipaddress(members, data):
    # Edges are where an off-by-one hides: probe both ends of every member, and their neighbours.
    edges = [int(end) + step for n in members for end in (n[0], n[-1]) for step in (-1, 0, 1)]
    version = data.draw(st.sampled_from([4, 6]))
    largest = 2 ** PREFIXES[version] - 1
    near = [edge for edge in edges if 0 <= edge <= largest]
    number = data.draw(st.integers(0, largest) | st.sampled_from(near or [0]))
    address = IPv4Address(number) if version == 4 else IPv6Address(number)

    expected = any(n.version == version and address in n for n in members)

    assert NetworkSet(members).contains(version, number) is expected
