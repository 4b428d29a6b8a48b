"""A detection rule is data: what to count, over whom, for how long, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from inspect import iscoroutinefunction
from typing import TypeAlias

from secguard.events import EventType, Severity, spec_of
from secguard.exceptions import InvalidRule, shown

#: Entries of one kind that a subject's record holds; counts saturate there.
RECORD_CAP = 1_000
#: The longest window, in seconds: a record lives that long in the store.
MAX_WINDOW = 7 * 24 * 3600
#: The longest block by rule, in seconds: ten years. For good is what an operator decides.
MAX_BLOCK = 3650 * 24 * 3600
#: Events that follow from rules. To count them would let a block extend itself.
CONSEQUENCES = frozenset(
    {
        EventType.ATTEMPT_REFUSED,
        EventType.REQUEST_BLOCKED,
        EventType.ADDRESS_BLOCKED,
        EventType.ADDRESS_UNBLOCKED,
        EventType.BLOCK_SUPPRESSED,
        EventType.NETWORK_PROPOSED,
        EventType.NETWORK_ALLOWED,
        EventType.NETWORK_DISALLOWED,
        EventType.COUNTERS_RESET,
        EventType.LIST_IMPORTED,
        EventType.CONSECUTIVE_FAILURES_EXCEEDED,
        EventType.UNLOCK_MAIL_SENT,
        EventType.DATA_ERASED,
        EventType.DATA_EXPORTED,
        EventType.CLIENT_ADDRESS_UNKNOWN,
        EventType.MODE_OVERRIDDEN,
        EventType.DEGRADED,
        EventType.RECOVERED,
    }
)
SUBJECTS = ("address", "account", "pair", "network", "user", "device", "actor")
#: Subjects that stand for a client address, so that there is something to block.
BLOCKABLE_SUBJECTS = ("address", "pair", "network", "actor")


class Action(str, Enum):
    """What follows when a rule opens a threat. A threat is always logged and signalled.

    ``refuse``: attempts at or above the threshold are refused, and nobody is blocked. ``block``: that, and the
    address is blocked. ``lock``: that, and the account is locked, as SECGUARD["ACCOUNT_LOCKOUT"] says.
    """

    LOG = "log"
    REFUSE = "refuse"
    BLOCK = "block"
    LOCK = "lock"

    def __str__(self) -> str:
        return str(self.value)


Duration: TypeAlias = "int | float | timedelta"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Opens a threat when ``threshold`` events of ``events`` fall on one subject within ``window``.

    ``events``: one event type or several. ``subject``: whom to count, one of ``SUBJECTS`` or of the project's own
    in SECGUARD["SUBJECTS"].
    ``distinct``: count different values of this field (``account``, ``address``, ``network``, ``user``,
    ``path``, ``user_agent`` or a key of the event's context) instead of events. ``window``: seconds or timedelta.
    ``block_duration``: the same, or one for each further offence in a list, or a callable (offence, threat) →
    seconds, whose first offence is 1. ``technique``: an ATT&CK technique for the log.
    ``max_per_value``: the threat opens only while there are on average at most so many events for each distinct
    value. ``max_success_rate``: only while at most this share (0 to 1) of the subject's logins succeed; where
    ``distinct`` is the account (of a rule over accounts: the address), each of them that got in counts once. A rule
    with either of them limits no attempts: it opens threats, and its action follows.

    Raises InvalidRule, which names the field.
    """

    name: str
    events: tuple[str, ...] | str
    subject: str
    threshold: int
    window: int | float | timedelta
    distinct: str | None = None
    severity: Severity = Severity.CRITICAL
    action: Action = Action.LOG
    block_duration: Duration | Sequence[Duration] | Callable[..., float] | None = None
    technique: str = ""
    max_per_value: float | None = None
    max_success_rate: float | None = None
    window_ms: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        settle = object.__setattr__
        settle(self, "name", self._name())
        settle(self, "events", self._event_types())
        settle(self, "window", self._seconds("window", self.window, MAX_WINDOW))
        settle(self, "window_ms", int(self._seconds("window", self.window, MAX_WINDOW) * 1000))
        settle(self, "block_duration", self._durations())
        settle(self, "severity", self._member("severity", Severity, self.severity))
        settle(self, "action", self._member("action", Action, self.action))
        self._check_technique()
        self._check_threshold()
        self._check_subject()
        self._check_conditions()

    @property
    def is_conditional(self) -> bool:
        """Does the number alone not open a threat?"""
        return self.max_per_value is not None or self.max_success_rate is not None

    def _fail(self, what: str) -> InvalidRule:
        return InvalidRule(f"rule {self.name!r}: {what}")

    def _name(self) -> str:
        if not isinstance(self.name, str) or not self.name.isidentifier() or len(self.name) > 64:
            raise InvalidRule(f"rule name {shown(self.name)} must be an identifier of at most 64 characters")
        if not self.name.isascii():
            raise InvalidRule(f"rule name {shown(self.name)} must be ASCII: it is written into log lines and keys")
        return self.name

    def _event_types(self) -> tuple[str, ...]:
        events: object = self.events
        if events is not None and not isinstance(events, Iterable):
            raise self._fail(f"events is {shown(events)}; name an event type, or several in a list")
        given: Sequence[str] = (self.events,) if isinstance(self.events, str) else tuple(self.events or ())
        if not given:
            raise self._fail("events is empty; name at least one event type")
        for event_type in given:
            try:
                spec_of(event_type)
            except (ValueError, TypeError) as error:
                raise self._fail(f"events: {error}") from None
            if event_type in CONSEQUENCES:
                raise self._fail(f"events: {str(event_type)!r} follows from rules and is counted by none")
        return tuple(dict.fromkeys(str(event_type) for event_type in given))

    def _durations(self) -> object:
        given = self.block_duration
        if iscoroutinefunction(given):
            raise self._fail("block_duration is a coroutine function; give a plain one, since nobody awaits it")
        if given is None or callable(given):
            return given
        if isinstance(given, (list, tuple)):
            if not given:
                raise self._fail("block_duration is empty; give at least one duration")
            return tuple(self._seconds("block_duration", each, MAX_BLOCK) for each in given)
        return self._seconds("block_duration", given, MAX_BLOCK)

    def _seconds(self, name: str, value: object, most: int | None) -> float:
        seconds = value.total_seconds() if isinstance(value, timedelta) else value
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise self._fail(f"{name} is {shown(value)}; give seconds as a number, or a timedelta")
        if not seconds >= 1 or seconds == float("inf"):
            raise self._fail(f"{name} is {shown(seconds)} s; it must be at least 1 second")
        if most is not None and seconds > most:
            raise self._fail(f"{name} is {shown(seconds)} s; the most is {most} s ({most // 86_400} days)")
        return seconds

    def _member(self, name: str, kind: type[Severity] | type[Action], value: object) -> Severity | Action:
        try:
            return kind(value)
        except (ValueError, RecursionError):  # the enumeration, too, shows the value: lists nested without end
            choices = ", ".join(repr(member.value) for member in kind)
            raise self._fail(f"{name} is {shown(value)}; use one of {choices}") from None

    def _check_technique(self) -> None:
        technique = self.technique
        if not isinstance(technique, str) or not technique.isprintable() or len(technique) > 64:
            raise self._fail(f"technique is {shown(technique)}; give a text such as 'T1110.001', at most 64 characters")

    def _check_threshold(self) -> None:
        threshold = self.threshold
        if isinstance(threshold, bool) or not isinstance(threshold, int):
            raise self._fail(f"threshold is {shown(threshold)}; give a whole number")
        if not 1 <= threshold <= RECORD_CAP:
            raise self._fail(
                f"threshold is {shown(threshold)}; it must be from 1 to {RECORD_CAP}, where counts saturate"
            )

    def _check_subject(self) -> None:
        # A name that is none of ours may be the project's own: the settings know.
        if not isinstance(self.subject, str) or not self.subject.isidentifier() or len(self.subject) > 64:
            raise self._fail(f"subject is {shown(self.subject)}; use one of {', '.join(SUBJECTS)}, or your own")
        if self.distinct is not None and not (isinstance(self.distinct, str) and self.distinct.isidentifier()):
            raise self._fail(f"distinct is {shown(self.distinct)}; name a field such as 'account' or 'address'")
        if self.distinct == self.subject:
            raise self._fail(f"distinct and subject are both {self.subject!r}: there would never be more than one")
        if self.distinct == "actor":
            raise self._fail("distinct is 'actor', which is a user or an address; name one of the two")
        if self.action is Action.BLOCK and self.subject in SUBJECTS and self.subject not in BLOCKABLE_SUBJECTS:
            raise self._fail(
                f"action 'block' needs an address to block, but subject is {self.subject!r}; "
                f"use action 'log', or one of the subjects {', '.join(BLOCKABLE_SUBJECTS)}"
            )
        if self.action is Action.LOCK and self.subject != "account":
            raise self._fail(
                f"action 'lock' locks an account, but subject is {self.subject!r}; use 'refuse' or 'block'"
            )
        if self.action is Action.REFUSE and self.subject in ("user", "actor"):
            raise self._fail("action 'refuse' acts before anybody knows the user; use the subject 'account'")
        if self.action is Action.REFUSE and EventType.LOGIN_FAILED not in self.events:
            raise self._fail("action 'refuse' refuses logins, but events lacks 'login_failed'; use 'log' or 'block'")

    def _check_conditions(self) -> None:
        if self.max_per_value is not None:
            self._check_number("max_per_value", self.max_per_value, 1, RECORD_CAP)
            if self.distinct is None:
                raise self._fail("max_per_value needs distinct: name the field whose values are counted")
        if self.max_success_rate is not None:
            self._check_number("max_success_rate", self.max_success_rate, 0, 1)
            if EventType.LOGIN_FAILED not in self.events:
                raise self._fail("max_success_rate compares with successful logins, but events lacks 'login_failed'")
        if self.is_conditional and self.action is Action.REFUSE:
            raise self._fail("action 'refuse' goes by the number alone; leave out max_per_value and max_success_rate")

    def _check_number(self, name: str, value: object, least: float, most: float) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise self._fail(f"{name} is {shown(value)}; give a number from {least:g} to {most:g}")
