"""What the rules see of a login, and what a login forgives."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from secguard.detection import DEFAULT_RULES, Action, Detector, Rule
from secguard.detection.catalogue import DEVICE_FAILURES
from secguard.detection.detector import (
    ASKING,
    QUEUING,
    TAKEN,
    Attempt,
    Findings,
    Observation,
    Pause,
    Trip,
    Turn,
    run,
)
from secguard.detection.rule import SUBJECTS
from secguard.events import EventType
from secguard.exceptions import InvalidRule
from secguard.stores.memory import MemoryStore

MINUTE = 60_000


class Site:
    """A detector and its counters, and a clock that the test turns."""

    def __init__(self, rules: Any = DEFAULT_RULES) -> None:
        self.store, self.detector, self.now = MemoryStore(), Detector(rules, key=b"key"), 0

    def run(self, procedure: Any) -> Any:
        return run(procedure, self.execute)

    def execute(self, ops: Any) -> Any:
        return self.store.execute(ops, self.now)

    def until_pause(self, procedure: Any, answer: Any = None) -> Pause | None:
        """Drive a procedure, which always has its turn, until it pauses (or ends: None)."""
        while True:
            try:
                step = procedure.send(answer)
            except StopIteration:
                return None
            if isinstance(step, Pause):
                return step
            answer = self.execute(step.ops) if isinstance(step, Trip) else TAKEN

    def attempt(self, address: str = "192.0.2.1", account: str | None = "anna", **more: Any) -> Attempt:
        attempt = self.detector.attempt(Observation(address=address, account=account, **more))
        self.run(self.detector.reserve(attempt))
        return attempt

    def fail(self, address: str = "192.0.2.1", account: str | None = "anna", **more: Any) -> Findings:
        found: Findings = self.run(self.detector.record(self.attempt(address, account, **more)))
        return found

    def log_in(self, address: str = "192.0.2.1", account: str = "anna", **more: Any) -> None:
        self.succeed(self.attempt(address, account), **more)

    def succeed(self, attempt: Attempt, **more: Any) -> None:
        self.detector.passed(attempt, self.execute(self.detector.pass_ops(attempt, **more)))

    def counts(self, address: str = "192.0.2.1", account: str = "anna") -> dict[str, int]:
        who = self.detector.attempt(Observation(address=address, account=account))
        found: Findings = self.run(self.detector.read(who))
        return found.counts

    def login_counts(self, **who: str) -> dict[str, int]:
        return logins(self.counts(**who))


def logins(counts: dict[str, int]) -> dict[str, int]:
    """The counts of the first four rules of the catalogue."""
    names = [rule.name for rule in DEFAULT_RULES[:4]]
    return {name: counts[name] for name in names if name in counts}


@pytest.fixture
def site() -> Site:
    return Site()


def opened(found: Findings) -> list[str]:
    return [threat.rule.name for threat in found.opened]


def addresses(number: int) -> list[str]:
    return [f"198.51.100.{n}" for n in range(1, number + 1)]


# -- the default rules ---------------------------------------------------------------------------------


def test_the_fifth_failure_of_an_address_is_brute_force(site: Site) -> None:
    found = [site.fail() for _ in range(5)]
    assert [opened(each) for each in found] == [[], [], [], [], ["brute_force"]]
    assert found[-1].opened[0].subject == "192.0.2.1"
    assert found[-1].opened[0].count == 5


def test_an_address_over_the_limit_is_refused(site: Site) -> None:
    for _ in range(5):
        site.fail()
    site.now += MINUTE
    attempt = site.attempt()
    assert (attempt.state, attempt.retry_after) == ("refused", 14 * 60)


def test_an_address_that_may_not_be_refused_is_let_in(site: Site) -> None:
    for _ in range(9):
        site.fail(enforce=False)
    assert site.attempt(enforce=False).state == "reserved"
    assert site.counts()["brute_force"] == 9


def test_a_refused_attempt_counts_for_no_limit(site: Site) -> None:
    for _ in range(5):
        site.fail()
    for _ in range(40):
        assert site.attempt(account="bert").state == "refused"
    assert site.login_counts(account="bert") == {
        "brute_force": 5,
        "account_enumeration": 1,
        "distributed_attack": 0,
        "account_failures": 0,
    }


def test_the_tenth_address_of_one_account_is_a_distributed_attack(site: Site) -> None:
    found = [site.fail(address) for address in addresses(10)]
    assert [opened(each) for each in found] == [[]] * 9 + [["distributed_attack"]]
    assert found[-1].opened[0].subject == "anna"


def test_one_address_is_no_distributed_attack_however_often(site: Site) -> None:
    for _ in range(15):
        site.fail(enforce=False)
    assert site.counts()["distributed_attack"] == 1


def test_the_twentieth_account_from_one_address_is_enumeration(site: Site) -> None:
    found = [site.fail(account=f"user{n}", enforce=False) for n in range(20)]
    assert [n for n, each in enumerate(found, 1) if "account_enumeration" in opened(each)] == [20]


def test_nine_addresses_with_four_guesses_each_trip_account_failures_alone(site: Site) -> None:
    """Too few addresses for a distributed attack, too few guesses each for brute force."""
    found = [opened(site.fail(address)) for address in addresses(9) for _ in range(4)]
    assert found == [[]] * 19 + [["account_failures"]] + [[]] * 16


def test_a_threat_is_predicted_before_it_opens(site: Site) -> None:
    for _ in range(4):
        site.fail()
    attempt = site.attempt()
    assert attempt.findings.predicts_threat(site.detector.rules)
    assert not Site().attempt().findings.predicts_threat(site.detector.rules)


def test_an_attempt_without_an_account_counts_for_its_address_alone(site: Site) -> None:
    for _ in range(4):
        site.fail(account=None)
    assert logins(site.fail(account=None).counts) == {"brute_force": 5, "account_enumeration": 0}


def test_an_attempt_without_an_address_counts_for_its_account_alone(site: Site) -> None:
    assert logins(site.fail("").counts) == {"distributed_attack": 0, "account_failures": 1}


def test_an_attempt_of_nobody_from_nowhere_counts_nowhere(site: Site) -> None:
    attempt = site.attempt("", None)
    assert (attempt.state, attempt.targets) == ("reserved", [])
    assert site.fail("", None).counts == {}
    assert len(site.store) == 0


def test_attempts_without_an_account_forgive_nothing(site: Site) -> None:
    site.fail(account=None)
    site.succeed(site.attempt(account=None))
    assert site.counts()["brute_force"] == 1


# -- waiting -------------------------------------------------------------------------------------------


def test_a_burst_waits_and_then_gets_in(site: Site) -> None:
    first = [site.attempt(account=f"user{n}") for n in range(5)]
    late = site.detector.attempt(Observation(address="192.0.2.1", account="anna"))
    waiting = site.detector.reserve(late)
    assert isinstance(site.until_pause(waiting), Pause)
    site.succeed(first.pop())
    assert site.until_pause(waiting, True) is None
    assert late.state == "reserved"


def test_who_has_to_wait_for_a_turn_asks_the_store_nothing(site: Site) -> None:
    late = site.detector.attempt(Observation(address="192.0.2.1", account="anna"))
    waiting: Any = site.detector.reserve(late)
    assert isinstance(next(waiting), Turn)
    assert waiting.send(ASKING).queuing is False
    assert isinstance(waiting.send(True), Turn)
    assert waiting.send(QUEUING).queuing is True
    with pytest.raises(StopIteration):
        waiting.send(False)
    assert late.state == "refused"


def test_who_cannot_wait_is_refused_and_holds_nothing(site: Site) -> None:
    first = [site.attempt(account=f"user{n}") for n in range(5)]
    assert site.attempt().state == "refused"
    for attempt in first:
        site.succeed(attempt)
    assert site.counts()["account_failures"] == 0
    assert [site.attempt(account=f"user{n}").state for n in range(5)] == ["reserved"] * 5


def test_nobody_waits_for_one_slot_while_holding_another() -> None:
    rules = [
        Rule(name=subject, events="login_failed", subject=subject, threshold=n, window=60, action=Action.BLOCK)
        for subject, n in (("address", 2), ("pair", 1))
    ]
    site = Site(rules)
    site.attempt()
    late = site.detector.attempt(Observation(address="192.0.2.1", account="anna"))
    assert isinstance(site.until_pause(site.detector.reserve(late)), Pause)
    assert site.attempt(account="bert").state == "reserved"


# -- what a login forgives -----------------------------------------------------------------------------


def test_a_login_forgives_the_accounts_own_failures_from_its_address(site: Site) -> None:
    for _ in range(4):
        site.fail()
    site.log_in()
    assert set(site.counts().values()) == {0}


def test_a_login_never_forgives_another_accounts_failures(site: Site) -> None:
    for _ in range(3):
        site.fail(account="bert")
    site.log_in(account="anna")
    assert site.login_counts(account="bert") == {
        "brute_force": 3,
        "account_enumeration": 1,
        "distributed_attack": 1,
        "account_failures": 3,
    }


def test_a_login_never_forgives_failures_from_another_address(site: Site) -> None:
    site.fail("198.51.100.1")
    site.log_in("192.0.2.1")
    assert site.counts("198.51.100.1")["account_failures"] == 1


def test_one_valid_account_resets_no_attack(site: Site) -> None:
    states = []
    for n in range(8):
        attempt = site.attempt(account=f"victim{n}")
        states.append(attempt.state)
        if attempt.in_flight:
            site.run(site.detector.record(attempt))
        mine = site.attempt(account="attacker")
        if mine.in_flight:
            site.succeed(mine)
    assert states == ["reserved"] * 5 + ["refused"] * 3


def test_a_login_forgives_the_same_requests_attempt_under_another_name(site: Site) -> None:
    by_mail = site.attempt(account="anna@example.com")
    site.run(site.detector.record(by_mail))
    by_name = site.attempt(account="anna")
    site.succeed(by_name, earlier=[by_mail])
    assert set(site.counts(account="anna@example.com").values()) == {0}


def test_an_abandoned_attempt_limits_and_is_no_failure(site: Site) -> None:
    for n in range(5):
        site.execute(site.detector.abandon_ops(site.attempt(account=f"user{n}")))
    assert site.attempt().state == "refused"
    assert site.counts()["brute_force"] == 0


# -- refusing, and whom ---------------------------------------------------------------------------------


def limit(subject: str, threshold: int = 3, action: Any = "refuse", **more: Any) -> Rule:
    name = more.pop("name", f"{subject}_limit")
    return Rule(
        name=name, events="login_failed", subject=subject, threshold=threshold, window=900, action=action, **more
    )


@pytest.mark.parametrize("subject", ["address", "account", "pair"])
def test_a_rule_that_refuses_is_a_limit(subject: str) -> None:
    site = Site([limit(subject)])
    found = [site.fail() for _ in range(3)]
    assert [opened(each) for each in found] == [[], [], [f"{subject}_limit"]]
    assert site.attempt().state == "refused"


def test_a_rule_that_logs_is_none() -> None:
    site = Site([limit("account", action="log")])
    for _ in range(9):
        site.fail()
    assert site.attempt().state == "reserved"


def test_a_rule_that_locks_is_one_too() -> None:
    site = Site([limit("account", action="lock")])
    for address in addresses(3):
        site.fail(address)
    assert site.attempt("203.0.113.1").state == "refused"
    assert site.attempt("203.0.113.1", "bert").state == "reserved"


def test_limits_on_an_account_pass_a_client_that_they_may_not_refuse() -> None:
    site = Site([limit("account"), limit("address", 6)])
    for _ in range(5):
        site.fail(lockable=False)
    assert site.attempt().state == "refused"
    assert site.attempt(lockable=False).state == "reserved"
    assert site.fail(lockable=False).counts["address_limit"] == 6
    assert site.attempt(lockable=False).state == "refused"


def test_limits_on_an_account_refuse_an_address_that_limits_on_addresses_may_not() -> None:
    """Whose address nobody knows is refused by no limit on addresses; the account's holds all the same."""
    site = Site([limit("account"), limit("address", 2)])
    for _ in range(3):
        site.fail(enforce=False)
    assert site.attempt(enforce=False).state == "refused"


