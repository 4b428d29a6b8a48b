"""The blocklist in memory: who is blocked, by what, and until when."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from secguard.blocking.replica import FOREVER, RECENT, BlockEntry, Replica
from secguard.network import UNKNOWN, ClientAddress, ClientAddressResolver
from secguard.testing import ManualClock

RESOLVER = ClientAddressResolver()


def client(text: str) -> ClientAddress:
    address = RESOLVER.address(text)
    assert address is not None
    return address


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def replica(clock: ManualClock) -> Replica:
    return Replica(clock=clock)


def entry(network: str, reference: str = "r1", expires: float = FOREVER) -> BlockEntry:
    return BlockEntry(network, reference, expires)


def is_blocked(replica: Replica, text: str) -> bool:
    return replica.find(client(text)) is not None


# -- who -----------------------------------------------------------------------------------------------------


def test_at_first_nobody_is_blocked(replica: Replica) -> None:
    assert not is_blocked(replica, "203.0.113.7")
    assert not is_blocked(replica, "2001:db8::1")
    assert len(replica) == 0


def test_a_blocked_address_is_found_and_its_neighbours_are_not(replica: Replica) -> None:
    replica.add(entry("203.0.113.7"))
    found = replica.find(client("203.0.113.7"))
    assert found == entry("203.0.113.7")
    assert not is_blocked(replica, "203.0.113.6")
    assert not is_blocked(replica, "203.0.113.8")


@pytest.mark.parametrize("spelling", ["203.0.113.7:443", "::ffff:203.0.113.7", "[::ffff:203.0.113.7]:443"])
def test_an_address_is_blocked_in_every_spelling(replica: Replica, spelling: str) -> None:
    replica.add(entry("203.0.113.7"))
    assert is_blocked(replica, spelling)


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("203.0.113.0/24", ["203.0.113.0", "203.0.113.255"], ["203.0.112.255", "203.0.114.0"]),
        ("203.0.113.8/29", ["203.0.113.8", "203.0.113.15"], ["203.0.113.7", "203.0.113.16"]),
        ("198.0.0.0/7", ["198.0.0.0", "199.255.255.255"], ["200.0.0.0", "197.255.255.255"]),
        ("0.0.0.0/0", ["203.0.113.7"], ["2001:db8::1"]),
        ("203.0.113.7/32", ["203.0.113.7"], ["203.0.113.8"]),
        ("2001:db8::/64", ["2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"], ["2001:db8:0:1::1", "203.0.113.7"]),
        ("2001:db8::/48", ["2001:db8::1", "2001:db8:0:ffff::1"], ["2001:db8:1::1"]),
        ("2001:db8::1/128", ["2001:db8::1"], ["2001:db8::2"]),
        ("2001:db8::/120", ["2001:db8::ff"], ["2001:db8::100"]),
        ("::/0", ["2001:db8::1"], ["203.0.113.7"]),
    ],
)
def test_a_blocked_network_covers_its_addresses_and_no_others(
    replica: Replica, network: str, inside: list[str], outside: list[str]
) -> None:
    replica.add(entry(network))
    assert all(is_blocked(replica, text) for text in inside)
    assert not any(is_blocked(replica, text) for text in outside)


def test_an_unknown_address_is_under_no_block(replica: Replica) -> None:
    for network in ("0.0.0.0/0", "::/0", "0.0.0.0", "::/64"):
        replica.add(entry(network, network))
    assert replica.find(UNKNOWN) is None


def test_networks_of_many_sizes_stand_beside_each_other(replica: Replica) -> None:
    networks = ["203.0.113.7", "203.0.113.0/24", "198.51.0.0/16", "2001:db8::/64", "2001:db8:1::/48"]
    for network in networks:
        replica.add(entry(network, network))
    assert len(replica) == 5
    found = {
        text: replica.find(client(text)).network  # type: ignore[union-attr]
        for text in ("203.0.113.7", "203.0.113.8", "198.51.7.7", "2001:db8::7", "2001:db8:1:7::7")
    }
    assert list(found.values()) == networks


# -- until when ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["203.0.113.7", "203.0.113.0/24"])
def test_a_block_ends_when_its_time_has_come(replica: Replica, clock: ManualClock, network: str) -> None:
    replica.add(entry(network, expires=clock() + 60))
    clock.advance(59.9)
    assert is_blocked(replica, "203.0.113.7")
    clock.advance(0.1)
    assert not is_blocked(replica, "203.0.113.7")


def test_a_block_for_good_does_not_end(replica: Replica, clock: ManualClock) -> None:
    replica.add(entry("203.0.113.7"))
    clock.advance(100 * 365 * 86_400)
    assert is_blocked(replica, "203.0.113.7")


def test_an_ended_block_of_an_address_is_forgotten(replica: Replica, clock: ManualClock) -> None:
    replica.add(entry("203.0.113.7", expires=clock() + 1))
    clock.advance(1)
    assert not is_blocked(replica, "203.0.113.7")
    assert len(replica) == 0


@pytest.mark.parametrize("order", [("short", "long"), ("long", "short")])
@pytest.mark.parametrize("network", ["203.0.113.7", "203.0.113.0/24"])
def test_of_several_blocks_the_longest_is_in_force(
    replica: Replica, clock: ManualClock, order: tuple[str, str], network: str
) -> None:
    seconds = {"short": 60, "long": 3600}
    for reference in order:
        replica.add(entry(network, reference, clock() + seconds[reference]))
    found = replica.find(client("203.0.113.7"))
    assert found is not None
    assert found.reference == "long"
    assert len(replica) == 1


def test_a_network_stays_blocked_when_an_address_in_it_is_free_again(replica: Replica, clock: ManualClock) -> None:
    replica.add(entry("203.0.113.7", "one", clock() + 60))
    replica.add(entry("203.0.113.0/24", "all", clock() + 3600))
    clock.advance(60)
    found = replica.find(client("203.0.113.7"))
    assert found is not None
    assert found.reference == "all"


def test_an_address_stays_blocked_when_its_network_is_free_again(replica: Replica, clock: ManualClock) -> None:
    replica.add(entry("203.0.113.0/24", "all", clock() + 60))
    replica.add(entry("203.0.113.7", "one", clock() + 3600))
    clock.advance(60)
    assert is_blocked(replica, "203.0.113.7")
    assert not is_blocked(replica, "203.0.113.8")


def test_an_ended_block_hides_no_wider_one(replica: Replica, clock: ManualClock) -> None:
    replica.add(entry("203.0.113.0/24", "ended", clock() + 1))
    replica.add(entry("203.0.0.0/16", "wide", clock() + 60))
    clock.advance(1)
    found = replica.find(client("203.0.113.7"))
    assert found is not None
    assert found.reference == "wide"


# -- lifting -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["203.0.113.7", "203.0.113.0/24", "2001:db8::/64"])
def test_a_lifted_block_is_gone(replica: Replica, network: str) -> None:
    replica.add(entry(network))
    replica.remove(network, "r1")
    assert not is_blocked(replica, "203.0.113.7")
    assert not is_blocked(replica, "2001:db8::1")
    assert len(replica) == 0


def test_lifting_one_block_leaves_the_others_of_the_network(replica: Replica, clock: ManualClock) -> None:
    replica.add(entry("203.0.113.7", "long"))
    replica.add(entry("203.0.113.7", "short", clock() + 60))
    replica.remove("203.0.113.7", "long")
    found = replica.find(client("203.0.113.7"))
    assert found is not None
    assert found.reference == "short"


def test_lifting_what_is_not_there_changes_nothing(replica: Replica) -> None:
    replica.add(entry("203.0.113.7"))
    replica.remove("203.0.113.7", "another")
    replica.remove("203.0.113.8", "r1")
    replica.remove_network("203.0.113.0/24")
    assert is_blocked(replica, "203.0.113.7")


def test_a_network_can_be_lifted_with_all_its_blocks(replica: Replica) -> None:
    replica.raise_here(entry("203.0.113.7", "a"))
    replica.add(entry("203.0.113.7", "b"))
    replica.add(entry("203.0.113.8", "c"))
    replica.remove_network("203.0.113.7")
    assert not is_blocked(replica, "203.0.113.7")
    assert is_blocked(replica, "203.0.113.8")


# -- full loads ----------------------------------------------------------------------------------------------


def test_a_full_load_forgets_what_is_no_longer_there(replica: Replica) -> None:
    for network in ("203.0.113.7", "203.0.113.0/24", "2001:db8::/64"):
        replica.add(entry(network, network))
    replica.replace_all([entry("198.51.100.1")])
    assert is_blocked(replica, "198.51.100.1")
    assert not is_blocked(replica, "203.0.113.7")
    assert not is_blocked(replica, "2001:db8::1")
    assert len(replica) == 1


def test_a_replica_says_whether_it_was_loaded(replica: Replica) -> None:
    assert not replica.loaded
    replica.replace_all([])
    assert replica.loaded


def test_a_full_load_keeps_what_was_raised_here_just_now(replica: Replica, clock: ManualClock) -> None:
    replica.raise_here(entry("203.0.113.7"))
    clock.advance(RECENT - 1)
    replica.replace_all([])
    assert is_blocked(replica, "203.0.113.7")


def test_what_is_saved_is_the_databases_to_decide(replica: Replica) -> None:
    """Lifted and erased before anybody read it, it must not come back from this process's memory."""
    replica.raise_here(entry("203.0.113.7"))
    replica.saved(["r1"])
    assert is_blocked(replica, "203.0.113.7")
    replica.replace_all([])
    assert not is_blocked(replica, "203.0.113.7")


