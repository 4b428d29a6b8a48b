"""Rules over more than one number, who counts as the actor, and what a success writes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from secguard.detection import Detector, Rule
from secguard.detection.catalogue import ACCOUNT_FAILURES, BRUTE_FORCE
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

    def log_in(self, account: str, address: str = "198.51.100.7", link: str | None = None) -> None:
        attempt = self.detector.attempt(Observation(address=address, network=NETWORK, account=account))
        self.run(self.detector.reserve(attempt))
        ops = [*self.detector.success_ops(attempt.observation, link), *self.detector.pass_ops(attempt, (), link)]
        self.detector.passed(attempt, self.store.execute(ops))

    def counts(self, account: str | None = None, address: str = "198.51.100.7", **who: Any) -> dict[str, int]:
        observation = Observation(address=address, network=NETWORK, account=account, **who)
        found: Findings = self.run(self.detector.read(self.detector.records_of(observation)))
        return found.counts


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

    def test_one_account_that_gets_in_again_and_again_hides_nothing(self, site: Site) -> None:
        for _ in range(40):
            site.succeed("mallory")
        assert opened_by(site, 5) == ["stuffing"]

    def test_successes_are_weighed_against_all_failures_of_the_window(self, store: Any) -> None:
        site = Site(store, replace(STUFFING, threshold=5, max_per_value=2, max_success_rate=0.2))
        for number in range(6):
            site.succeed(f"guest{number}")
        # A few honest logins hide an attack that has just begun, and not one of four times as many failures.
        found = [opened(site.fail(f"user{number}")) for number in range(24)]
        assert found == [[]] * 23 + [["stuffing"]]

    def test_counts_end_with_the_number_of_entries_that_are_kept(self, store: Any) -> None:
        site = Site(store, replace(STUFFING, max_success_rate=None))
        for number in range(30):
            site.fail(f"user{number}")
        assert site.fail("user30").counts["stuffing"] == 15 or isinstance(site.store, CacheStore)

    def test_an_event_without_the_value_is_no_value(self, store: Any) -> None:
        site = Site(store, replace(STUFFING, events=("login_failed", "signup_rejected"), max_success_rate=None))
        for number in range(4):
            site.fail(f"user{number}")
        assert opened(site.count("signup_rejected", address="198.51.100.7", network=NETWORK)) == []
        assert opened(site.fail("user4")) == ["stuffing"]

    def test_an_average_at_the_limit_opens_a_threat_and_one_event_more_does_not(self, store: Any) -> None:
        at = Site(store, replace(STUFFING, name="at", max_success_rate=None))
        assert opened_by(at, 4, times=2) == []
        assert [opened(at.fail("user9")), opened(at.fail("user9"))] == [["at"], []]
        over = Site(store, replace(STUFFING, name="over", subject="address", max_success_rate=None))
        assert opened_by(over, 3, times=2) + [opened(over.fail("user8")) for _ in range(4)] == [[]] * 4
        assert opened(over.fail("user9")) == []  # eleven failures of five accounts

    def test_a_rate_at_the_limit_opens_a_threat_and_one_success_more_does_not(self, store: Any) -> None:
        site = Site(store, replace(STUFFING, name="at"))
        for number in range(5):
            site.succeed(f"guest{number}")
        assert opened_by(site, 5) == ["at"]
        over = Site(store, replace(STUFFING, name="over", subject="address"))
        for number in range(6):
            over.succeed(f"guest{number}")
        assert opened_by(over, 5) == []

    def test_no_success_is_few_enough_for_a_rate_of_nought_and_one_is_too_many(self, store: Any) -> None:
        none = Site(store, replace(STUFFING, name="none", max_success_rate=0))
        assert opened_by(none, 5) == ["none"]
        one = Site(store, replace(STUFFING, name="one", subject="address", max_success_rate=0))
        one.succeed("guest")
        assert opened_by(one, 5) == []

    def test_successes_that_a_rule_of_the_projects_counts_are_not_mixed_with_them(self, store: Any) -> None:
        logins = Rule(name="logins", events="login_success", subject="network", threshold=100, window=600)
        site = Site(store, STUFFING, logins)
        who = {"address": "198.51.100.7", "network": NETWORK, "account": "guest"}
        for _ in range(6):
            site.count("login_success", **who)
        site.succeed("guest")
        assert site.count("login_success", **who).counts["logins"] == 7
        assert opened_by(site, 5) == ["stuffing"]

    @pytest.mark.parametrize("times", [1, 5, 10])
    def test_so_many_entries_are_kept_that_the_most_for_each_value_fit(self, store: Any, times: int) -> None:
        site = Site(store, replace(STUFFING, threshold=8, max_per_value=10, max_success_rate=None))
        assert opened_by(site, 8, times=times) == ["stuffing"]

    def test_all_entries_are_kept_where_any_number_may_fall_on_a_value(self, store: Any) -> None:
        site = Site(store, replace(STUFFING, max_per_value=None))
        assert opened_by(site, 5, times=20) == ["stuffing"]

    def test_it_limits_no_attempts_whatever_its_action(self, store: Any) -> None:
        site = Site(store, replace(STUFFING, subject="address", action="block"))
        assert opened_by(site, 6) == ["stuffing"]
        attempt = site.detector.attempt(Observation(address="198.51.100.7", account="anna"))
        site.run(site.detector.reserve(attempt))
        assert attempt.state == "reserved"


def test_an_open_threat_is_confirmed_once_in_a_tenth_of_its_window() -> None:
    store, clock = MemoryStore(), [0.0]
    detector = Detector([STUFFING], key=b"key", clock=lambda: clock[0])

    def trips(number: int, seconds: float) -> int:
        clock[0], asked = seconds, []
        who = Observation(address="198.51.100.7", network=NETWORK, account=f"user{number}")

        def execute(ops: Any) -> Any:
            asked.append(ops)
            return store.execute(ops, int(seconds * 1_000))

        run(detector.record(detector.attempt(who)), execute)
        return len(asked)

    assert [trips(number, 0) for number in range(5)] == [1, 1, 1, 1, 3]
    assert [trips(6, 59.9), trips(7, 60), trips(8, 119.9), trips(9, 120)] == [1, 3, 1, 3]


class TestWhatASuccessWrites:
    RATE = replace(STUFFING, name="rate", subject="account", distinct="address", max_per_value=None)

    def test_does_not_keep_a_name_from_being_linked(self, store: Any) -> None:
        site = Site(store, self.RATE)
        site.log_in("anna@example.com", link="anna")
        assert site.detector.is_linked("anna@example.com")

    def test_counts_for_the_account_that_is_linked_to(self, store: Any) -> None:
        site = Site(store, self.RATE)
        for number in range(6):
            site.log_in("anna@example.com", f"198.51.100.{200 + number}", link="anna")
        found = [opened(site.fail("anna", f"198.51.100.{number}")) for number in range(5)]
        assert found == [[]] * 5

    def test_counts_for_the_pair_under_the_name_that_was_typed(self, store: Any) -> None:
        site = Site(store, replace(STUFFING, name="rate", subject="pair", distinct=None, max_per_value=None))
        for _ in range(6):
            site.log_in("anna@example.com", link="anna")
        assert [opened(site.fail("anna@example.com")) for _ in range(5)] == [[]] * 5

    def test_forgives_no_failure_by_itself(self, store: Any) -> None:
        site = Site(store, STUFFING)
        site.fail("anna")
        site.succeed("anna")
        assert site.counts()["stuffing"] == 1


class TestWhatALoginForgivesWhereItOnlyWrites:
    """A reservation does not ask about networks and actors."""

    NETWORK = Rule(name="network", events="login_failed", subject="network", threshold=50, window=600)
    ACTOR = Rule(name="actor", events="login_failed", subject="actor", threshold=50, window=600)

    def test_its_accounts_failures_from_the_whole_network(self, store: Any) -> None:
        site = Site(store, self.NETWORK, BRUTE_FORCE, ACCOUNT_FAILURES)
        for account in ("anna", "anna", "bert"):
            site.fail(account, "198.51.100.8")
        site.log_in("anna")
        assert site.counts()["network"] == 1

    @pytest.mark.parametrize(
        "beside",
        [
            pytest.param((), id="no rule is asked"),
            pytest.param((BRUTE_FORCE,), id="the address alone is asked"),
            pytest.param((replace(ACCOUNT_FAILURES, distinct="address"),), id="addresses are counted"),
            pytest.param((replace(ACCOUNT_FAILURES, events="signup_rejected"),), id="other events are counted"),
        ],
    )
    def test_them_whatever_a_reservation_tells(self, store: Any, beside: tuple[Rule, ...]) -> None:
        site = Site(store, self.NETWORK, *beside)
        for _ in range(2):
            site.fail("anna", "198.51.100.8")
        site.log_in("anna")
        assert site.counts()["network"] == 0

    def test_them_though_the_account_has_forgotten_them(self) -> None:
        store, now = MemoryStore(), 2 * MINUTE
        detector = Detector([self.NETWORK, replace(ACCOUNT_FAILURES, window=60)], key=b"key")
        who = Observation(address="198.51.100.7", network=NETWORK, account="anna")
        run(detector.record(detector.attempt(who)), lambda ops: store.execute(ops, 0))
        attempt = detector.attempt(who)
        run(detector.reserve(attempt), lambda ops: store.execute(ops, now))
        store.execute(detector.pass_ops(attempt), now)
        found = run(detector.read(detector.records_of(who)), lambda ops: store.execute(ops, now))
        assert found.counts["network"] == 0

    def test_nothing_is_asked_where_the_account_never_failed(self, store: Any) -> None:
        site = Site(store, self.NETWORK, ACCOUNT_FAILURES)
        attempt = site.detector.attempt(Observation(address="198.51.100.7", network=NETWORK, account="anna"))
        site.run(site.detector.reserve(attempt))
        assert [op.key[:5] for op in site.detector.pass_ops(attempt)] == [b"sg:u:"]

    def test_an_anonymous_actors_failures_at_this_account_alone(self, store: Any) -> None:
        site = Site(store, self.ACTOR)
        for account in ("bert", "carl", "anna"):
            site.fail(account)
        site.log_in("anna")
        assert site.counts()["actor"] == 2

    def test_nothing_is_reserved_given_back_or_abandoned_there(self, store: Any) -> None:
        site = Site(store, self.NETWORK, self.ACTOR, BRUTE_FORCE)
        attempt = site.detector.attempt(Observation(address="198.51.100.7", network=NETWORK, account="anna"))
        site.run(site.detector.reserve(attempt))
        assert [op.key[:5] for op in site.detector.abandon_ops(attempt)] == [b"sg:a:"]
        site.run(site.detector.release(attempt))
        assert set(site.counts().values()) == {0}

    def test_a_rule_that_limits_a_network_is_asked(self, store: Any) -> None:
        site = Site(store, replace(self.NETWORK, threshold=2, action="refuse"))
        for number in range(2):
            site.fail(f"user{number}")
        attempt = site.detector.attempt(Observation(address="198.51.100.7", network=NETWORK, account="anna"))
        site.run(site.detector.reserve(attempt))
        assert (attempt.asked, attempt.state) == (1, "refused")


def opened_by(site: Site, accounts: int, times: int = 1) -> list[str]:
    """Of so many accounts, each tried so often in turn."""
    return [name for number in range(accounts) for _ in range(times) for name in opened(site.fail(f"user{number}"))]


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

    def test_who_succeeds_is_forgiven_beside_a_rule_over_different_values(self, store: Any) -> None:
        site = Site(store, GUESSING, replace(GUESSING, name="accounts", distinct="account", threshold=9))
        own = {"address": "198.51.100.7", "user": "7", "account": "anna"}
        site.count("2fa_failed", **own)
        site.count("2fa_failed", **{**own, "address": "203.0.113.1"})
        site.store.execute(site.detector.forgive_ops(["2fa_failed"], Observation(**own)))
        assert site.counts(user="7") == {"guessing": 1, "accounts": 1}

    def test_what_is_counted_by_another_field_alone_is_not_forgiven(self, store: Any) -> None:
        site = Site(store, replace(GUESSING, distinct="path"))
        own = {"address": "198.51.100.7", "user": "7", "fields": {"path": "/a"}}
        site.count("2fa_failed", **own)
        assert site.detector.forgive_ops(["2fa_failed"], Observation(**own)) == []

    def test_whoever_is_anonymous_is_forgiven_nothing_without_an_account(self, site: Site) -> None:
        site.count("2fa_failed", address="198.51.100.7")
        assert site.detector.forgive_ops(["2fa_failed"], Observation(address="198.51.100.7")) == []

    def test_a_reset_drops_what_was_counted(self, site: Site) -> None:
        site.count("2fa_failed", address="198.51.100.7")
        site.run(site.detector.reset(site.detector.records_of(Observation(address="198.51.100.7"))))
        assert site.counts() == {"guessing": 0}

    @pytest.mark.parametrize("user", [None, "7"])
    def test_has_a_record_of_his_own(self, site: Site, user: str | None) -> None:
        targets = site.detector.targets("2fa_failed", Observation(address="198.51.100.7", user=user))
        assert [target.key[:5] for target in targets] == [b"sg:w:"]


def test_an_event_that_no_rule_counts_is_written_nowhere(store: Any) -> None:
    site = Site(store, GUESSING)
    assert site.detector.success_ops(Observation(address="198.51.100.7", network=NETWORK)) == []
    assert site.detector.forgive_ops(["login_failed"], Observation(address="198.51.100.7", user="7")) == []