# -- devices ---------------------------------------------------------------------------------------------

PHONE, LAPTOP = "device of anna 1", "device of anna 2"


def test_a_device_is_counted_for_itself() -> None:
    site = Site([DEVICE_FAILURES])
    found = [site.fail(address, device=PHONE) for address in addresses(10)]
    assert [opened(each) for each in found] == [[]] * 9 + [["device_failures"]]
    assert found[-1].opened[0].subject == PHONE
    assert [site.attempt(device=device).state for device in (PHONE, LAPTOP)] == ["refused", "reserved"]


def test_who_shows_no_device_is_counted_for_none() -> None:
    site = Site([DEVICE_FAILURES])
    assert site.fail().counts == {}
    assert len(site.store) == 0


def test_a_known_device_is_let_in_where_strangers_are_locked_out() -> None:
    site = Site([limit("account", action="lock"), DEVICE_FAILURES])
    for address in addresses(5):
        site.fail(address)
    assert [site.attempt(device=device).state for device in ("", PHONE)] == ["refused", "reserved"]


def test_a_login_from_a_device_forgives_its_own_failures() -> None:
    site = Site([DEVICE_FAILURES])
    for _ in range(9):
        site.fail(device=PHONE)
    site.succeed(site.attempt(device=PHONE))
    assert site.fail(device=PHONE).counts == {"device_failures": 1}


