"""Networks as integers, and the table of them, held against what the standard library says."""

from __future__ import annotations

import random
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.blocking.network_table import (
    COUNTED_PREFIXES,
    FOREVER,
    NetworkTable,
    bounds_of,
    is_single,
    key_of,
    pack_reference,
    text_of,
    unpack_reference,
)
from secguard.network import Network

networks = st.one_of(
    st.builds(
        lambda number, prefix: IPv4Network((number >> 32 - prefix << 32 - prefix, prefix)),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
    st.builds(
        lambda number, prefix: IPv6Network((number >> 128 - prefix << 128 - prefix, prefix)),
        st.integers(0, 2**128 - 1),
        st.integers(0, 128),
    ),
)


def canonical(network: Network) -> str:
    return str(network.network_address) if network.version == 4 and network.prefixlen == 32 else str(network)


@given(networks)
def test_a_key_says_all_of_its_network(network: Network) -> None:
    key = key_of(str(network))
    assert text_of(key) == canonical(network)
    assert key_of(text_of(key)) == key
    assert bounds_of(key) == (network.version, int(network.network_address), int(network.broadcast_address))
    assert is_single(key) == (network.prefixlen == (32 if network.version == 4 else 64))


@pytest.mark.parametrize("text", ["::", "::/0", "::1/128", "::ffff:0:0/96", "::102:304/128", "ffff::/16"])
def test_networks_that_c_libraries_spell_otherwise_are_spelt_as_python_does(text: str) -> None:
    assert text_of(key_of(text)) == str(ip_network(text))


@given(st.lists(networks, min_size=2, unique=True))
def test_keys_sort_as_networks_lie(some: list[Network]) -> None:
    for version in (4, 6):
        mine = [network for network in some if network.version == version]
        in_order = sorted(mine, key=lambda network: (int(network.network_address), network.prefixlen))
        assert sorted(mine, key=lambda network: key_of(str(network))) == in_order


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "/8", "x", "1.2.3", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/+8", "1.2.3.4/8 "),
        *("::1/129", "::1/", ":", "fe80::1%eth0", "1.2.3.4\x00", "\ud800", "1.2.3.4/\u0663", "*", "example.org"),
    ],
)
def test_what_is_no_network_has_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="is no network: give an address"):
        key_of(text)


@given(st.one_of(st.uuids().map(str), st.text(max_size=40), st.text("0123456789abcdef-", min_size=36, max_size=36)))
def test_a_reference_is_kept_whatever_it_is(reference: str) -> None:
    assert unpack_reference(pack_reference(reference)) == reference


def test_a_uuid_is_kept_as_a_number() -> None:
    assert pack_reference("00000000-0000-0000-0000-00000000000a") == 10


# -- the table, beside one that does everything the long way ---------------------------------------------------------


