"""Single promises of a replay: when a threat opens and closes, what is forgotten, what is kept in memory."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from secguard.conf import get_settings
from secguard.context import get_resolver
from secguard.detection import DEFAULT_RULES, Rule
from secguard.detection.rule import Action
from secguard.replay.attempts import Attempt, People, attempt
from secguard.replay.ordering import merged
from secguard.replay.readers import Notes, Reading, Times, attempts_of
from secguard.replay.simulation import Simulation
from tests.replay import naive
from tests.replay.live import Live

START = 1_800_000_000_000_000
SECOND = 1_000_000
HOST, OTHER = "192.0.2.1", "198.51.100.9"
BRUTE_FORCE = Rule(name="brute_force", events="login_failed", subject="address", threshold=3, window=60, action="block")


def at(seconds: float, *, failed: bool = True, address: str = HOST, account: str = "anna") -> Attempt:
    people = People(get_resolver())
    moment = START + round(seconds * SECOND)
    return attempt(moment, failed, people.client(address), people.account(account))


def success(seconds: float, **who: str) -> Attempt:
    return at(seconds, failed=False, **who)


def after(*attempts: Attempt, rules: Any = (BRUTE_FORCE,)) -> Simulation:
    simulation = Simulation(rules, get_settings())
    simulation.feed(attempts)
    return simulation


def spans(simulation: Simulation) -> list[tuple[float, float, int]]:
    """When threats opened and closed, in seconds, and their peaks."""
    return [
        ((each.opened_at - START) / SECOND, (each.closes_at - START) / SECOND, each.peak) for each in simulation.threats
    ]


def test_a_threat_opens_at_the_threshold_and_closes_a_window_after_the_last_event_at_it() -> None:
    assert spans(after(at(0), at(1), at(2), at(30))) == [(2, 90, 4)]


def test_an_event_exactly_a_window_old_is_outside() -> None:
    assert spans(after(at(0), at(1), at(60))) == []
    assert spans(after(at(0), at(1), at(59.999999))) == [(59.999999, 119.999999, 3)]


def test_a_threat_that_has_closed_opens_anew() -> None:
    assert spans(after(at(0), at(1), at(2), at(62), at(63), at(64))) == [(2, 62, 3), (64, 124, 3)]


def test_a_success_forgets_the_failures_of_its_account_from_its_address_alone() -> None:
    assert spans(after(at(0), at(1), success(2), at(3))) == []
    assert spans(after(at(0), at(1), success(2, account="bert"), at(3))) == [(3, 63, 3)]
    assert spans(after(at(0), at(1), success(2, address=OTHER), at(3))) == [(3, 63, 3)]


def test_a_late_attempt_counts_at_the_time_of_those_before_it() -> None:
    simulation = after(at(0), at(100), at(50), at(99))
    assert spans(simulation) == [(100, 160, 3)]
    assert simulation.counting.late == 2


def test_what_happens_while_a_block_is_in_force_would_have_been_refused() -> None:
    failures = [at(second) for second in range(5)]
    simulation = after(*failures, success(10), success(20, account="bert"), success(30, address=OTHER))
    (block,) = simulation.verdicts.blocks
    assert (block.subject, block.offence, block.refused_failures, block.refused_successes) == (HOST, 1, 2, 2)
    assert [(cost.address, cost.account) for cost in simulation.verdicts.costs] == [(HOST, "anna"), (HOST, "bert")]


def test_blocks_climb_the_ladder_without_a_spread() -> None:
    with override_settings(SECGUARD={"BLOCK_DURATION": [100, 1_000], "BLOCK_JITTER": 0.5}):
        first, second = [at(second) for second in (0, 1, 2)], [at(second) for second in (200, 201, 202)]
        blocks = after(*first, *second).verdicts.blocks
    assert [(block.offence, (block.until - block.since) // SECOND) for block in blocks] == [(1, 100), (2, 1_000)]


def test_whom_the_settings_never_refuse_would_not_have_been_refused() -> None:
    with override_settings(SECGUARD={"ALLOWLIST": ["192.0.2.0/24"], "MODE": "monitor"}):
        verdicts = after(*[at(second) for second in range(9)]).verdicts
    assert (verdicts.blocks, verdicts.refused_failures) == ([], 0)
    assert verdicts.suppressed


def test_a_site_that_only_monitors_is_told_what_it_would_have_blocked() -> None:
    with override_settings(SECGUARD={"MODE": "monitor"}):
        assert len(after(at(0), at(1), at(2)).verdicts.blocks) == 1


def test_a_lock_would_have_refused_everybody_at_the_account() -> None:
    rule = replace(BRUTE_FORCE, name="account_failures", subject="account", action=Action.LOCK)
    with override_settings(SECGUARD={"ACCOUNT_LOCKOUT": "all", "LOCK_DURATION": 600}):
        simulation = after(at(0), at(1), at(2), success(3, address=OTHER), success(700), rules=[rule])
    (lock,) = simulation.verdicts.locks
    assert (lock.subject, lock.refused_successes) == ("anna", 1)


def test_a_success_under_attack_is_a_threat_as_in_the_site() -> None:
    found = after(at(0), at(1), at(2), success(3), rules=[BRUTE_FORCE, DEFAULT_RULES[-1]]).threats
    assert [(each.rule.name, each.subject) for each in found][1:] == [("success_after_attack", "anna")]


def test_addresses_are_canonical_and_an_ipv6_one_is_its_64() -> None:
    found = after(*[at(second, address=f"2001:DB8::{second + 1}") for second in range(3)]).threats
    assert [each.subject for each in found] == ["2001:db8::/64"]


def test_an_attack_beyond_the_cap_is_counted_as_the_live_detector_does() -> None:
    rules = [rule for rule in DEFAULT_RULES if rule.name in ("account_enumeration", "brute_force")]
    dice, now, attempts = random.Random(1), 0, []
    for _ in range(1_300):
        now += dice.randrange(400)
        account = f"user{dice.randrange(400)}"
        attempts.append(at(now / 1_000, failed=dice.random() < 0.98, account=account))
    live = Live(rules)
    live.feed(attempts)
    expected = sorted((each.rule, each.subject, each.opened_at, each.closes_at, each.peak) for each in live.threats)
    found = after(*attempts, rules=rules).threats
    assert (
        sorted((each.rule.name, each.subject, each.opened_at, each.closes_at, each.peak) for each in found) == expected
    )
    assert max(each.peak for each in found) == 1_000


def test_what_is_forgotten_before_it_was_judged_is_not_missed() -> None:
    rule = replace(BRUTE_FORCE, distinct="account", threshold=3)
    simulation = Simulation([rule], get_settings())
    attack = [("anna", HOST), ("bert", HOST), ("carl", HOST)]
    # A threat; then failures too few to be looked at, which have left the window when others come by.
    for start, who in ((0, attack), (100, [("dora", HOST)]), (200, [("emil", HOST)]), (300, [("fred", OTHER)])):
        simulation.feed([at(start + each, account=name, address=host) for each, (name, host) in enumerate(who)])
    simulation.feed([at(400 + number, account=name) for number, (name, _) in enumerate(attack)])
    assert [(each.opened_at - START) // SECOND for each in simulation.threats] == [2, 402]


def test_memory_is_bounded_by_the_windows_and_not_by_the_log() -> None:
    simulation, people = Simulation(DEFAULT_RULES, get_settings()), People(get_resolver())
    held = []
    for hour in range(24 * 6):
        now = START + hour * 3_600 * SECOND
        simulation.feed(
            [
                attempt(
                    now + each * SECOND,
                    each % 2 == 0,
                    people.client(f"10.{hour}.{each // 250}.{each % 250}"),
                    people.account(f"{hour}-{each}"),
                )
                for each in range(3_000)
            ]
        )
        courses = simulation.counting._courses.all
        held.append(sum(len(course.held) + len(course.passed) for course in courses))
    # Of 900,000 records and successes only those of the last hours, and what was not looked through yet.
    assert max(held) < 40_000


@pytest.mark.skipif("SECGUARD_LOGS" not in os.environ, reason="SECGUARD_LOGS names no directory of logs")
def test_real_logs_give_what_the_models_give() -> None:
    simple = [rule for rule in DEFAULT_RULES if not rule.is_conditional and rule.subject in ("address", "account")]
    counted = [rule for rule in simple if "login_failed" in rule.events]
    for path in sorted(Path(os.environ["SECGUARD_LOGS"]).glob("*.log")) + sorted(
        Path(os.environ["SECGUARD_LOGS"]).glob("*.jsonl")
    ):
        reading = Reading(People(get_resolver()), Times(), Notes())
        log = attempts_of(str(path), reading, "auto", lambda lines, share: None)
        attempts = [each for batch in merged([log]) for each in batch]
        live = Live(DEFAULT_RULES)
        live.feed(attempts)
        for rules, expected in ((counted, naive.threats(counted, attempts)), (DEFAULT_RULES, live.threats)):
            found = after(*attempts, rules=rules).threats
            assert sorted(
                (each.rule.name, each.subject, each.opened_at, each.closes_at, each.peak) for each in found
            ) == sorted((each.rule, each.subject, each.opened_at, each.closes_at, each.peak) for each in expected), path