# -- subjects of the project's own -----------------------------------------------------------------------


def test_a_subject_of_ones_own_is_counted_and_refused_for_itself() -> None:
    site = Site([limit("client")])
    one, other = {"client": "192.0.2.1 one browser"}, {"client": "192.0.2.1 another browser"}
    found = [site.fail(subjects=one) for _ in range(3)]
    assert found[-1].opened[0].subject == "192.0.2.1 one browser"
    assert [site.attempt(subjects=subjects).state for subjects in (one, other)] == ["refused", "reserved"]


@pytest.mark.parametrize("subjects", [{}, {"client": ""}, {"tenant": "shop"}])
def test_where_a_subject_of_ones_own_says_nobody_nothing_is_counted(subjects: dict[str, str]) -> None:
    site = Site([limit("client")])
    assert site.fail(subjects=subjects).counts == {}
    assert len(site.store) == 0


def test_a_subject_of_ones_own_is_refused_only_if_the_client_may_be() -> None:
    site = Site([limit("client")])
    for _ in range(5):
        site.fail(subjects={"client": "x"}, enforce=False)
    assert [site.attempt(subjects={"client": "x"}, enforce=may).state for may in (False, True)] == [
        *("reserved", "refused"),
    ]


def test_a_login_forgives_its_accounts_failures_of_a_subject_of_ones_own() -> None:
    site = Site([limit("client", 9)])
    mine = {"client": "192.0.2.1 browser"}
    for account in ("anna", "anna", "bert"):
        site.fail(account=account, subjects=mine)
    site.succeed(site.attempt(subjects=mine))
    assert site.fail(account="carl", subjects=mine).counts == {"client_limit": 2}


