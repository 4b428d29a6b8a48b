"""However many attempts from however many addresses, whatever they hold: keys, memory, lines and time are bounded."""

from __future__ import annotations

import json
import logging
import random
import resource
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis
from django.contrib.auth import authenticate
from django.test import RequestFactory

from secguard import emit
from secguard.emit import security_logger
from secguard.formatters import SecurityJsonFormatter
from secguard.models import Block
from secguard.testing import CapturedEvents
from tests.end_to_end.serving import own_store
from tests.formatters.hostile import STRINGS
from tests.measured import note
from tests.soak import SIZE

pytestmark = pytest.mark.slow

ATTEMPTS = 10_000 * SIZE
LONGEST_KEY, LONGEST_LIFE = 128, 86_400_000  # bytes, milliseconds
LONGEST_LINE = 8_192
#: What a process may grow by after the first fifth of the attempts, in bytes: by what caches hold when they are full,
#: which they soon are, and no further, however many attempts there are.
GROWTH = 40 * 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> Iterator[redis.Redis]:
    with own_store(tmp_path) as url, redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture
def guarded(store: redis.Redis, settings: Any) -> None:
    port = store.connection_pool.connection_kwargs["port"]
    settings.AUTHENTICATION_BACKENDS = [
        "secguard.backends.SecurityGuardBackend",
        "tests.end_to_end.backends.NobodyBackend",
    ]
    settings.SECGUARD = {"REDIS_URL": f"redis://127.0.0.1:{port}/0", "STORE_TIMEOUT": 10}


class Checked(logging.Handler):
    """Keeps no line, but has a look at each: one line of valid JSON, or this raises."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(SecurityJsonFormatter())
        self.lines = self.longest = 0

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        assert "\n" not in line
        assert json.loads(line)["context"]["event_type"]
        self.lines += 1
        self.longest = max(self.longest, len(line.encode()))


@pytest.fixture
def log() -> Iterator[Checked]:
    handler = Checked()
    security_logger.addHandler(handler)
    lost = emit.lost_events
    yield handler
    security_logger.removeHandler(handler)
    assert emit.lost_events == lost


def addresses(chance: random.Random) -> Iterator[str]:
    """From everywhere, one in ten by IPv6."""
    while True:
        if chance.random() < 0.1:
            yield str(IPv6Address(0x2001_0DB8 << 96 | chance.getrandbits(96)))
        else:
            yield str(IPv4Address(chance.randrange(0x0100_0000, 0xDF00_0000)))


def names(chance: random.Random) -> Iterator[object]:
    while True:
        kind = chance.randrange(4)
        if kind == 0:
            yield chance.choice(STRINGS)
        elif kind == 1:
            yield "".join(chr(chance.randrange(1, 0xD7FF)) for _ in range(chance.randrange(1, 200)))
        elif kind == 2:
            yield chance.choice([None, 17, ["a"], {"a": 1}, b"\xff", "", " ", "x" * 100_000])
        else:
            yield f"nobody{chance.randrange(1_000_000)}@example.com"


def script_time(store: redis.Redis) -> tuple[int, int]:
    """→ calls and microseconds of the script so far."""
    stats = store.info("commandstats")
    found = [stats.get(f"cmdstat_{name}", {"calls": 0, "usec": 0}) for name in ("eval", "evalsha")]
    return sum(each["calls"] for each in found), sum(each["usec"] for each in found)


@pytest.mark.django_db(transaction=True)
def test_attempts_from_everywhere_with_whatever_they_hold(guarded: None, store: redis.Redis, log: Checked) -> None:
    chance = random.Random(7)
    peers, accounts, factory = addresses(chance), names(chance), RequestFactory()
    memory, times, resident = [store.info("memory")["used_memory"]], [script_time(store)], []
    for number in range(ATTEMPTS):
        agent = chance.choice(STRINGS).encode("latin-1", "replace").decode("latin-1")
        request = factory.post("/log_in/", REMOTE_ADDR=next(peers), HTTP_USER_AGENT=agent)
        assert authenticate(request, username=next(accounts), password="guess") is None
        if (number + 1) % (ATTEMPTS // 5) == 0:
            resident.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
            memory.append(store.info("memory")["used_memory"])
            times.append(script_time(store))
    keys = list(store.scan_iter(count=10_000))
    with store.pipeline() as asking:
        for key in keys:
            asking.pttl(key)
        lives = asking.execute()
    assert max(map(len, keys)) <= LONGEST_KEY
    assert all(0 < life <= LONGEST_LIFE for life in lives)
    assert log.longest <= LONGEST_LINE
    assert resident[-1] - resident[0] < GROWTH
    each = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(times)]
    note(
        f"{ATTEMPTS:,} attempts from everywhere: {len(keys):,} keys of at most {max(map(len, keys))} bytes, "
        f"{(memory[-1] - memory[0]) / len(keys):.0f} bytes of the store each; the process grew by "
        f"{(resident[-1] - resident[0]) / 2**20:.1f} MiB after the first fifth; {log.lines:,} lines; the script took "
        f"{each[0]:.0f} us a call in the first fifth and {each[-1]:.0f} us in the last"
    )


FLOODS = ["deny/", "forbid/", "suspect/", "missing/", "/api/"]


@pytest.mark.parametrize("store_settings", [{}], ids=["memory"])
def test_a_flood_from_one_address_is_a_bounded_number_of_lines_and_rows(visit: Any, events: CapturedEvents) -> None:
    attacker = visit("198.51.100.7")
    for page in FLOODS:
        for _ in range(300 * SIZE):
            attacker.get(page)
    kinds = Counter(events.types)
    # A minute may have passed, and with it each flood has a second line or twenty more.
    assert all(count <= 60 for count in kinds.values()), kinds
    assert Block.objects.count() <= 1
    note(f"{300 * SIZE * len(FLOODS):,} refusals of one address: {sum(kinds.values())} lines ({dict(kinds)})")


@pytest.mark.parametrize("store_settings", [{}], ids=["memory"])
def test_an_attacker_who_guesses_on_is_one_row(visit: Any, events: CapturedEvents) -> None:
    attacker = visit("198.51.100.8")
    statuses = Counter(attacker.log_in(f"nobody{number}", "guess").status_code for number in range(300 * SIZE))
    assert statuses == {200: 5, 403: 300 * SIZE - 5}
    assert Block.objects.count() == 1
    assert len(events) <= 5 + 20
