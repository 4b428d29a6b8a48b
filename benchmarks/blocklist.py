"""Times the blocklist at size: import, load, look-up, changes, and a storm of attackers. SQLite in a file.

``python -m benchmarks.blocklist --networks 1000000``, or the same as ARGS of ``make bench``.
"""

from __future__ import annotations

import argparse
import logging
import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secguard.network import ClientAddress

NETWORKS = 100_000
ATTACKERS = 10_000
CHANGES = 10
#: Addresses that are looked up, and how many within one measurement.
LOOK_UPS, CHUNK = 20_000, 100


def configure(database: Path) -> None:
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="benchmark-" + "0" * 50,
        USE_TZ=True,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(database)}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "secguard"],
        SECGUARD={"TRAP_PATHS": ["/wp-login.php"], "MAX_ACTIVE_BLOCKS": 10_000_000},
    )
    django.setup()
    logging.disable(logging.CRITICAL)


def networks(chance: random.Random) -> Iterator[str]:
    """Of every length that a list may have: seven of ten are single addresses of IPv4, one is a /64 of IPv6."""
    while True:
        kind = chance.random()
        if kind < 0.7:
            yield str(IPv4Address(chance.getrandbits(32)))
        elif kind < 0.8:
            yield f"{IPv6Address(_ipv6(chance, 64))}/64"
        elif kind < 0.9:
            # Of the widest a few: they would cover everything.
            prefix = chance.randint(8, 15) if chance.random() < 0.001 else chance.randint(16, 31)
            yield f"{IPv4Address(chance.getrandbits(prefix) << 32 - prefix)}/{prefix}"
        else:
            prefix = chance.randint(16, 31) if chance.random() < 0.001 else chance.randint(32, 128)
            yield f"{IPv6Address(_ipv6(chance, prefix))}/{prefix}"


def _ipv6(chance: random.Random, prefix: int) -> int:
    """The first address of a network in 2000::/4."""
    return (2 << 124 | chance.getrandbits(124)) >> 128 - prefix << 128 - prefix


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=NETWORKS, help="how many are on the list")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        configure(Path(folder) / "db.sqlite3")
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        chance = random.Random(1)
        listed = list(dict.fromkeys(islice(networks(chance), options.networks)))
        print(f"\n{f'a blocklist of {len(listed):,} networks':<44}{'ms':>10}{'SQL':>6}")
        _print_import(listed)
        _print_load()
        _print_changes()
        _print_look_ups(chance, listed)
        _print_storm()


def _timed(described: str, call: Callable[[], Any]) -> Any:
    """Print how long it took, and how many statements."""
    with _Statements() as statements:
        began = time.perf_counter()
        result = call()
        took = time.perf_counter() - began
    print(f"{described:<44}{took * 1000:>10,.1f}{statements.count:>6,}")
    return result


class _Statements:
    """Counts the statements in a block of code."""

    def __init__(self) -> None:
        from django.db import connection

        self.count = 0
        self._wrapper = connection.execute_wrapper(self._counted)

    def _counted(self, execute: Callable[..., Any], *rest: Any) -> Any:
        self.count += 1
        return execute(*rest)

    def __enter__(self) -> _Statements:
        self._wrapper.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._wrapper.__exit__(*exc)


def _print_import(listed: list[str]) -> None:
    from secguard.records.lists import import_list

    _timed("import", lambda: import_list("bench", listed))
    _timed("import of the same again", lambda: import_list("bench", listed))
    _timed(f"import with {CHANGES} changes", lambda: import_list("bench", listed[CHANGES:]))
    import_list("bench", listed)


def _print_load() -> None:
    from secguard import records
    from secguard.conf import reset
    from secguard.pipeline import get_replica

    _timed("a worker loads it", lambda: records.get_synchroniser().refresh("first"))
    reset()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    records.get_synchroniser().refresh("first")
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    held = (after - before) / len(get_replica())
    megabytes = f"{(after - before) / 1e6:.1f} MB, at most {(peak - before) / 1e6:.1f} MB meanwhile"
    print(f"its memory: {megabytes}, {held:.0f} bytes a network")