def test_subjects_of_different_names_share_no_counter() -> None:
    site = Site([limit("client"), limit("tenant"), limit("address")])
    same = {"client": "192.0.2.1", "tenant": "192.0.2.1"}
    keys = {target.key for target in site.attempt(subjects=same).targets}
    assert len(keys) == 3
    assert site.fail(subjects={"client": "192.0.2.1"}).counts == {"client_limit": 1, "address_limit": 1}


@pytest.mark.parametrize("distinct", ["account", "address", "user_agent"])
def test_different_values_may_be_counted_over_a_subject_of_ones_own(distinct: str) -> None:
    site = Site([limit("tenant", 9, distinct=distinct)])
    for number in (1, 2, 2, 3):
        found = site.fail(
            f"192.0.2.{number}", f"user{number}", fields={"user_agent": f"{number}"}, subjects={"tenant": "shop"}
        )
    assert found.counts == {"tenant_limit": 3}


# -- names of one user ---------------------------------------------------------------------------------


def test_two_names_of_one_user_count_as_one_after_a_login(site: Site) -> None:
    site.log_in(account="anna@example.com", link="anna")
    for n, address in enumerate(addresses(9)):
        site.fail(address, "anna" if n % 2 else "anna@example.com")
    assert opened(site.fail("203.0.113.1", "anna@example.com")) == ["distributed_attack"]
    assert site.counts(account="anna") == site.counts(account="anna@example.com")


def test_two_names_of_one_user_are_one_account_of_an_address(site: Site) -> None:
    site.log_in(account="anna@example.com", link="anna")
    site.fail(account="anna")
    assert site.fail(account="anna@example.com").counts["account_enumeration"] == 1


def test_another_process_learns_of_a_link_from_the_store(site: Site) -> None:
    site.log_in(account="anna@example.com", link="anna")
    other = Site()
    other.store = site.store
    site.fail(account="anna")
    assert other.fail(account="anna@example.com").counts["account_failures"] == 2
    assert other.detector.is_linked("anna@example.com")


