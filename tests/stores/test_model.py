"""Exact stores agree with a model that keeps a plain list of what happened and works everything out anew."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.detection import Detector, Rule
from secguard.detection.detector import Attempt, Observation, run
from secguard.stores.memory import MemoryStore
from secguard.stores.redis import RedisStore
from tests.stores.conftest import PATIENT
from tests.stores.drive import NOW

SECOND = 1_000
LEASE = 30
CAP = 4

RULES = (
    Rule(name="guesses", events="login_failed", subject="address", threshold=3, window=60, action="block"),
    Rule(
        name="names",
        events="login_failed",
        subject="address",
        distinct="account",
        threshold=2,
        window=120,
        action="block",
    ),
    Rule(name="failures", events="login_failed", subject="account", threshold=4, window=90),
    Rule(name="origins", events="login_failed", subject="account", distinct="address", threshold=2, window=45),
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
)
NETWORK = "192.0.2.0/24"
ADDRESSES = ("192.0.2.1", "192.0.2.1", "192.0.2.2")
ACCOUNTS = ("anna", "anna", "bert", "carl")


# -- the model -----------------------------------------------------------------------------------------


@dataclass
class Happened:
    """One attempt on one subject's list. ``partner``: the account on an address's list, and the reverse."""

    time: int
    state: str  # in flight, failed, unknown
    partner: str
    attempt: int


@dataclass
class Subject:
    rules: list[Rule]
    events: list[Happened] = field(default_factory=list)
    closes: dict[str, int] = field(default_factory=dict)
    successes: list[tuple[int, str]] = field(default_factory=list)

    def prune(self, now: int) -> None:
        longest = max(rule.window_ms for rule in self.rules)
        self.events = [event for event in self.events if now - event.time < longest]
        self.successes = [each for each in self.successes if now - each[0] < longest][-CAP:]
        self.closes = {name: closes for name, closes in self.closes.items() if now < closes}

    def add(self, event: Happened) -> None:
        self.events.append(event)
        self.events = self.events[-CAP:]

    def times(self, rule: Rule, events: list[Happened], now: int) -> list[int]:
        inside = [event for event in events if now - event.time < rule.window_ms]
        if rule.distinct is None:
            return sorted(event.time for event in inside)
        partners = {event.partner for event in inside}
        return sorted(max(event.time for event in inside if event.partner == each) for each in partners)

    def failed(self, rule: Rule, now: int, *more: Happened) -> int:
        events = [event for event in self.events if event.state == "failed"]
        return len(self.times(rule, [*events, *more], now))

    def holds(self, rule: Rule, now: int) -> bool:
        """What has to hold besides that the threshold is reached."""
        values, events = self.failed(rule, now), self.failed(replace(rule, distinct=None, max_per_value=None), now)
        successes = len({partner for _, partner in self.successes})
        few_each = rule.max_per_value is None or events <= rule.max_per_value * values
        rate = rule.max_success_rate
        return few_each and (rate is None or successes <= rate * (successes + events))

    def is_running(self, event: Happened, now: int) -> bool:
        return event.state == "in flight" and now - event.time < LEASE * SECOND


class Model:
    def __init__(self) -> None:
        self.subjects: dict[tuple[str, str], Subject] = {}
        self.confirmed: dict[str, int] = {}
        #: Attempts whose reservation told that their account had never failed.
        self.first: set[int] = set()

    def of(self, kind: str, name: str, now: int) -> Subject:
        rules = [rule for rule in RULES if rule.subject == kind]
        subject = self.subjects.setdefault((kind, name), Subject(rules))
        subject.prune(now)
        return subject

    def pair(self, address: str, account: str, now: int) -> list[tuple[Subject, str]]:
        return [(self.of("address", address, now), account), (self.of("account", account, now), address)]

    def reserve(self, number: int, address: str, account: str, now: int) -> dict[str, Any]:
        counts, open_, refused, waits, retry = {}, set(), False, False, 0
        for subject, partner in self.pair(address, account, now):
            trial = Happened(now, "failed", partner, number)
            for rule in subject.rules:
                counts[rule.name] = subject.failed(rule, now, trial)
                if rule.action == "block":
                    over = [each for each in subject.events if not subject.is_running(each, now)]
                    held = subject.times(rule, over, now)
                    if len(held) >= rule.threshold:
                        refused = True
                        # The limit has room when all but threshold - 1 have left.
                        leaver = held[-rule.threshold]
                        retry = max(retry, leaver + rule.window_ms - now)
                    elif len(subject.times(rule, subject.events, now)) >= rule.threshold:
                        waits = True
            open_ |= set(subject.closes)
        granted = not refused and not waits
        if counts["failures"] <= 1:
            self.first.add(number)
        if granted:
            for subject, partner in self.pair(address, account, now):
                # Where nothing is limited nothing is held, and only a failure is written.
                if any(rule.action == "block" for rule in subject.rules):
                    subject.add(Happened(now, "in flight", partner, number))
        state = "reserved" if granted else "refused"
        return {"state": state, "retry": -(-retry // SECOND), "counts": counts, "open": open_}

    def network(self, account: str, now: int) -> tuple[Subject, str]:
        return self.of("network", NETWORK, now), account

    def keep_open(self, subject: Subject, rule: Rule, now: int) -> bool:
        """Whether its threat opens. While it is open, it is looked at once in a tenth of its window."""
        was_open, confirmed = rule.name in subject.closes, self.confirmed.get(rule.name)
        if was_open and confirmed is not None and now - confirmed < rule.window_ms / 10:
            return False
        if not subject.holds(rule, now):
            return False
        self.confirmed[rule.name], subject.closes[rule.name] = now, now + rule.window_ms
        return not was_open

    def fail(self, number: int, address: str, account: str, now: int) -> dict[str, Any]:
        counts, open_, opened = {}, set(), set()
        for subject, partner in [*self.pair(address, account, now), self.network(account, now)]:
            mine = [event for event in subject.events if event.attempt == number]
            again = any(event.state == "failed" for event in mine)
            for event in mine:
                event.state = "failed"
            if not mine:
                subject.add(Happened(now, "failed", partner, number))
            for rule in subject.rules:
                counts[rule.name] = subject.failed(rule, now)
                if counts[rule.name] < rule.threshold:
                    continue
                if rule.is_conditional:
                    if self.keep_open(subject, rule, now):
                        opened.add(rule.name)
                elif not again:
                    if rule.name not in subject.closes:
                        opened.add(rule.name)
                    subject.closes[rule.name] = now + rule.window_ms
            open_ |= set(subject.closes)
        return {"counts": counts, "open": open_, "opened": opened}

    def succeed(self, number: int, address: str, account: str, now: int) -> None:
        network = self.network(account, now)
        network[0].successes.append((now, account))
        for subject, partner in [*self.pair(address, account, now), *([network] if number not in self.first else [])]:
            subject.events = [
                event
                for event in subject.events
                if event.attempt != number and (event.partner != partner or subject.is_running(event, now))
            ]

    def abandon(self, number: int, address: str, account: str, now: int) -> None:
        for subject, _ in self.pair(address, account, now):
            for event in subject.events:
                if event.attempt == number and event.state == "in flight":
                    event.state = "unknown"

    def read(self, address: str, account: str, now: int) -> dict[str, Any]:
        counts, open_ = {}, set()
        for subject, _ in [*self.pair(address, account, now), self.network(account, now)]:
            counts.update({rule.name: subject.failed(rule, now) for rule in subject.rules})
            open_ |= set(subject.closes)
        return {"counts": counts, "open": open_}

    def reset(self, address: str, account: str) -> None:
        self.subjects.pop(("address", address), None)
        self.subjects.pop(("account", account), None)
        self.subjects.pop(("network", NETWORK), None)


# -- the same, through the detector --------------------------------------------------------------------


def observation(address: str, account: str) -> Observation:
    return Observation(address=address, network=NETWORK, account=account)


class Real:
    """The detector over a store. Every run has a key of its own, hence records of its own."""

    runs = itertools.count()

    def __init__(self, store: Any) -> None:
        self.store, self.now = store, NOW
        key = b"run %d" % next(self.runs)
        self.detector = Detector(RULES, key=key, lease=LEASE, cap=CAP, clock=lambda: self.now / SECOND)
        self.attempts: list[Attempt] = []

    def begin(self, address: str, account: str) -> Attempt:
        self.attempts.append(self.detector.attempt(observation(address, account)))
        return self.attempts[-1]

    def run(self, procedure: Any, now: int) -> Any:
        self.now = now
        return run(procedure, lambda ops: self.store.execute(ops, now))

    def reserve(self, address: str, account: str, now: int) -> dict[str, Any]:
        attempt = self.begin(address, account)
        self.run(self.detector.reserve(attempt), now)
        found = attempt.findings
        return {
            "state": attempt.state,
            "retry": attempt.retry_after,
            "counts": found.counts,
            "open": found.open,
        }

    def fail(self, attempt: Attempt, now: int) -> dict[str, Any]:
        found = self.run(self.detector.record(attempt), now)
        opened = {threat.rule.name for threat in found.opened}
        return {"counts": found.counts, "open": found.open, "opened": opened}

    def read(self, address: str, account: str, now: int) -> dict[str, Any]:
        who = self.detector.attempt(observation(address, account))
        found = self.run(self.detector.read(who), now)
        return {"counts": found.counts, "open": found.open}


# -- what happens --------------------------------------------------------------------------------------

#: Mostly none, so that limits are reached; else the edges of leases and windows.
PAUSES = st.sampled_from([0] * 12 + [1, 500, 4_999, 14_999, 15_000, 29_999, 30_000, 30_001, 45_000, 59_999])
BEGIN = st.tuples(
    st.sampled_from(["reserve", "reserve", "reserve", "fail at once", "fail at once", "fail at once", "read"]),
    st.sampled_from(ADDRESSES),
    st.sampled_from(ACCOUNTS),
)
RESET = st.tuples(st.just("reset"), st.sampled_from(ADDRESSES), st.sampled_from(ACCOUNTS))
SETTLE = st.tuples(
    st.sampled_from(["fail", "fail", "succeed", "abandon"]), st.sampled_from([0, 0, 1, 1, 2, 3]), st.just("")
)
STEPS = st.lists(st.tuples(PAUSES, st.one_of(BEGIN, BEGIN, BEGIN, SETTLE, SETTLE, RESET)), min_size=30, max_size=50)


def compare(store: Any, steps: list[tuple[int, tuple[str, Any, str]]]) -> None:
    real, model, now = Real(store), Model(), NOW
    for pause, (action, first, account) in steps:
        now += pause
        number = len(real.attempts)
        if action == "reserve":
            expected = model.reserve(number, first, account, now)
            assert real.reserve(first, account, now) == expected
        elif action == "fail at once":
            expected = model.fail(number, first, account, now)
            assert real.fail(real.begin(first, account), now) == expected
        elif action == "reset":
            model.reset(first, account)
            who = real.detector.attempt(observation(first, account))
            real.run(real.detector.reset(who), now)
        elif action == "read":
            assert real.read(first, account, now) == model.read(first, account, now)
        else:
            settle(real, model, action, first, now)


def settle(real: Real, model: Model, action: str, back: int, now: int) -> None:
    """Whatever becomes of one of the latest attempts, if it was let in; it may become so twice."""
    number = len(real.attempts) - 1 - back
    if number < 0 or real.attempts[number].state == "refused":
        return
    attempt = real.attempts[number]
    whose = (attempt.observation.address, attempt.observation.account or "")
    if action == "fail":
        assert real.fail(attempt, now) == model.fail(number, *whose, now)
        return
    if action == "succeed":
        model.succeed(number, *whose, now)
        ops = [*real.detector.success_ops(attempt.observation), *real.detector.pass_ops(attempt)]
        real.store.execute(ops, now)
    else:
        model.abandon(number, *whose, now)
        real.store.execute(real.detector.abandon_ops(attempt), now)
    assert real.read(*whose, now) == model.read(*whose, now)


@pytest.fixture(scope="module")
def redis_store(redis_url: str) -> Iterator[RedisStore]:
    store = RedisStore(redis_url, timeout=PATIENT)
    yield store
    store.close()


@settings(max_examples=300, deadline=None)
@given(steps=STEPS)
def test_the_memory_store_agrees_with_the_model(steps: Any) -> None:
    compare(MemoryStore(), steps)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_redis_store_agrees_with_the_model(redis_store: RedisStore, steps: Any) -> None:
    compare(redis_store, steps)
