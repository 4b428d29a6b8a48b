"""From an open threat to a block, or to the reason why there is none."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from secguard.blocking.policy import BlockRequest, Suppressed, decide
from secguard.conf import Settings, parse
from secguard.detection import Action, Rule, Threat
from secguard.network import UNKNOWN, ClientAddress, ClientAddressResolver

BLOCKING = Rule(name="guesses", events="login_failed", subject="address", threshold=5, window=900, action=Action.BLOCK)


def settings_of(**raw: Any) -> Settings:
    settings, problems = parse(raw, {})
    assert settings is not None, problems
    return settings


def decided(
    rule: Rule = BLOCKING,
    *,
    address: str | ClientAddress = "203.0.113.7",
    subject: str = "203.0.113.7",
    active: int = 0,
    **raw: Any,
) -> BlockRequest | Suppressed | None:
    settings = settings_of(**raw)
    resolver = ClientAddressResolver(settings.trusted_proxies.networks, allowlist=settings.allowlist)
    found = resolver.address(address) if isinstance(address, str) else address
    assert found is not None
    return decide(Threat(rule, subject, 7), found, settings, active)


def test_a_threat_of_a_blocking_rule_blocks_its_address() -> None:
    request = decided()
    assert isinstance(request, BlockRequest)
    assert (request.network, request.rule, request.duration) == ("203.0.113.7", "guesses", 900)
    assert request.reason == "7 events of rule guesses"
    assert uuid.UUID(request.reference)


def test_every_block_has_a_reference_of_its_own() -> None:
    first, second = decided(), decided()
    assert isinstance(first, BlockRequest)
    assert isinstance(second, BlockRequest)
    assert first.reference != second.reference


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
def test_a_threat_of_a_logging_rule_blocks_nobody(mode: str) -> None:
    assert decided(replace(BLOCKING, action=Action.LOG), MODE=mode) is None


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


@pytest.mark.parametrize(("active", "blocked"), [(0, True), (2, True), (3, False), (1_000, False)])
def test_no_more_than_so_many_blocks_are_in_force(active: int, blocked: bool) -> None:
    found = decided(active=active, MAX_ACTIVE_BLOCKS=3)
    assert isinstance(found, BlockRequest) is blocked
    assert blocked or found == Suppressed("203.0.113.7", "guesses", "full")


def test_what_is_blocked_of_ipv6_is_the_64() -> None:
    request = decided(address="2001:db8::7", subject="2001:db8::/64")
    assert isinstance(request, BlockRequest)
    assert request.network == "2001:db8::/64"


def test_a_rule_of_networks_blocks_the_network() -> None:
    request = decided(replace(BLOCKING, subject="network"), subject="203.0.113.0/24")
    assert isinstance(request, BlockRequest)
    assert request.network == "203.0.113.0/24"


def test_a_rule_of_pairs_blocks_the_address() -> None:
    request = decided(replace(BLOCKING, subject="pair"), subject="203.0.113.7 anna")
    assert isinstance(request, BlockRequest)
    assert request.network == "203.0.113.7"


@pytest.mark.parametrize("duration", [60, 60.0, timedelta(minutes=1)])
def test_a_rules_own_duration_beats_the_setting(duration: float | timedelta) -> None:
    request = decided(replace(BLOCKING, block_duration=duration), BLOCK_DURATION=5)
    assert isinstance(request, BlockRequest)
    assert request.duration == 60.0


def test_the_setting_is_the_duration_of_all_other_blocks() -> None:
    request = decided(BLOCK_DURATION=timedelta(hours=1))
    assert isinstance(request, BlockRequest)
    assert request.duration == 3600
