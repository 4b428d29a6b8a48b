"""Rules as they are changed on the command line: ``brute_force.threshold=3``, ``trap=off``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from secguard.detection import Rule, with_overrides
from secguard.detection.catalogue import ALL_RULES
from secguard.exceptions import InvalidRule

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_NOTHING = ("none", "")


def changed(rules: tuple[Rule, ...], changes: Iterable[str]) -> tuple[Rule, ...]:
    """The rules with these changes, each ``NAME.FIELD=VALUE``, ``NAME=off`` or ``NAME=on``.

    ``on``: one of the catalogue that is not in force. Raises InvalidRule, which names the rule and the field.
    """
    fields: dict[str, Any] = {}
    for change in changes:
        target, equals, value = change.partition("=")
        name, dot, field = target.strip().partition(".")
        if not equals or not name:
            raise InvalidRule(f"{change!r} is no change of a rule: write NAME.FIELD=VALUE, or NAME=off")
        if dot:
            mine = fields.get(name)
            fields[name] = {**(mine if isinstance(mine, dict) else {}), field: _value(name, field, value.strip())}
        elif value.strip().lower() in ("off", "on"):
            fields[name] = None if value.strip().lower() == "off" else True
        else:
            raise InvalidRule(
                f"rule {name!r} is {value!r:.80}; make it off or on, or change a field: {name}.threshold=3"
            )
    return with_overrides(fields, _with_known(rules, fields))


def _with_known(rules: tuple[Rule, ...], wanted: Iterable[str]) -> tuple[Rule, ...]:
    """Rules that are named are taken from the catalogue, where they are not in force."""
    names = {rule.name for rule in rules}
    return (*rules, *(rule for rule in ALL_RULES if rule.name in set(wanted) - names))


def _value(rule: str, field: str, text: str) -> object:
    """As the field has it. What is wrong with it, the rule itself says."""
    if field == "threshold":
        return _number(text, int)
    if field in ("max_per_value", "max_success_rate"):
        return None if text.lower() in _NOTHING else _number(text, float)
    if field == "window":
        return _seconds(text)
    if field == "block_duration":
        parts = [_seconds(part) for part in text.split(",")]
        return None if text.lower() in _NOTHING else parts[0] if len(parts) == 1 else parts
    if field == "events":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if field == "distinct":
        return None if text.lower() in _NOTHING else text
    return text


def _number(text: str, kind: type[int] | type[float]) -> object:
    try:
        return kind(text)
    except ValueError:
        return text


def _seconds(text: str) -> object:
    """``900``, ``15m``, ``2h``."""
    unit = _UNITS.get(text.strip()[-1:].lower())
    number = _number(text.strip()[:-1] if unit else text, float)
    if not isinstance(number, float) or not math.isfinite(number):
        return text
    seconds = number * (unit or 1)
    return int(seconds) if seconds == int(seconds) else seconds