@pytest.mark.parametrize(("address", "network"), [(50, 5_000), (5_000, 50)])
def test_an_address_is_under_the_longest_of_the_blocks_around_it(
    replica: Replica, clock: ManualClock, address: float, network: float
) -> None:
    replica.add(entry("203.0.113.7", "r1", clock() + address))
    replica.add(entry("203.0.113.0/24", "r2", clock() + network))
    found = replica.find(client("203.0.113.7"))
    assert found is not None
    assert found.expires == clock() + 5_000


def test_a_later_full_load_knows_better(replica: Replica, clock: ManualClock) -> None:
    replica.raise_here(entry("203.0.113.7"))
    clock.advance(RECENT)
    replica.replace_all([])
    assert not is_blocked(replica, "203.0.113.7")


def test_what_was_raised_here_and_lifted_since_does_not_come_back(replica: Replica) -> None:
    replica.raise_here(entry("203.0.113.7"))
    replica.remove("203.0.113.7", "r1")
    replica.replace_all([])
    assert not is_blocked(replica, "203.0.113.7")


def test_a_block_raised_here_is_in_force_at_once(replica: Replica) -> None:
    replica.raise_here(entry("203.0.113.0/24"))
    assert is_blocked(replica, "203.0.113.99")


# -- threads -------------------------------------------------------------------------------------------------