class Plain:
    """The same as a table, in the words of the standard library."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Network, str], tuple[float, bool]] = {}

    def around(self, address: str, now: float) -> dict[Network, float]:
        """The networks in force, and when each ends."""
        found: dict[Network, float] = {}
        for (network, _), (expires, _) in self.rows.items():
            if expires > now and ip_address(address) in network:
                found[network] = max(expires, found.get(network, 0))
        return found

    def automatic(self, now: float) -> set[Network]:
        return {network for (network, _), (expires, by_rule) in self.rows.items() if by_rule and expires > now}

    def count_inside(self, address: str, prefix: int, now: float) -> int:
        around = ip_network(f"{address}/{prefix}", strict=False)
        return sum(
            network.subnet_of(around)  # type: ignore[arg-type]
            for network in self.automatic(now)
            if network.version == around.version and is_single(key_of(str(network)))
        )


def some_network(chance: random.Random) -> Network:
    """From a corner of each version that is small enough for networks to overlap."""
    if chance.random() < 0.5:
        prefix = chance.choice([8, *range(20, 33), 32, 32])
        return ip_network((10 << 24 | chance.getrandbits(10), prefix), strict=False)
    prefix = chance.choice([16, 48, 56, *range(58, 70), 64, 64, 128])
    return ip_network((0x20010DB8 << 96 | chance.getrandbits(10) << 59 | chance.getrandbits(3), prefix), strict=False)


def probes(chance: random.Random, plain: Plain) -> Iterator[str]:
    for network, _ in chance.sample(sorted(plain.rows, key=str), min(10, len(plain.rows))):
        yield str(network.network_address)
        yield str(network.broadcast_address)
    for _ in range(10):
        yield str(some_network(chance).network_address)


def agree(chance: random.Random, table: NetworkTable, plain: Plain, now: float) -> None:
    for address in probes(chance, plain):
        parsed = ip_address(address)
        found = table.find(parsed.version, int(parsed), lambda: now)
        expected = plain.around(address, now)
        if found is None:
            assert not expected
        else:
            network = ip_network(text_of(found[0]))
            assert expected[network] == found[1][0] == max(expected.values())
        for prefix in COUNTED_PREFIXES[parsed.version]:
            assert table.count_inside(parsed.version, int(parsed), prefix) == plain.count_inside(address, prefix, now)
    assert table.automatic == len(plain.automatic(now))
    assert len(table) == len({network for (network, _), (expires, _) in plain.rows.items() if expires > now})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("before", [0, 600])
def test_a_table_finds_and_counts_what_the_long_way_does(seed: int, before: int) -> None:
    """With many networks there before, a change alters the index of the wide ones in place of making it anew."""
    chance = random.Random(seed)
    table, plain, now = NetworkTable(), Plain(), 1_000.0

    def row() -> tuple[Network, str, float, bool]:
        expires = FOREVER if chance.random() < 0.3 else now + chance.randrange(1, 50)
        return some_network(chance), f"r{chance.randrange(4)}", expires, chance.random() < 0.5

    loaded = [row() for _ in range(before)]
    table.load((key_of(str(network)), (expires, name, by_rule)) for network, name, expires, by_rule in loaded)
    plain.rows.update({(network, name): (expires, by_rule) for network, name, expires, by_rule in loaded})
    table.publish()
    for step in range(120):
        network, name, expires, by_rule = row()
        action = chance.choice(["add", "add", "remove", "remove known", "remove all", "wait"])
        if action == "add":
            table.add(key_of(str(network)), (expires, name, by_rule))
            plain.rows[network, name] = expires, by_rule
        elif action == "wait":
            now += chance.randrange(3)
        else:
            if action != "remove" and plain.rows:
                network, name = chance.choice(sorted(plain.rows, key=str))
            if action == "remove all":
                table.remove_all(key_of(str(network)))
                plain.rows = {each: row for each, row in plain.rows.items() if each[0] != network}
            else:
                there = (plain.rows.pop((network, name), (0.0, False))[0]) > now
                assert table.remove(key_of(str(network)), name) == there
        table.drop_ended(now)
        table.publish()
        if step % 10 == 0 or step > 110:
            agree(chance, table, plain, now)


def test_what_has_ended_leaves_nothing_behind() -> None:
    table = NetworkTable()
    for number in range(5_000):
        table.add(key_of(f"10.0.{number >> 8}.{number & 255}"), (float(number), number, True))
        table.add(key_of(f"10.{number % 250}.0.0/16"), (float(number), number, True))
        table.drop_ended(number - 10.0)
        table.publish()
    table.drop_ended(5_000.0)
    table.publish()
    assert len(table) == table.automatic == 0
    assert (table._rows, table._more, table._ends, table._inside, table._wide_ipv4.keys) == ({}, {}, [], {}, [])


def test_rows_that_are_lifted_before_they_end_do_not_pile_up() -> None:
    table, key = NetworkTable(), key_of("203.0.113.7")
    for number in range(20_000):
        table.add(key, (1e9, number, True))
        table.remove(key, number)
        table.publish()
    assert len(table._ends) < 2_000
