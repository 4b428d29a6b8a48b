"""The blocklist in memory: how many there are and where, what they cost, and the networks that are never refused."""

from __future__ import annotations

import tracemalloc
import uuid

import pytest

from secguard.blocking.replica import FOREVER, BlockEntry, Replica
from secguard.network import UNKNOWN
from secguard.testing import ManualClock
from tests.blocking.test_replica import client, entry, is_blocked


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def replica(clock: ManualClock) -> Replica:
    return Replica(clock=clock)


# -- counts ------------------------------------------------------------------------------------------------------


def by_rule(network: str, reference: str = "r1", expires: float = FOREVER) -> BlockEntry:
    return BlockEntry(network, reference, expires, automatic=True)


def test_networks_that_rules_have_blocked_are_counted(replica: Replica, clock: ManualClock) -> None:
    replica.add_all([by_rule(f"203.0.113.{n}", f"{n}", clock() + 10 * n) for n in range(1, 5)])
    replica.add_all([entry("203.0.113.9"), entry("198.51.100.0/24", "listed"), by_rule("2001:db8::/64")])
    assert replica.active() == 5
    clock.advance(10)
    assert replica.active() == 4
    replica.remove("203.0.113.2", "2")
    assert replica.active() == 3
    replica.remove_network("203.0.113.3")
    assert replica.active() == 2
    replica.raise_here(by_rule("192.0.2.1"))
    assert replica.active() == 3
    replica.replace_all([by_rule("192.0.2.2", "other"), entry("192.0.2.3")])
    assert replica.active() == 2  # with what was raised here just now


def test_a_network_with_several_blocks_is_counted_once_and_while_a_rules_is_among_them(
    replica: Replica, clock: ManualClock
) -> None:
    replica.add(entry("203.0.113.7", "operator"))
    assert replica.active() == 0
    replica.add(by_rule("203.0.113.7", "one", clock() + 10))
    replica.add(by_rule("203.0.113.7", "two", clock() + 20))
    replica.add(by_rule("203.0.113.7", "two", clock() + 30))
    assert replica.active() == replica.count_inside(client("203.0.113.1"), 24) == 1
    replica.remove("203.0.113.7", "one")
    clock.advance(29)
    assert replica.active() == 1
    clock.advance(1)
    assert replica.active() == replica.count_inside(client("203.0.113.1"), 24) == 0
    assert is_blocked(replica, "203.0.113.7")


def test_addresses_are_counted_by_the_network_around_them(replica: Replica, clock: ManualClock) -> None:
    replica.add_all(by_rule(f"203.0.113.{n}", f"{n}", clock() + n) for n in range(1, 9))
    replica.add_all([by_rule("203.0.114.1"), by_rule("203.0.113.0/25"), entry("203.0.113.99", "operator")])
    replica.add_all(by_rule(f"2001:db8:0:{n:x}::/64", f"v6 {n}") for n in (0, 1, 0x100, 0x200))
    replica.add_all([by_rule("2001:db8::1/128"), by_rule("2001:db8:1::/64"), by_rule("2001:db8::/52")])
    assert replica.count_inside(client("203.0.113.77"), 24) == 8
    assert replica.count_inside(client("203.0.115.1"), 24) == 0
    assert [replica.count_inside(client("2001:db8::7"), prefix) for prefix in (56, 48)] == [2, 4]
    clock.advance(5)
    assert replica.count_inside(client("203.0.113.77"), 24) == 3


@pytest.mark.parametrize(("address", "prefix"), [("203.0.113.7", 16), ("203.0.113.7", 48), ("2001:db8::1", 24)])
def test_what_is_not_counted_is_said(replica: Replica, address: str, prefix: int) -> None:
    with pytest.raises(KeyError, match=f"/{prefix} is not counted"):
        replica.count_inside(client(address), prefix)


# -- many ----------------------------------------------------------------------------------------------------------


