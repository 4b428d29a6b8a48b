"""The store's server killed, hung, filled, slowed and misconfigured in the middle of its work, under a real site."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from secguard.logging import security_event_logger
from tests.end_to_end.serving import HMAC_KEY, Served, until
from tests.faults.report import Row, rows
from tests.faults.store import FAULTS, SLOTS, Fault, Torture, tortured
from tests.faults.traffic import LIMIT, SERVERS, Traffic, one_process

#: Long enough that a busy machine is no fault. Whoever meets a server that hangs first waits for so long.
STORE_TIMEOUT = 1.0
ATTACKER, BLOCKED, NEWCOMER = "198.51.100.1", "198.51.100.2", "198.51.100.3"
HONEST = 12


@dataclass
class Episode:
    """What was answered before, during and after a fault, what was logged, and what the store had counted."""

    fault: Fault
    before: int = 0
    after: int = 0
    honest: list[int] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    attacker: list[int] = field(default_factory=list)
    blocked: list[int] = field(default_factory=list)
    newcomer: list[int] = field(default_factory=list)
    again: list[int] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    events: list[dict[str, Any]] = field(default_factory=list)

    def of(self, event_type: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event_type"] == event_type]


@contextmanager
def looking_into(url: str) -> Iterator[None]:
    """This process counts where the site does."""
    with override_settings(SECGUARD={"REDIS_URL": url, "HMAC_KEY": HMAC_KEY, "STORE_TIMEOUT": 30}):
        yield


def count_of(address: str) -> int:
    return security_event_logger.get_failed_login_count(address)


def suffer(fault: Fault, traffic: Traffic, it: Torture, served: Served, row: Row) -> Episode:
    """One fault from its beginning to its end."""
    episode = Episode(fault)
    traffic.guess(ATTACKER, 2)
    assert traffic.guess(BLOCKED, LIMIT + 1) == [200] * LIMIT + [403]
    _, row.before = traffic.honest("192.0.2", HONEST)
    with looking_into(f"redis://127.0.0.1:{it.server.port}/0"):
        episode.before = count_of(ATTACKER)
    with fault.inflict(it):
        # The honest come first: a server that hangs does later what it was asked now.
        episode.honest, row.during = traffic.honest("192.0.3", HONEST)
        episode.pages = [traffic.page(f"192.0.4.{number}") for number in range(5)]
        episode.attacker = traffic.guess(ATTACKER, 2)
        episode.blocked = [traffic.page(BLOCKED), *traffic.guess(BLOCKED, 1)]
        episode.newcomer = traffic.guess(NEWCOMER, LIMIT + 2)
        # Where its connections end first, that is all the site knows until it asks again.
        until(lambda: traffic.page("192.0.5.1") == 200 and it.is_noticed(), "the site meets the fault")
    until(lambda: traffic.page("192.0.5.1") == 200 and bool(served.logged("recovered")), "the store is used again")
    episode.again = traffic.guess(ATTACKER, 1)
    with looking_into(f"redis://127.0.0.1:{it.server.port}/0"):
        episode.after = count_of(ATTACKER)
    return episode


#: What a server answers is read alike by threads and coroutines, what it does not answer is not.
CASES = [(fault, server) for fault in FAULTS for server in SERVERS if server == "gunicorn" or not fault.is_answered]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0].name.replace(' ', '-')}-{case[1]}")
def episode(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, database: Path) -> Episode:
    fault, server = request.param
    folder = tmp_path_factory.mktemp("fault")
    row = Row(fault.name, server)
    with tortured(folder / "store", *fault.options) as it:
        if fault.options:
            it.server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
            until(lambda: it.server.client.cluster("INFO")["cluster_state"] == "ok", "the cluster is complete")
        # A copy: blocks are rows, and each fault has its own.
        served = Served(folder, Path(shutil.copy(database, folder)), it.url)
        with one_process(server, served, STORE_TIMEOUT=STORE_TIMEOUT, RESERVE_WAIT=1) as traffic:
            episode = suffer(fault, traffic, it, served, row)
    episode.events, episode.statuses = served.events, traffic.statuses
    row.statuses, row.events = traffic.statuses, Counter(event["event_type"] for event in episode.events)
    row.counts = f"{episode.before} > {episode.after}"
    rows.append(row)
    return episode


class TestAFaultOfTheStore:
    def test_refuses_no_honest_user(self, episode: Episode) -> None:
        assert episode.honest == [302] * HONEST
        assert set(episode.pages) == {200}

    def test_answers_nothing_but_what_is_usual(self, episode: Episode) -> None:
        assert set(episode.statuses) == {200, 302, 403}
        assert (episode.attacker, episode.again) == ([200] * 2, [200])

    def test_lifts_no_block(self, episode: Episode) -> None:
        assert episode.blocked == [403] * 2

    def test_stops_no_new_block(self, episode: Episode) -> None:
        assert episode.newcomer == [200] * LIMIT + [403] * 2

    def test_is_told_once_by_its_name(self, episode: Episode) -> None:
        (degraded,) = episode.of("degraded")
        assert degraded["component"] == "store"
        # The first that is seen of it may be that the connections have ended.
        (recovered,) = episode.of("recovered")
        assert episode.fault.named in degraded["error"] + recovered["last_error"]

    def test_is_told_to_be_over_with_what_happened_meanwhile(self, episode: Episode) -> None:
        (recovered,) = episode.of("recovered")
        assert recovered["component"] == "store"
        assert recovered["local_failures"] >= LIMIT

    def test_loses_no_event(self, episode: Episode) -> None:
        # Two before, five of who is blocked, two during, five of the newcomer, one after.
        assert len(episode.of("login_failed")) == 2 + LIMIT + 2 + LIMIT + 1
        assert len(episode.of("login_success")) == 2 * HONEST
        assert Counter(event["rule"] for event in episode.of("suspicious_activity"))["brute_force"] == 2

    def test_loses_nothing_that_was_counted_before(self, episode: Episode) -> None:
        assert episode.before == 2
        if episode.fault.forgets:
            assert episode.after == 1
        elif episode.fault.may_write:
            assert 3 <= episode.after <= 5
        else:
            assert episode.after == 3


class TestWhatNobodyNotices:
    """What a server goes through without anybody at the site noticing, and without a count being wrong."""

    @pytest.fixture
    def torture(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Torture]:
        with tortured(tmp_path_factory.mktemp("quiet") / "store") as it:
            yield it

    @pytest.fixture(params=SERVERS)
    def site(
        self,
        request: pytest.FixtureRequest,
        torture: Torture,
        tmp_path_factory: pytest.TempPathFactory,
        database: Path,
    ) -> Iterator[tuple[Traffic, Served]]:
        folder = tmp_path_factory.mktemp("quiet")
        torture.server.client.flushall()
        served = Served(folder, Path(shutil.copy(database, folder)), torture.url)
        with one_process(request.param, served, STORE_TIMEOUT=30) as traffic:
            yield traffic, served

    def count(self, it: Torture, address: str) -> int:
        with looking_into(f"redis://127.0.0.1:{it.server.port}/0"):
            return count_of(address)

    def test_a_server_that_forgets_its_scripts(self, site: tuple[Traffic, Served], torture: Torture) -> None:
        traffic, served = site
        for _ in range(2):
            assert traffic.guess("198.51.100.11", 2) == [200] * 2
            torture.server.client.script_flush()
        assert self.count(torture, "198.51.100.11") == 4
        assert traffic.guess("198.51.100.11", 2) == [200, 403]
        assert not served.logged("degraded")

    def test_a_server_that_is_emptied(self, site: tuple[Traffic, Served], torture: Torture) -> None:
        traffic, served = site
        assert traffic.guess("198.51.100.12", LIMIT + 1) == [200] * LIMIT + [403]
        torture.server.client.flushall()
        assert [traffic.page("198.51.100.12") for _ in range(3)] == [403] * 3
        assert traffic.guess("198.51.100.13", LIMIT + 1) == [200] * LIMIT + [403]
        assert not served.logged("degraded")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("lost", [b"EVAL", b"EVALSHA"], ids=["source", "digest"])
def test_a_failure_whose_reply_is_lost_after_the_write_counts_exactly_once(
    server: str, lost: bytes, tmp_path: Path, database: Path
) -> None:
    with tortured(tmp_path / "store") as it:
        served = Served(tmp_path, Path(shutil.copy(database, tmp_path)), it.url)
        with one_process(server, served, STORE_TIMEOUT=30, RESERVE_WAIT=1) as traffic:
            assert traffic.guess(ATTACKER, 1) == [200]
            if lost == b"EVAL":
                it.server.client.script_flush()
            it.proxy.loses = lost
            assert traffic.guess(ATTACKER, 1) == [200]
            assert it.proxy.lost == 1
            assert len(served.logged("login_failed")) == 2
            # The first that asks afterwards tells the store how the attempt ended.
            until(lambda: traffic.honest("192.0.6", 1)[0] == [302] and bool(served.logged("recovered")), "it is back")
            assert traffic.honest("192.0.6", 1)[0] == [302]
            with looking_into(f"redis://127.0.0.1:{it.server.port}/0"):
                assert count_of(ATTACKER) == 2
