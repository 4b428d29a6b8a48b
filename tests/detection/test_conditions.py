"""Rules over more than one number, who counts as the actor, and what a success writes."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.detection import Detector, Rule
from secguard.detection.detector import Attempt, Findings, Observation, run
from secguard.stores import CacheStore, MemoryStore, RedisStore

MINUTE = 60_000
NETWORK = "198.51.100.0/24"
STUFFING = Rule(
    name="stuffing",
    events="login_failed",
    subject="network",
    distinct="account",
    threshold=5,
    window=600,
    max_per_value=2,
    max_success_rate=0.5,
)
GUESSING = Rule(name="guessing", events="2fa_failed", subject="actor", threshold=3, window=600)


@pytest.fixture(params=["memory", "cache", "redis"])
def store(request: pytest.FixtureRequest) -> Any:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "cache":
        from django.core.cache import caches

        caches["default"].clear()
        return CacheStore(caches["default"])
    return RedisStore(request.getfixturevalue("empty_redis"), timeout=10)


class Site:
    """A detector on a store; the time is the store's own unless a test says another."""

    def __init__(self, store: Any, *rules: Rule) -> None:
        self.store, self.detector = store, Detector(rules, key=b"key")

    def run(self, procedure: Any) -> Any:
        return run(procedure, self.store.execute)

    def fail(self, account: str, address: str = "198.51.100.7") -> Findings:
        who = Observation(address=address, network=NETWORK, account=account)
        found: Findings = self.run(self.detector.record(self.detector.attempt(who)))
        return found

    def succeed(self, account: str, address: str = "198.51.100.7") -> None:
        who = Observation(address=address, network=NETWORK, account=account)
        self.store.execute(self.detector.success_ops(who))

    def count(self, event_type: str, **who: Any) -> Findings:
        observation = Observation(**who)
        attempt = Attempt(observation, self.detector.targets(event_type, observation))
        found: Findings = self.run(self.detector.record(attempt))
        return found


def opened(findings: Findings) -> list[str]:
    return [threat.rule.name for threat in findings.opened]


class TestConditions:
    @pytest.fixture
    def site(self, store: Any) -> Site:
        return Site(store, STUFFING)

    def test_few_failures_each_of_many_accounts_open_a_threat_once(self, site: Site) -> None:
        found = [opened(site.fail(f"user{number}")) for number in range(7)]
        assert found == [[], [], [], [], ["stuffing"], [], []]

    def test_the_threat_says_how_many_accounts(self, site: Site) -> None:
        threats = [threat for number in range(5) for threat in site.fail(f"user{number}").opened]
        assert [(threat.count, threat.subject) for threat in threats] == [(5, NETWORK)]

    def test_an_attack_that_goes_on_keeps_it_open(self, site: Site) -> None:
        for number in range(5):
            site.fail(f"user{number}")
        found = site.fail("user9")
        assert ([threat.rule.name for threat in found.continued], found.open) == (["stuffing"], {"stuffing"})

    def test_many_failures_each_open_none(self, site: Site) -> None:
        found = [opened(site.fail(f"user{number}")) for number in range(6) for _ in range(3)]
        assert found == [[]] * 18

    def test_a_threat_opens_once_the_average_has_fallen(self, site: Site) -> None:
        for _ in range(7):
            site.fail("user0")
        found = [opened(site.fail(f"user{number}")) for number in range(1, 8)]
        assert found == [[], [], [], [], ["stuffing"], [], []]  # twelve failures of six accounts

    def test_as_many_successes_as_failures_are_no_attack(self, site: Site) -> None:
        for number in range(10):
            site.succeed(f"guest{number}")
        assert [opened(site.fail(f"user{number}")) for number in range(9)] == [[]] * 9

    def test_fewer_successes_are_one(self, site: Site) -> None:
        for number in range(3):
            site.succeed(f"guest{number}")
        assert opened_by(site, 6) == ["stuffing"]

    def test_a_reservation_does_not_ask_about_it(self, site: Site) -> None:
        attempt = site.detector.attempt(Observation(address="198.51.100.7", network=NETWORK, account="anna"))
        assert (len(attempt.targets), attempt.asked) == (1, 0)

    def test_counts_end_with_the_number_of_entries_that_are_kept(self, site: Site) -> None:
        for number in range(30):
            site.fail(f"user{number}")
        assert site.fail("user30").counts["stuffing"] == 15 or isinstance(site.store, CacheStore)


def opened_by(site: Site, failures: int) -> list[str]:
    return [name for number in range(failures) for name in opened(site.fail(f"user{number}"))]


def test_the_window_slides_under_a_condition() -> None:
    store = MemoryStore()
    site = Site(store, STUFFING)

    def fail(number: int, now: int) -> list[str]:
        who = Observation(address="198.51.100.7", network=NETWORK, account=f"user{number}")
        attempt = site.detector.attempt(who)
        return opened(run(site.detector.record(attempt), lambda ops: store.execute(ops, now)))

    assert [fail(number, number * 3 * MINUTE) for number in range(8)] == [[]] * 8
    assert [fail(10 + number, 60 * MINUTE) for number in range(5)] == [[], [], [], [], ["stuffing"]]
    assert fail(20, 69 * MINUTE) == []
    # A window without such an event has passed: it opens anew.
    assert [fail(30 + number, 90 * MINUTE) for number in range(5)] == [[], [], [], [], ["stuffing"]]


class TestTheActor:
    @pytest.fixture
    def site(self, store: Any) -> Site:
        return Site(store, GUESSING)

    def test_is_the_user_from_wherever(self, site: Site) -> None:
        found = [site.count("2fa_failed", address=f"198.51.100.{number}", user="7") for number in range(3)]
        assert [opened(each) for each in found] == [[], [], ["guessing"]]
        assert found[-1].opened[0].subject == "user 7"

    def test_is_the_address_of_whoever_is_not_known(self, site: Site) -> None:
        found = [site.count("2fa_failed", address="198.51.100.7") for _ in range(3)]
        assert found[-1].opened[0].subject == "198.51.100.7"

    def test_is_nobody_where_nothing_is_known(self, site: Site) -> None:
        assert site.count("2fa_failed").counts == {}

    def test_who_succeeds_is_forgiven_what_came_from_his_own_address(self, site: Site) -> None:
        own = {"address": "198.51.100.7", "user": "7"}
        for _ in range(2):
            site.count("2fa_failed", **own)
        site.count("2fa_failed", address="203.0.113.1", user="7")
        site.store.execute(site.detector.forgive_ops(["2fa_failed"], Observation(**own)))
        assert site.count("2fa_failed", **own).counts == {"guessing": 2}


def test_an_event_that_no_rule_counts_is_written_nowhere(store: Any) -> None:
    site = Site(store, GUESSING)
    assert site.detector.success_ops(Observation(address="198.51.100.7", network=NETWORK)) == []
    assert site.detector.forgive_ops(["login_failed"], Observation(address="198.51.100.7", user="7")) == []