def test_replies_that_come_late_follow_links_too(site: Site) -> None:
    attempt = site.attempt(account="anna@example.com")
    site.run(site.detector.reset(site.detector.records_of(Observation(account="anna@example.com"))))
    site.log_in("203.0.113.1", "anna@example.com", link="anna")
    replies = site.execute(site.detector.fail_ops(attempt))
    found = site.run(site.detector.recorded(attempt, replies))
    assert found.counts["account_failures"] == 1
    assert site.counts("203.0.113.1", "anna")["account_failures"] == 1


def test_a_name_under_attack_is_not_linked_so_that_a_login_hides_nothing(site: Site) -> None:
    for address in addresses(4):
        site.fail(address, "anna@example.com")
    site.log_in("203.0.113.1", "anna@example.com", link="anna")
    assert site.counts(account="anna@example.com")["distributed_attack"] == 4


def test_linking_an_account_to_itself_is_nothing(site: Site) -> None:
    site.log_in(account="anna", link="anna")
    assert not site.detector.is_linked("anna")
    assert site.fail(account="anna").counts["account_failures"] == 1


def test_a_reset_reaches_the_record_behind_a_link(site: Site) -> None:
    site.log_in(account="anna@example.com", link="anna")
    site.fail(account="anna")
    who = site.detector.attempt(Observation(account="anna@example.com"))
    site.run(site.detector.reset(who))
    assert site.counts()["account_failures"] == 0


# -- keys and streams ----------------------------------------------------------------------------------

OWN = [limit(subject) for subject in ("client", "device")]
HOSTILE = ["*", "{}", "{a}", ":", "a:b", "\n", "\0", "\ud800", "sg:u:x", "x" * 1_000_000]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_makes_an_ordinary_key(site: Site, name: str) -> None:
    for target in site.attempt(account=name).targets:
        assert target.key.startswith(b"sg:")
        assert len(target.key) <= 128
        assert all(0x21 <= byte <= 0x7E for byte in target.key)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_subject_of_ones_own_makes_an_ordinary_key(name: str) -> None:
    for target in Site(OWN).attempt(device=name, subjects={"client": name}).targets:
        assert target.key.startswith((b"sg:d:", b"sg:x:"))
        assert len(target.key) <= 128
        assert all(0x21 <= byte <= 0x7E for byte in target.key)


def test_hostile_names_share_no_counter(site: Site) -> None:
    for name in HOSTILE:
        site.fail(account=name, enforce=False)
    assert [site.counts(account=name)["account_failures"] for name in HOSTILE] == [1] * len(HOSTILE)


def test_another_key_makes_other_keys() -> None:
    keys = [
        Detector(DEFAULT_RULES, key=key).attempt(Observation(account="anna")).targets[0].key for key in (b"one", b"two")
    ]
    assert keys[0] != keys[1]


def test_no_built_in_event_shares_a_stream_with_another() -> None:
    fields = (
        "",
        "actor's partner",
        *SUBJECTS,
        "path",
        "user_agent",
        "method",
        "reason",
        "username",
        "email",
        "permission",
        "object",
    )
    detector = Detector(DEFAULT_RULES, key=b"key")
    streams = {detector._stream(event.value, part) for event, part in itertools.product(EventType, fields)}
    assert len(streams) == len(EventType) * len(fields)


def test_events_that_would_be_mixed_up_are_refused() -> None:
    # Two bytes stand for a kind of event: among enough names, two meet.
    names = [f"event_{n}" for n in range(2_000)]
    rules = [
        Rule(name=f"rule_{n}", events=name, subject="address", threshold=1, window=60) for n, name in enumerate(names)
    ]
    with pytest.raises(InvalidRule, match="share a stream code"):
        Detector(rules, key=b"key")


def test_only_events_of_some_rule_are_watched(site: Site) -> None:
    assert site.detector.watches("login_failed")
    assert not site.detector.watches("logout")
    assert site.detector.targets("logout", Observation(address="192.0.2.1")) == []


def test_a_rule_may_count_a_field_of_the_event() -> None:
    rule = Rule(
        name="scanner",
        events="permission_denied",
        subject="address",
        distinct="path",
        threshold=3,
        window=60,
    )
    site = Site([rule])
    found = []
    for path in ("/a", "/b", "/a", None, "/c"):
        who = Observation(address="192.0.2.1", fields={} if path is None else {"path": path})
        attempt = Attempt(who, site.detector.targets("permission_denied", who))
        found.append(site.run(site.detector.record(attempt)).counts["scanner"])
    assert found == [1, 2, 2, 2, 3]
