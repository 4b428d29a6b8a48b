"""A rule that contradicts itself is refused by name of the field; a catalogue can be changed rule by rule."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from secguard.detection import DEFAULT_RULES, Action, Rule, Threat, with_overrides
from secguard.detection.catalogue import ALL_RULES
from secguard.detection.rule import CONSEQUENCES, SUBJECTS
from secguard.events import EventType, Severity
from secguard.exceptions import InvalidRule

GOOD: dict[str, Any] = {
    "name": "mine",
    "events": "login_failed",
    "subject": "address",
    "threshold": 5,
    "window": 60,
}
WEEK = 7 * 24 * 3600
TEN_YEARS = 3650 * 24 * 3600


def doubled(offence: int, threat: Threat) -> float:
    return 900.0 * (1 << offence)


async def awaited(offence: int, threat: Threat) -> float:
    return 900.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "two words"),
        ("name", "x" * 65),
        ("name", "naïve"),
        ("name", None),
        ("events", ()),
        ("events", ""),
        ("events", None),
        ("events", "Not A Type"),
        ("events", ("login_failed", "a:b")),
        ("events", (1,)),
        ("subject", "own planet"),
        ("subject", "x" * 65),
        ("subject", 5),
        ("subject", ""),
        ("subject", None),
        ("threshold", 0),
        ("threshold", -1),
        ("threshold", True),
        ("threshold", "5"),
        ("threshold", 5.0),
        ("threshold", 1_001),
        ("threshold", None),
        ("window", 0),
        ("window", -60),
        ("window", 0.5),
        ("window", True),
        ("window", "60"),
        ("window", None),
        ("window", float("nan")),
        ("window", float("inf")),
        ("window", WEEK + 1),
        ("window", timedelta(days=8)),
        ("window", timedelta(0)),
        ("distinct", 5),
        ("distinct", "not a field"),
        ("distinct", "address"),
        ("distinct", "actor"),
        ("severity", "catastrophic"),
        ("severity", None),
        ("action", "explode"),
        ("action", None),
        ("block_duration", 0),
        ("block_duration", -1),
        ("block_duration", True),
        ("block_duration", "900"),
        ("block_duration", float("inf")),
        ("block_duration", ()),
        ("block_duration", [900, 0]),
        ("block_duration", [900, "3600"]),
        ("block_duration", [900, None]),
        ("block_duration", {900, 3600}),
        ("block_duration", TEN_YEARS + 1),
        ("block_duration", [60, TEN_YEARS + 1]),
        ("block_duration", "myproject.durations.of"),
        ("technique", None),
        ("technique", ["T1110"]),
        ("technique", "T1110\n"),
        ("technique", "x" * 65),
        ("block_duration", awaited),
    ],
)
def test_a_bad_field_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidRule, match=field):
        Rule(**{**GOOD, field: value})


@pytest.mark.parametrize("subject", ["account", "user", "device"])
def test_only_an_address_can_be_blocked(subject: str) -> None:
    with pytest.raises(InvalidRule, match="action 'block' needs an address"):
        Rule(**{**GOOD, "subject": subject, "action": "block"})


@pytest.mark.parametrize("subject", ["address", "network", "pair", "actor", "client_of_our_own"])
def test_what_stands_for_an_address_can_be_blocked(subject: str) -> None:
    assert Rule(**{**GOOD, "subject": subject, "action": "block"}).action is Action.BLOCK


@pytest.mark.parametrize("subject", [*SUBJECTS, "client_of_our_own"])
def test_only_an_account_can_be_locked(subject: str) -> None:
    if subject == "account":
        assert Rule(**{**GOOD, "subject": subject, "action": "lock"}).action is Action.LOCK
        return
    with pytest.raises(InvalidRule, match="action 'lock' locks an account"):
        Rule(**{**GOOD, "subject": subject, "action": "lock"})


@pytest.mark.parametrize("subject", ["address", "account", "pair", "network", "device", "client_of_our_own"])
def test_whoever_tries_to_log_in_can_be_refused(subject: str) -> None:
    assert Rule(**{**GOOD, "subject": subject, "action": "refuse"}).action is Action.REFUSE


def test_nobody_is_refused_as_a_user_before_anybody_knows_who_it_is() -> None:
    with pytest.raises(InvalidRule, match="before anybody knows the user"):
        Rule(**{**GOOD, "subject": "user", "action": "refuse"})
    with pytest.raises(InvalidRule, match="before anybody knows the user"):
        Rule(**{**GOOD, "subject": "actor", "action": "refuse"})


@pytest.mark.parametrize("events", ["permission_denied", ("trap_hit", "coupon_failed")])
def test_a_rule_that_refuses_counts_logins(events: Any) -> None:
    with pytest.raises(InvalidRule, match="action 'refuse' refuses logins, but events lacks 'login_failed'"):
        Rule(**{**GOOD, "events": events, "action": "refuse"})
    with_logins = Rule(**{**GOOD, "events": ("permission_denied", "login_failed"), "action": "refuse"})
    assert with_logins.action is Action.REFUSE


@pytest.mark.parametrize("event_type", sorted(CONSEQUENCES))
def test_what_follows_from_rules_is_counted_by_none(event_type: str) -> None:
    with pytest.raises(InvalidRule, match=r"events: .* follows from rules and is counted by none"):
        Rule(**{**GOOD, "events": event_type})


def test_a_rule_names_itself_when_it_is_refused() -> None:
    with pytest.raises(InvalidRule, match="'mine'"):
        Rule(**{**GOOD, "threshold": 0})


def test_the_edges_of_every_range_are_allowed() -> None:
    for threshold in (1, 1_000):
        assert Rule(**{**GOOD, "threshold": threshold}).threshold == threshold
    for window in (1, WEEK, timedelta(days=7)):
        assert Rule(**{**GOOD, "window": window}).window_ms in (1_000, WEEK * 1_000)


def test_durations_may_be_numbers_or_timedeltas() -> None:
    one, other = Rule(**{**GOOD, "window": 90.5}), Rule(**{**GOOD, "window": timedelta(seconds=90.5)})
    assert one == other
    assert one.window_ms == 90_500


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, None),
        (60, 60),
        (timedelta(minutes=1), 60),
        ([60], (60,)),
        ([900, timedelta(hours=1)], (900, 3_600)),
        ((1, TEN_YEARS), (1, TEN_YEARS)),
        (doubled, doubled),
    ],
    ids=str,
)
def test_a_block_may_last_the_same_always_or_longer_each_time(given: Any, kept: Any) -> None:
    assert Rule(**{**GOOD, "block_duration": given}).block_duration == kept


def test_events_may_be_one_type_or_several() -> None:
    assert Rule(**GOOD).events == ("login_failed",)
    several = Rule(**{**GOOD, "events": [EventType.LOGIN_FAILED, "my_own", "login_failed"]})
    assert several.events == ("login_failed", "my_own")


def test_severity_and_action_may_be_names() -> None:
    rule = Rule(**{**GOOD, "severity": "warning", "action": "block"})
    assert (rule.severity, rule.action) == (Severity.WARNING, Action.BLOCK)


# -- the catalogue -------------------------------------------------------------------------------------


def by_name(rules: tuple[Rule, ...]) -> dict[str, Rule]:
    return {rule.name: rule for rule in rules}


def test_the_default_rules_are_as_documented() -> None:
    found = {
        rule.name: (rule.subject, rule.distinct, rule.threshold, rule.window, rule.action.value)
        for rule in DEFAULT_RULES
    }
    assert found == {
        "brute_force": ("address", None, 5, 900, "block"),
        "distributed_attack": ("account", "address", 10, 1_800, "log"),
        "account_enumeration": ("address", "account", 20, 600, "block"),
        "account_failures": ("account", None, 20, 1_800, "log"),
        "password_spraying": ("address", "account", 30, 7_200, "block"),
        "credential_stuffing": ("network", "account", 50, 1_800, "log"),
        "second_factor_guessing": ("actor", None, 5, 900, "block"),
        "token_guessing": ("address", None, 20, 600, "block"),
        "permission_probing": ("actor", None, 10, 300, "log"),
        "object_probing": ("user", "object", 10, 600, "log"),
        "success_after_attack": ("account", None, 1, 1_800, "log"),
    }


def test_the_rules_that_settings_ask_for_are_as_documented() -> None:
    found = {
        rule.name: (rule.events, rule.subject, rule.threshold, rule.window, rule.action.value)
        for rule in ALL_RULES
        if rule not in DEFAULT_RULES
    }
    assert found == {
        "device_failures": (("login_failed",), "device", 10, 1_800, "refuse"),
        "trap": (("trap_hit",), "address", 1, 900, "block"),
        "forced_browsing": (("not_found",), "address", 30, 300, "block"),
    }


def test_without_overrides_the_catalogue_is_as_it_was() -> None:
    assert with_overrides({}) == DEFAULT_RULES


def test_an_override_changes_the_fields_it_names() -> None:
    rules = by_name(with_overrides({"brute_force": {"threshold": 3}}))
    assert rules["brute_force"].threshold == 3
    assert rules["brute_force"].window == 900
    assert list(rules) == [rule.name for rule in DEFAULT_RULES]


def test_none_switches_a_rule_off() -> None:
    assert "brute_force" not in by_name(with_overrides({"brute_force": None}))


def test_a_new_name_makes_a_new_rule() -> None:
    new = {key: value for key, value in GOOD.items() if key != "name"}
    assert by_name(with_overrides({"mine": new}))["mine"] == Rule(**GOOD)


def test_a_rule_replaces_and_takes_the_name_it_is_given_under() -> None:
    rules = by_name(with_overrides({"brute_force": Rule(**GOOD), "mine": Rule(**GOOD)}))
    assert rules["brute_force"].threshold == rules["mine"].threshold == 5
    assert rules["brute_force"].name == "brute_force"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"brute_force": {"treshold": 3}},
            "'brute_force': unknown field 'treshold'. Did you mean 'threshold'",
        ),
        ({"brute_force": {"name": "other"}}, "unknown field 'name'"),
        ({"brute_force": {"window_ms": 3}}, "unknown field 'window_ms'"),
        ({"brute_force": {"threshold": True}}, "threshold"),
        ({"brute_force": 5}, "give a dict of fields"),
        ({"brute_fierce": None}, "Did you mean 'brute_force'"),
        ({"quite_different": None}, "there is none. Known: "),
        ({"mine": {"threshold": 3}}, "lacks events, subject, window"),
        ({5: {"threshold": 3}}, "5"),
        ({"two words": {k: v for k, v in GOOD.items() if k != "name"}}, "name"),
    ],
)
def test_a_bad_override_is_refused_by_name(overrides: dict[Any, Any], message: str) -> None:
    with pytest.raises(InvalidRule, match=message):
        with_overrides(overrides)


# -- conditions ------------------------------------------------------------------------------------------


def conditional(**changes: Any) -> Rule:
    fields = {"events": "login_failed", "subject": "network", "distinct": "account", "threshold": 5, "window": 60}
    return Rule(**{"name": "stuffing", **fields, **changes})


def test_a_rule_may_weigh_events_by_values_and_failures_by_successes() -> None:
    rule = conditional(max_per_value=1.5, max_success_rate=0.1)
    assert rule.is_conditional
    assert not conditional().is_conditional


@pytest.mark.parametrize("changes", [{"max_per_value": 1}, {"max_per_value": 1_000}])
@pytest.mark.parametrize("rate", [None, 0, 1])
def test_the_edges_of_both_conditions_are_allowed(changes: dict[str, Any], rate: Any) -> None:
    assert conditional(**changes, max_success_rate=rate).is_conditional


@pytest.mark.parametrize("subject", [*SUBJECTS, "client_of_our_own"])
def test_a_rate_of_successes_may_be_asked_of_every_kind_of_subject(subject: str) -> None:
    assert conditional(subject=subject, distinct=None, max_success_rate=0.1).is_conditional


@pytest.mark.parametrize("value", [0, 0.9, -1, True, "2", float("nan"), float("inf"), 1_001])
def test_a_wrong_number_of_events_by_value_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRule, match=r"rule 'stuffing': max_per_value"):
        conditional(max_per_value=value)


@pytest.mark.parametrize("value", [-0.1, 1.1, True, "0.1", float("nan"), float("inf")])
def test_a_wrong_rate_of_successes_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRule, match=r"rule 'stuffing': max_success_rate"):
        conditional(max_success_rate=value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_per_value": 2, "distinct": None}, "needs distinct"),
        ({"max_success_rate": 0.1, "events": "permission_denied"}, "events lacks 'login_failed'"),
        ({"max_per_value": 2, "action": "refuse"}, "goes by the number alone"),
    ],
)
def test_a_condition_that_contradicts_the_rule_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRule, match=said):
        conditional(**changes)
