"""The rules that secguard ships, and how a project changes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

from secguard.detection.rule import Action, Rule
from secguard.events import EventType, Severity
from secguard.exceptions import InvalidRule, shown

MINUTE = 60
_FAILED = EventType.LOGIN_FAILED.value

BRUTE_FORCE = Rule(
    name="brute_force",
    events=_FAILED,
    subject="address",
    threshold=5,
    window=15 * MINUTE,
    action=Action.BLOCK,
    technique="T1110.001",
)
DISTRIBUTED_ATTACK = Rule(
    name="distributed_attack",
    events=_FAILED,
    subject="account",
    distinct="address",
    threshold=10,
    window=30 * MINUTE,
    technique="T1110",
)
ACCOUNT_ENUMERATION = Rule(
    name="account_enumeration",
    events=(_FAILED, EventType.PASSWORD_RESET_REQUESTED.value, EventType.SIGNUP_REJECTED.value),
    subject="address",
    distinct="account",
    threshold=20,
    window=10 * MINUTE,
    action=Action.BLOCK,
    technique="T1110.003",
)
ACCOUNT_FAILURES = Rule(
    name="account_failures",
    events=_FAILED,
    subject="account",
    threshold=20,
    window=30 * MINUTE,
    severity=Severity.CRITICAL,
    technique="T1110.001",
)

PASSWORD_SPRAYING = Rule(
    name="password_spraying",
    events=_FAILED,
    subject="address",
    distinct="account",
    threshold=30,
    window=120 * MINUTE,
    max_per_value=2,
    action=Action.BLOCK,
    technique="T1110.003",
)
CREDENTIAL_STUFFING = Rule(
    name="credential_stuffing",
    events=_FAILED,
    subject="network",
    distinct="account",
    threshold=50,
    window=30 * MINUTE,
    max_per_value=2,
    max_success_rate=0.1,
    technique="T1110.004",
)
SECOND_FACTOR_GUESSING = Rule(
    name="second_factor_guessing",
    events=(EventType.TWO_FACTOR_FAILED.value, EventType.CODE_REJECTED.value),
    subject="actor",
    threshold=5,
    window=15 * MINUTE,
    action=Action.BLOCK,
    technique="T1110.001",
)
TOKEN_GUESSING = Rule(
    name="token_guessing",
    events=EventType.TOKEN_FORGED.value,
    subject="address",
    threshold=20,
    window=10 * MINUTE,
    action=Action.BLOCK,
    technique="T1110",
)
PERMISSION_PROBING = Rule(
    name="permission_probing",
    events=EventType.PERMISSION_DENIED.value,
    subject="actor",
    threshold=10,
    window=5 * MINUTE,
    technique="T1087",
)
OBJECT_PROBING = Rule(
    name="object_probing",
    events=EventType.PERMISSION_DENIED.value,
    subject="user",
    distinct="object",
    threshold=10,
    window=10 * MINUTE,
    technique="T1213",
)
SUCCESS_AFTER_ATTACK = Rule(
    name="success_after_attack",
    events=EventType.SUCCESS_AFTER_ATTACK.value,
    subject="account",
    threshold=1,
    window=30 * MINUTE,
    technique="T1078",
)

#: In force only where RULES names it: a site with broken links would block its readers.
FORCED_BROWSING = Rule(
    name="forced_browsing",
    events=EventType.NOT_FOUND.value,
    subject="address",
    distinct="path",
    threshold=30,
    window=5 * MINUTE,
    action=Action.BLOCK,
    technique="T1595.003",
)
#: Counted where ACCOUNT_LOCKOUT is "unknown_devices": guesses from a device that once was logged in to the account.
DEVICE_FAILURES = Rule(
    name="device_failures",
    events=_FAILED,
    subject="device",
    threshold=10,
    window=30 * MINUTE,
    action=Action.REFUSE,
    technique="T1110.001",
)
#: Counted where TRAP_PATHS names any.
TRAP = Rule(
    name="trap",
    events=EventType.TRAP_HIT.value,
    subject="address",
    threshold=1,
    window=15 * MINUTE,
    action=Action.BLOCK,
    technique="T1595.003",
)

#: Techniques are those of MITRE ATT&CK Enterprise.
DEFAULT_RULES: tuple[Rule, ...] = (
    BRUTE_FORCE,
    DISTRIBUTED_ATTACK,
    ACCOUNT_ENUMERATION,
    ACCOUNT_FAILURES,
    PASSWORD_SPRAYING,
    CREDENTIAL_STUFFING,
    SECOND_FACTOR_GUESSING,
    TOKEN_GUESSING,
    PERMISSION_PROBING,
    OBJECT_PROBING,
    SUCCESS_AFTER_ATTACK,
)
#: With those that are counted only where a setting asks for what they count.
ALL_RULES = (*DEFAULT_RULES, DEVICE_FAILURES, TRAP, FORCED_BROWSING)
#: Rules that RULES has to switch on.
OPT_IN = frozenset({FORCED_BROWSING.name})
_FIELDS = tuple(item.name for item in fields(Rule) if item.init and item.name != "name")


def with_overrides(overrides: Mapping[str, Any], base: tuple[Rule, ...] = DEFAULT_RULES) -> tuple[Rule, ...]:
    """``base`` with a project's changes applied.

    Per name: None switches a rule off, True switches one of ``OPT_IN`` on, a mapping changes its fields (or,
    under a new name, makes a new rule), a Rule replaces it. Raises InvalidRule, which names the rule and the field.
    """
    rules = {rule.name: rule for rule in base}
    for name, change in overrides.items():
        if change is None:
            if name not in rules:
                raise InvalidRule(f"rule {shown(name)} cannot be switched off: there is none. {_known(name, rules)}")
            del rules[name]
        elif change is not True or name not in rules:
            rules[name] = _changed(name, change, rules.get(name))
    return tuple(rules.values())


def _changed(name: str, change: object, rule: Rule | None) -> Rule:
    if isinstance(change, Rule):
        return change if change.name == name else replace(change, name=name)
    if not isinstance(change, Mapping):
        raise InvalidRule(f"rule {shown(name)} is {shown(change)}; give a dict of fields, a Rule, None, or True")
    for key in change:
        if key not in _FIELDS:
            raise InvalidRule(f"rule {shown(name)}: unknown field {shown(key)}. {_known(key, _FIELDS)}")
    if rule is not None:
        return replace(rule, **change)
    missing = [key for key in ("events", "subject", "threshold", "window") if key not in change]
    if missing:
        raise InvalidRule(f"rule {shown(name)} is new and lacks {', '.join(missing)}")
    return Rule(name=name, **change)


def _known(name: object, names: object) -> str:
    known = [str(each) for each in names]  # type: ignore[attr-defined]
    close = get_close_matches(name if isinstance(name, str) else shown(name), known, n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
