"""A replay finds what the live pipeline finds, and what a naive model finds."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.conf import get_settings
from secguard.context import get_resolver
from secguard.detection import DEFAULT_RULES, Rule
from secguard.replay.attempts import ADDRESS, AT, HAS_FAILED, Attempt, People, attempt
from secguard.replay.simulation import Simulation
from tests.replay import naive
from tests.replay.live import Live

START = 1_800_000_000_000_000
SECOND = 1_000_000

SMALL = (
    Rule(name="guesses", events="login_failed", subject="address", threshold=3, window=60, action="block"),
    Rule(name="names", events="login_failed", subject="address", distinct="account", threshold=2, window=45),
    Rule(name="failures", events="login_failed", subject="account", threshold=3, window=90),
    Rule(name="origins", events="login_failed", subject="account", distinct="address", threshold=2, window=45),
)
WEIGHED = (
    *SMALL,
    Rule(name="nets", events="login_failed", subject="network", threshold=4, window=60),
    Rule(name="both", events="login_failed", subject="pair", threshold=2, window=30),
    Rule(name="actors", events="login_failed", subject="actor", threshold=3, window=30),
    Rule(name="nets_per_user", events="login_failed", subject="account", distinct="network", threshold=2, window=70),
    Rule(name="logins", events="login_success", subject="account", threshold=3, window=60),
    Rule(name="any", events=("login_failed", "login_success"), subject="address", threshold=4, window=60),
    Rule(
        name="spread",
        events="login_failed",
        subject="network",
        distinct="account",
        threshold=2,
        window=60,
        max_per_value=1.5,
        max_success_rate=0.5,
    ),
    Rule(
        name="spray",
        events="login_failed",
        subject="address",
        distinct="account",
        threshold=2,
        window=90,
        max_per_value=2,
    ),
    Rule(name="success_after_attack", events="success_after_attack", subject="account", threshold=1, window=50),
)

ADDRESSES = ("192.0.2.1", "192.0.2.1", "192.0.2.2", "198.51.100.7", "2001:db8::1", "2001:db8::2", "")
ACCOUNTS = ("anna", "Anna", "bert", "carl", "")
PAUSES = st.sampled_from([0] * 8 + [1, 500, 4_999, 14_999, 15_000, 29_999, 30_000, 45_000, 59_999, 60_000, 200_000])
STEPS = st.lists(
    st.tuples(
        PAUSES, st.sampled_from([True, True, True, False]), st.sampled_from(ADDRESSES), st.sampled_from(ACCOUNTS)
    ),
    min_size=1,
    max_size=80,
)


def attempts_of(steps: list[tuple[int, bool, str, str]]) -> list[Attempt]:
    people, now, found = People(get_resolver()), START, []
    for pause, failed, address, account in steps:
        now += pause * 1_000
        found.append(attempt(now, failed, people.client(address), people.account(account)))
    return found


def simulate(rules: Any, attempts: list[Attempt], batch: int = 7) -> Simulation:
    simulation = Simulation(rules, get_settings())
    for at in range(0, len(attempts), batch):
        simulation.feed(attempts[at : at + batch])
    return simulation


def found(threats: Any) -> list[tuple[Any, ...]]:
    return sorted((each.rule, each.subject, each.opened_at, each.closes_at, each.peak) for each in threats)


def replayed(simulation: Simulation) -> list[tuple[Any, ...]]:
    threats = simulation.threats
    return sorted((each.rule.name, each.subject, each.opened_at, each.closes_at, each.peak) for each in threats)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_a_replay_agrees_with_a_naive_model(steps: Any) -> None:
    attempts = attempts_of(steps)
    assert replayed(simulate(SMALL, attempts)) == found(naive.threats(SMALL, attempts))


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_a_replay_agrees_with_the_live_detector(steps: Any) -> None:
    attempts = attempts_of(steps)
    live = Live(WEIGHED)
    live.feed(attempts)
    assert replayed(simulate(WEIGHED, attempts)) == found(live.threats)


class Enforced(Live):
    """A site with these rules: blocks of 20 seconds, which are raised again while the threat goes on."""

    def __init__(self, rules: Any) -> None:
        super().__init__(rules, refuses=True)
        self.blocks: list[tuple[str, str, int]] = []
        self.until: dict[str, int] = {}
        self.address = ""

    def one(self, given: Attempt) -> None:
        self.address, now = given[ADDRESS] or "", max(self.now, given[AT])
        if self.until.get(self.address, 0) > now:
            self.now = now
            self.refused.append((given[AT], given[HAS_FAILED]))
        else:
            super().one(given)

    def note(self, found: Any) -> None:
        super().note(found)
        for threat in [*found.opened, *found.continued]:
            is_new = threat in found.opened or self.until.get(self.address, 0) <= self.now
            if threat.rule.action == "block" and self.address and is_new:
                self.until[self.address] = self.now + 20 * SECOND
                self.blocks.append((self.address, threat.rule.name, self.now))


ACTING = (
    *WEIGHED,
    Rule(
        name="others",
        events="login_failed",
        subject="address",
        distinct="account",
        threshold=3,
        window=90,
        action="block",
    ),
    Rule(name="guarded", events="login_failed", subject="account", threshold=4, window=40, action="refuse"),
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_what_would_have_been_refused_is_what_a_site_refuses(steps: Any) -> None:
    attempts = attempts_of(steps)
    site = Enforced(ACTING)
    site.feed(attempts)
    with override_settings(SECGUARD={"BLOCK_DURATION": 20}):
        verdicts = simulate(ACTING, attempts).verdicts
    assert [(block.subject, block.rule, block.since) for block in verdicts.blocks] == site.blocks
    assert verdicts.refused_failures == sum(failed for _, failed in site.refused)
    assert [cost.at for cost in verdicts.costs] == [at for at, failed in site.refused if not failed]
    assert verdicts.refused_successes == len(verdicts.costs)


@settings(max_examples=50, deadline=None)
@given(steps=STEPS, batch=st.integers(1, 100))
def test_where_a_batch_ends_makes_no_difference(steps: Any, batch: int) -> None:
    attempts = attempts_of(steps)
    one, other = simulate(WEIGHED, attempts, batch), simulate(WEIGHED, attempts, 1)
    assert replayed(one) == replayed(other)
    assert one.verdicts == other.verdicts


@pytest.mark.parametrize("seed", [8, 9, 10, 12, 19, 23])
def test_long_logs_give_what_the_live_pipeline_gives(seed: int) -> None:
    """Windows that fill and empty, limits of what is kept, and successes in between."""
    dice, people, now = random.Random(seed), People(get_resolver()), START
    addresses, accounts = [(1, 60), (60, 200), (300, 3), (3, 400)][seed % 4]
    pace, share = dice.choice([200, 2_000, 20_000]), dice.choice([0.02, 0.1, 0.5])
    attempts = []
    for _ in range(1_500):
        now += dice.randrange(pace) * 1_000 if dice.random() < 0.997 else dice.choice([600, 1_800, 9_000]) * SECOND
        number, account = dice.randrange(addresses), int(dice.paretovariate(0.7)) % accounts
        client = people.client(f"10.{number % 2}.{number // 200}.{number % 200}")
        attempts.append(attempt(now, dice.random() > share, client, people.account(f"user{account}")))
    for rules in (DEFAULT_RULES, [replace(rule, threshold=3 * rule.threshold) for rule in SMALL]):
        live = Live(rules)
        live.feed(attempts)
        assert replayed(simulate(rules, attempts, batch=dice.choice([7, 100, 1_200]))) == found(live.threats)
