"""From an open threat to a block or a lock, or to the reason why there is none."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from secguard.blocking.policy import BlockRequest, LockRequest, Policy, Proposal, Suppressed
from secguard.blocking.replica import FOREVER, BlockEntry, Replica
from secguard.conf import Settings, parse
from secguard.detection import Action, Detector, Observation, Rule, Threat
from secguard.detection.catalogue import ACCOUNT_FAILURES, BRUTE_FORCE
from secguard.network import UNKNOWN, ClientAddress, ClientAddressResolver

BLOCKING = Rule(name="guesses", events="login_failed", subject="address", threshold=5, window=900, action=Action.BLOCK)
DAY = 86_400


def settings_of(**raw: Any) -> Settings:
    settings, problems = parse({"BLOCK_JITTER": 0, **raw}, {})
    assert settings is not None, problems
    return settings


def resolved(address: str | ClientAddress, settings: Settings) -> ClientAddress:
    resolver = ClientAddressResolver(settings.trusted_proxies.networks, allowlist=settings.allowlist)
    found = resolver.address(address) if isinstance(address, str) else address
    assert found is not None
    return found


def filled(networks: list[str]) -> Replica:
    """A replica in which rules have blocked these."""
    replica = Replica()
    for network in networks:
        replica.add(BlockEntry(network, str(uuid.uuid4()), FOREVER, automatic=True))
    return replica


def decided(
    rule: Rule = BLOCKING,
    *,
    address: str | ClientAddress = "203.0.113.7",
    subject: str = "203.0.113.7",
    blocked: list[str] | None = None,
    offences: int = 0,
    jitter: Callable[[], float] = lambda: 0.0,
    exempt: bool = False,
    **raw: Any,
) -> BlockRequest | LockRequest | Suppressed | None:
    settings = settings_of(**raw)
    policy = Policy(settings, filled(blocked or []), lambda network: offences, jitter)
    return policy.decide(Threat(rule, subject, 7), resolved(address, settings), exempt=exempt)


def block_of(*args: Any, **kwargs: Any) -> BlockRequest:
    found = decided(*args, **kwargs)
    assert isinstance(found, BlockRequest)
    return found


def test_a_threat_of_a_blocking_rule_blocks_its_address() -> None:
    request = block_of()
    assert (request.network, request.rule, request.duration) == ("203.0.113.7", "guesses", 900)
    assert request.reason == "7 events of rule guesses"
    assert str(uuid.UUID(request.reference)) == request.reference


def test_every_block_has_a_reference_of_its_own() -> None:
    assert block_of().reference != block_of().reference


@pytest.mark.parametrize("action", [Action.LOG, Action.REFUSE])
@pytest.mark.parametrize("mode", ["enforce", "monitor"])
def test_a_threat_of_a_rule_that_logs_or_refuses_blocks_nobody(mode: str, action: Action) -> None:
    assert decided(replace(BLOCKING, action=action), MODE=mode) is None


def test_when_off_nothing_follows_from_a_threat() -> None:
    assert decided(MODE="off") is None


def test_in_monitor_mode_it_is_said_what_would_have_been_blocked() -> None:
    assert decided(MODE="monitor") == Suppressed("203.0.113.7", "guesses", "monitor")


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
def test_an_allowlisted_address_is_never_blocked(mode: str) -> None:
    assert decided(MODE=mode, ALLOWLIST=["203.0.113.0/24"]) == Suppressed("203.0.113.7", "guesses", "allowlist")


def test_a_trusted_proxy_is_never_blocked() -> None:
    assert decided(TRUSTED_PROXIES=["203.0.113.7"]) == Suppressed("203.0.113.7", "guesses", "trusted_proxy")


def test_an_unknown_address_is_never_blocked() -> None:
    assert decided(address=UNKNOWN, subject="") == Suppressed("", "guesses", "unknown_address")


def test_whom_the_project_exempts_is_never_blocked() -> None:
    assert decided(exempt=True) == Suppressed("203.0.113.7", "guesses", "exempt")


def test_what_is_blocked_of_ipv6_is_the_64() -> None:
    assert block_of(address="2001:db8::7", subject="2001:db8::/64").network == "2001:db8::/64"


def test_a_rule_of_networks_blocks_the_network() -> None:
    assert block_of(replace(BLOCKING, subject="network"), subject="203.0.113.0/24").network == "203.0.113.0/24"


@pytest.mark.parametrize("subject", ["pair", "client_of_our_own"])
def test_rules_over_part_of_an_address_block_the_address(subject: str) -> None:
    assert block_of(replace(BLOCKING, subject=subject), subject="203.0.113.7 anna").network == "203.0.113.7"


# -- how long --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offences", "seconds"), [(0, 900), (1, 3_600), (2, DAY), (3, 7 * DAY), (4, 7 * DAY), (99, 7 * DAY)]
)
def test_blocks_last_longer_with_each_offence(offences: int, seconds: float) -> None:
    request = block_of(offences=offences)
    assert (request.duration, request.offence) == (seconds, offences + 1)


@pytest.mark.parametrize("offences", [0, 5])
def test_one_duration_in_the_settings_is_that_of_every_offence(offences: int) -> None:
    assert block_of(offences=offences, BLOCK_DURATION=timedelta(hours=1)).duration == 3600


@pytest.mark.parametrize("duration", [60, 60.0, timedelta(minutes=1), [60], (60, 120)])
def test_a_rules_own_duration_beats_the_setting(duration: Any) -> None:
    assert block_of(replace(BLOCKING, block_duration=duration), BLOCK_DURATION=5).duration == 60.0


def test_a_rule_may_have_a_ladder_of_its_own() -> None:
    rule = replace(BLOCKING, block_duration=[10, timedelta(minutes=1)])
    assert [block_of(rule, offences=number).duration for number in range(3)] == [10, 60, 60]


def test_a_function_says_how_long() -> None:
    def doubled(offence: int, threat: Threat) -> float:
        return float(30 * 2**offence + threat.count)

    rule = replace(BLOCKING, block_duration=doubled)
    assert [block_of(rule, offences=number).duration for number in range(3)] == [67, 127, 247]
    assert block_of(BLOCK_DURATION=doubled).duration == 67


@pytest.mark.parametrize("answer", [None, "long", 0, -5, float("inf"), float("nan"), 10**12])
def test_a_function_that_fails_makes_a_quarter_of_an_hour(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert block_of(BLOCK_DURATION=lambda offence, threat: answer).duration == 900
    assert "'guesses' failed" in caplog.text


@pytest.mark.parametrize(("at", "seconds"), [(-1.0, 810), (0.0, 900), (0.5, 945), (1.0, 990)])
def test_durations_are_spread(at: float, seconds: float) -> None:
    assert block_of(jitter=lambda: at, BLOCK_JITTER=0.1).duration == pytest.approx(seconds)


def test_durations_differ_by_default_and_stay_within_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    policy = Policy(settings_of(BLOCK_JITTER=0.1), Replica())
    seconds = [policy.duration(Threat(BRUTE_FORCE, "203.0.113.7", 5), 1) for _ in range(200)]
    assert len(set(seconds)) > 50
    assert 810 <= min(seconds) < 900 < max(seconds) <= 990


# -- networks --------------------------------------------------------------------------------------------


def neighbours(number: int, network: str = "203.0.113") -> list[str]:
    return [f"{network}.{host}" for host in range(10, 10 + number)]


def widened(address: str, blocked: list[str], **raw: Any) -> BlockRequest | Proposal | None:
    settings = settings_of(**raw)
    policy = Policy(settings, filled(blocked), jitter=lambda: 0.0)
    return policy.widen(Threat(BLOCKING, address, 5), resolved(address, settings))


@pytest.mark.parametrize(("number", "found"), [(7, None), (8, Proposal("203.0.113.0/24", 8))])
def test_eight_blocked_neighbours_make_a_proposal(number: int, found: Proposal | None) -> None:
    assert widened("203.0.113.10", neighbours(number)) == found


def test_neighbours_elsewhere_do_not_count() -> None:
    assert widened("203.0.113.10", [*neighbours(7), *neighbours(7, "203.0.112"), "2001:db8::/64"]) is None


def test_an_ipv4_network_is_blocked_if_the_setting_says_so() -> None:
    request = widened("203.0.113.10", neighbours(3), NETWORK_THRESHOLD=3, NETWORK_ACTION_IPV4="block")
    assert isinstance(request, BlockRequest)
    assert (request.network, request.rule) == ("203.0.113.0/24", "blocked_neighbours")
    assert request.reason == "3 of its addresses are blocked"


@pytest.mark.parametrize(
    ("blocked", "network"),
    [
        ([f"2001:db8:0:{number:x}::/64" for number in range(8)], "2001:db8::/56"),
        ([f"2001:db8:0:{number:x}00::/64" for number in range(8)], "2001:db8::/48"),
        ([f"2001:db8:0:{number:x}::/64" for number in range(15)], "2001:db8::/56"),
        ([f"2001:db8:0:{number:x}::/64" for number in (*range(8), *range(256, 264))], "2001:db8::/48"),
    ],
    ids=["of one /56", "of one /48", "more of one /56", "of another /56 too"],
)
def test_an_ipv6_network_is_blocked_by_default_as_narrow_as_it_can_be(blocked: list[str], network: str) -> None:
    request = widened("2001:db8::1", blocked)
    assert isinstance(request, BlockRequest)
    assert request.network == network


def test_a_network_is_left_alone_if_the_setting_says_so() -> None:
    off = {"NETWORK_ACTION_IPV4": "off", "NETWORK_ACTION_IPV6": "off"}
    assert widened("203.0.113.10", neighbours(20), **off) is None


def test_in_monitor_mode_no_network_is_meant() -> None:
    assert widened("203.0.113.10", neighbours(20), MODE="monitor") is None


@pytest.mark.parametrize(("blocked", "full"), [(neighbours(2), False), (neighbours(3), True), (neighbours(9), True)])
def test_no_more_than_so_many_blocks_are_in_force(blocked: list[str], full: bool) -> None:
    found = decided(blocked=blocked, MAX_ACTIVE_BLOCKS=3)
    assert (found == Suppressed("203.0.113.7", "guesses", "full")) is full
    assert full or isinstance(found, BlockRequest)


def test_beyond_the_most_an_address_is_raised_to_its_network() -> None:
    blocked = [f"2001:db8:0:{number:x}::/64" for number in range(3)]
    request = block_of(address="2001:db8:0:99::1", subject="2001:db8:0:99::/64", blocked=blocked, MAX_ACTIVE_BLOCKS=3)
    assert (request.network, request.rule) == ("2001:db8::/48", "blocked_neighbours")


def test_beyond_the_most_a_stranger_has_no_network_to_be_raised_to() -> None:
    found = decided(
        address="2001:db8:ffff::1", subject="2001:db8:ffff::/64", blocked=neighbours(3), MAX_ACTIVE_BLOCKS=3
    )
    assert found == Suppressed("2001:db8:ffff::/64", "guesses", "full")


# -- accounts --------------------------------------------------------------------------------------------


def account_threat(lockout: str, **raw: Any) -> tuple[Policy, Threat]:
    settings = settings_of(ACCOUNT_LOCKOUT=lockout, **raw)
    detector = Detector(settings.rules, key=b"secret")
    target = detector.records_of(Observation(account="anna")).targets[0]
    rule = next(rule for rule in settings.rules if rule.name == "account_failures")
    return Policy(settings, Replica()), Threat(rule, "anna", 20, target.key)


@pytest.mark.parametrize("lockout", ["unknown_devices", "all"])
def test_a_threat_on_an_account_locks_it(lockout: str) -> None:
    policy, threat = account_threat(lockout)
    request = policy.decide(threat, UNKNOWN)
    assert isinstance(request, LockRequest)
    assert (request.account, request.scope, request.duration) == ("anna", lockout, 1800)
    assert request.digest == Detector(policy._settings.rules, key=b"secret").digest("account", "anna").hex()
    assert request.reason == "20 events of rule account_failures"


def test_without_a_lockout_a_threat_on_an_account_is_only_logged() -> None:
    policy, threat = account_threat("off")
    assert threat.rule.action is Action.LOG
    assert policy.decide(threat, UNKNOWN) is None


def test_in_monitor_mode_it_is_said_which_account_would_have_been_locked() -> None:
    policy, threat = account_threat("all", MODE="monitor")
    assert policy.decide(threat, UNKNOWN) == Suppressed("anna", ACCOUNT_FAILURES.name, "monitor")