def _print_changes() -> None:
    from secguard import records
    from secguard.blocking.policy import BlockRequest
    from secguard.models import Block

    synchroniser = records.get_synchroniser()
    _timed("a look for changes finds none", lambda: synchroniser.refresh("second"))
    now = records.database_now("default")
    some = list(Block.objects.order_by("pk").values_list("pk", flat=True)[: CHANGES // 2])
    Block.objects.filter(pk__in=some).update(lifted_at=now, updated_at=now)
    records.insert([BlockRequest(f"203.0.113.{number}", 600) for number in range(CHANGES - len(some))])
    _timed(f"it finds {CHANGES}", lambda: synchroniser.refresh("third"))
    synchroniser._next_check = 0.0
    _timed("the minute's check", lambda: synchroniser.refresh("third"))


def _print_look_ups(chance: random.Random, listed: list[str]) -> None:
    from secguard.network import ClientAddressResolver
    from secguard.pipeline import get_replica

    resolver, replica = ClientAddressResolver(), get_replica()

    def clients(numbers: Iterator[tuple[int, int]]) -> Iterator[ClientAddress]:
        for version, number in numbers:
            found = resolver.address(str(IPv4Address(number) if version == 4 else IPv6Address(number)))
            assert found is not None
            yield found

    def inside() -> Iterator[tuple[int, int]]:
        for text in chance.sample(listed, len(listed)):
            network = ip_network(text)
            yield network.version, int(network.network_address) + chance.randrange(network.num_addresses)

    def anywhere() -> Iterator[tuple[int, int]]:
        while True:
            yield 4, chance.getrandbits(32)
            yield 6, _ipv6(chance, 128)

    print(f"\n{'look-up of addresses, each a different one':<44}{'µs':>10}")
    for described, numbers, wanted in (("blocked", inside(), True), ("not blocked", anywhere(), False)):
        found = [each for each in islice(clients(numbers), 4 * LOOK_UPS) if (replica.find(each) is not None) == wanted]
        for version in (4, 6):
            some = [each for each in found if each.version == version][:LOOK_UPS]
            print(f"{f'IPv{version}, {described}':<44}{_look_up(replica.find, some):>10.2f}")


def _look_up(find: Callable[[ClientAddress], Any], addresses: list[ClientAddress]) -> float:
    """µs for one, the median of chunks."""
    times = []
    for at in range(0, len(addresses) - CHUNK + 1, CHUNK):
        chunk = addresses[at : at + CHUNK]
        began = time.perf_counter_ns()
        for address in chunk:
            find(address)
        times.append((time.perf_counter_ns() - began) / CHUNK / 1000)
    return median(times)


def _print_storm() -> None:
    """Each attacker falls into a trap at once. Requests poll when it is time, as always."""
    from secguard import records
    from secguard.events import EventType
    from secguard.logging import security_event_logger
    from secguard.models import Block

    synchroniser = records.get_synchroniser()
    known, polls = Block.objects.count(), []
    with _Statements() as statements:
        began = time.perf_counter()
        for number in range(ATTACKERS):
            if synchroniser.due():
                before = time.perf_counter()
                synchroniser.poll()
                polls.append(time.perf_counter() - before)
            address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            security_event_logger.log(EventType.TRAP_HIT, ip_address=address)
        took = time.perf_counter() - began
        at_once = statements.count
        waiting = len(synchroniser.unsaved)
        synchroniser.save_waiting()
    rows = Block.objects.count() - known
    print(f"\n{ATTACKERS:,} attackers in {took:.1f} s, each blocked by its first request:")
    print(f"  {took / ATTACKERS * 1e6:,.0f} µs each; {at_once:,} statements, {at_once / ATTACKERS:.2f} each")
    print(f"  {rows:,} rows, the last {waiting:,} after the end; {len(polls)} polls, the longest {max(polls):.3f} s")


if __name__ == "__main__":
    main()