def test_a_network_takes_little_memory(replica: Replica, clock: ManualClock) -> None:
    """60 MB for 100,000: rules' blocks of addresses of IPv6 take most."""
    entries = [
        by_rule(f"2001:{n:x}:{n % 7:x}::/64", str(uuid.UUID(int=n << 64 | n)), clock() + 1 + n) for n in range(5_000)
    ]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    replica.replace_all(entries)
    after, peak = (size - before for size in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    assert len(replica) == 5_000
    assert max(after, peak) < 600 * 5_000


def test_a_row_whose_network_cannot_be_read_is_reported_and_keeps_no_other_out(
    replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    replica.replace_all([entry("203.0.113.7"), entry("nonsense", "broken"), entry("203.0.113.8")])
    replica.add_all([entry("203.0.113.0/99", "broken too"), entry("203.0.113.9")])
    replica.add_allowed(entry("*", "broken as well"))
    assert [is_blocked(replica, f"203.0.113.{n}") for n in (7, 8, 9)] == [True] * 3
    told = [record.getMessage() for record in caplog.records]
    assert ["the row broken is left out" in line for line in told] == [True]  # the others within a minute
    assert not replica.remove("nonsense", "broken")
    assert not replica.remove_allowed("nonsense")


def test_many_blocks_can_be_lifted_at_once(replica: Replica) -> None:
    replica.add_all(entry(f"10.{n}.0.0/16", f"{n}") for n in range(200))
    known = replica.remove_all((f"10.{n}.0.0/16", f"{n}") for n in range(100, 300))
    assert known == {f"{n}" for n in range(100, 200)}
    assert [is_blocked(replica, f"10.{n}.7.7") for n in (99, 100, 199, 200)] == [True, False, False, False]
    assert len(replica) == 100


# -- networks that are never refused ---------------------------------------------------------------------------------


def is_allowed(replica: Replica, text: str) -> bool:
    return replica.is_allowed(client(text))


def test_at_first_nobody_is_allowed(replica: Replica) -> None:
    assert not is_allowed(replica, "203.0.113.7")
    assert not replica.is_allowed(UNKNOWN)


def test_an_allowed_network_covers_its_addresses_until_it_ends(replica: Replica, clock: ManualClock) -> None:
    replica.add_allowed(entry("203.0.113.0/24", "office", clock() + 60))
    replica.add_allowed(entry("2001:db8::/64", "home"))
    assert is_allowed(replica, "203.0.113.7")
    assert is_allowed(replica, "2001:db8::7")
    assert not is_allowed(replica, "203.0.114.7")
    assert not is_blocked(replica, "203.0.113.7")
    clock.advance(60)
    assert not is_allowed(replica, "203.0.113.7")
    assert is_allowed(replica, "2001:db8::7")


def test_what_is_allowed_can_be_taken_back_by_row_or_by_network(replica: Replica) -> None:
    for reference in ("one", "two", "three"):
        replica.add_allowed(entry("203.0.113.0/24", reference))
    assert replica.remove_allowed("203.0.113.0/24", "one")
    assert not replica.remove_allowed("203.0.113.0/24", "one")
    assert is_allowed(replica, "203.0.113.7")
    assert replica.remove_allowed("203.0.113.0/24")
    assert not is_allowed(replica, "203.0.113.7")
    assert not replica.remove_allowed("203.0.113.0/24")


def test_a_full_load_of_the_allowed_networks_touches_no_block(replica: Replica) -> None:
    replica.add_allowed(entry("203.0.113.7", "old"))
    replica.add(entry("192.0.2.1"))
    replica.replace_allowed([entry("203.0.113.8", "new")])
    assert [is_allowed(replica, f"203.0.113.{n}") for n in (7, 8)] == [False, True]
    assert is_blocked(replica, "192.0.2.1")
    replica.replace_all([])
    assert is_allowed(replica, "203.0.113.8")