def test_readers_are_never_disturbed_by_writers(replica: Replica) -> None:
    always, never = client("192.0.2.1"), client("192.0.2.2")
    replica.add(entry("192.0.2.1", "always"))
    replica.add(entry("198.18.0.0/15", "always wide"))
    wide = client("198.18.7.7")
    done = threading.Event()

    def read() -> int:
        rounds = 0
        while not done.is_set() or rounds < 100:
            assert replica.find(always) is not None
            assert replica.find(wide) is not None
            assert replica.find(never) is None
            rounds += 1
        return rounds

    def write(first: int) -> None:
        for n in range(300):
            length = 17 + (first + n) % 15
            number = first << 24 | n << (32 - length) & 0xFFFFFF
            network = f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}/{length}"
            replica.add(entry(network, f"{first}-{n}"))
            if n % 3:
                replica.remove(network, f"{first}-{n}")
            if n % 50 == 0:
                replica.replace_all([entry("192.0.2.1", "always"), entry("198.18.0.0/15", "always wide")])

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        writers = [pool.submit(write, first) for first in (11, 12, 13, 14)]
        try:
            for each in writers:
                each.result()
        finally:
            done.set()
        assert all(each.result() >= 100 for each in readers)


def test_no_block_is_lost_among_threads(replica: Replica) -> None:
    addresses = [f"10.{n >> 8}.{n & 255}.1" for n in range(2_000)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda text: replica.raise_here(entry(text, text)), addresses))
    assert len(replica) == 2_000
    assert all(is_blocked(replica, text) for text in addresses)


def test_no_block_is_lost_to_a_full_load(replica: Replica) -> None:
    addresses = [f"10.{n >> 8}.{n & 255}.1" for n in range(2_000)]
    done = threading.Event()

    def load() -> int:
        rounds = 0
        while not done.is_set():
            replica.replace_all([entry("192.0.2.1")])
            rounds += 1
        return rounds

    with ThreadPoolExecutor(5) as pool:
        loads = pool.submit(load)
        try:
            list(pool.map(lambda text: replica.raise_here(entry(text, text)), addresses))
        finally:
            done.set()
        assert loads.result() > 0
    assert [text for text in addresses if not is_blocked(replica, text)] == []


# -- lifted elsewhere, before it was raised here ---------------------------------------------------------------------


def test_a_block_that_was_saved_and_lifted_before_it_is_raised_here_stays_lifted(
    replica: Replica, clock: ManualClock
) -> None:
    replica.remove("203.0.113.7", "r1")
    replica.raise_here(entry("203.0.113.7", "r1"))
    assert not is_blocked(replica, "203.0.113.7")
    replica.raise_here(entry("203.0.113.7", "another"))
    assert is_blocked(replica, "203.0.113.7")


def test_what_was_raised_or_lifted_long_ago_is_forgotten(replica: Replica, clock: ManualClock) -> None:
    for number in range(100):
        replica.remove("203.0.113.7", f"lifted {number}")
        replica.raise_here(entry("203.0.113.8", f"raised {number}", clock() + 1))
        clock.advance(RECENT / 10)
    assert max(len(replica._lifted), len(replica._raised)) <= 11
