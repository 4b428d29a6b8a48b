"""The vocabulary: what can happen, how grave it is, and what other standards call it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple


class _Text(str, Enum):
    """A string enumeration whose members print as their value on every Python (StrEnum is 3.11)."""

    def __str__(self) -> str:
        return str(self.value)


class Category(_Text):
    """What an event is about."""

    AUTHENTICATION = "authentication"
    AUTHORIZATION = "authorization"
    ACCOUNT = "account"
    DATA_ACCESS = "data_access"
    THREAT = "threat"
    SYSTEM = "system"


class Severity(_Text):
    """How grave an event is; the order of the members is the order of gravity."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def level(self) -> int:
        """The level of the standard library's logging."""
        return _LEVELS[self]


_LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
    Severity.CRITICAL: logging.CRITICAL,
}


class EventType(_Text):
    """Every event that secguard itself knows. Projects may log further types of their own."""

    LOGIN_SUCCESS = "login_success"
    LOGIN_FAILED = "login_failed"
    LOGOUT = "logout"
    ATTEMPT_REFUSED = "attempt_refused"
    ACCOUNT_LOCKED = "account_locked"
    ACCOUNT_UNLOCKED = "account_unlocked"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - the name of an event
    TWO_FACTOR_ENABLED = "2fa_enabled"
    TWO_FACTOR_DISABLED = "2fa_disabled"
    TWO_FACTOR_DEVICE_ADDED = "2fa_device_added"
    TWO_FACTOR_DEVICE_REMOVED = "2fa_device_removed"
    TWO_FACTOR_RESET = "2fa_reset"
    TWO_FACTOR_SUCCESS = "2fa_success"
    TWO_FACTOR_FAILED = "2fa_failed"
    CODE_REJECTED = "code_rejected"
    PASSWORD_DISABLED = "password_disabled"  # noqa: S105 - the name of an event
    PASSWORD_RESET_REQUESTED = "password_reset_requested"  # noqa: S105 - the name of an event
    SIGNUP_REJECTED = "signup_rejected"
    EMAIL_CHANGED = "email_changed"
    EMAIL_ADDED = "email_added"
    EMAIL_REMOVED = "email_removed"
    USER_CREATED = "user_created"
    USER_DEACTIVATED = "user_deactivated"
    USER_REACTIVATED = "user_reactivated"
    USER_DELETED = "user_deleted"
    PRIVILEGES_CHANGED = "privileges_changed"
    PERMISSION_DENIED = "permission_denied"
    AUTHENTICATION_REQUIRED = "authentication_required"
    CSRF_FAILED = "csrf_failed"
    TOKEN_REFRESHED = "token_refreshed"  # noqa: S105 - the name of an event
    TOKEN_FORGED = "token_forged"  # noqa: S105 - the name of an event
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - the name of an event
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - the name of an event
    TOKEN_REJECTED = "token_rejected"  # noqa: S105 - the name of an event
    DATA_ACCESS = "data_access"
    RATE_LIMIT_EXCEEDED = "excess_rate_limit_exceeded"
    SUSPICIOUS_OPERATION = "suspicious_operation"
    DISALLOWED_HOST = "disallowed_host"
    NOT_FOUND = "not_found"
    SUCCESS_AFTER_ATTACK = "success_after_attack"
    SUSPICIOUS_ACTIVITY = "suspicious_activity"
    REQUEST_BLOCKED = "request_blocked"
    ADDRESS_BLOCKED = "address_blocked"
    ADDRESS_UNBLOCKED = "address_unblocked"
    BLOCK_SUPPRESSED = "block_suppressed"
    TRAP_HIT = "trap_hit"
    NETWORK_PROPOSED = "network_proposed"
    NETWORK_ALLOWED = "network_allowed"
    NETWORK_DISALLOWED = "network_disallowed"
    COUNTERS_RESET = "counters_reset"
    LIST_IMPORTED = "list_imported"
    CONSECUTIVE_FAILURES_EXCEEDED = "consecutive_failures_exceeded"
    UNLOCK_MAIL_SENT = "unlock_mail_sent"
    DATA_ERASED = "data_erased"
    DATA_EXPORTED = "data_exported"
    CLIENT_ADDRESS_UNKNOWN = "client_address_unknown"
    MODE_OVERRIDDEN = "mode_overridden"
    DEGRADED = "degraded"
    RECOVERED = "recovered"
    EVENTS_NOT_RECORDED = "events_not_recorded"
    ALERT_NOT_DELIVERED = "alert_not_delivered"


class EventSpec(NamedTuple):
    """One row of the vocabulary. The log level follows from the severity."""

    category: Category
    severity: Severity
    owasp: str


_A, _Z, _C = Category.AUTHENTICATION, Category.AUTHORIZATION, Category.ACCOUNT
_D, _T, _S = Category.DATA_ACCESS, Category.THREAT, Category.SYSTEM
_INFO, _WARNING, _ERROR, _CRITICAL = Severity

#: Terms of the OWASP Logging Vocabulary Cheat Sheet; a type without an exact term takes the nearest.
VOCABULARY: Mapping[str, EventSpec] = {
    EventType.LOGIN_SUCCESS: EventSpec(_A, _INFO, "authn_login_success"),
    EventType.LOGIN_FAILED: EventSpec(_A, _WARNING, "authn_login_fail"),
    EventType.LOGOUT: EventSpec(_A, _INFO, "session_expired"),
    EventType.ATTEMPT_REFUSED: EventSpec(_A, _WARNING, "authn_login_fail_max"),
    EventType.ACCOUNT_LOCKED: EventSpec(_C, _ERROR, "authn_login_lock"),
    EventType.ACCOUNT_UNLOCKED: EventSpec(_C, _INFO, "user_updated"),
    EventType.PASSWORD_CHANGED: EventSpec(_C, _INFO, "authn_password_change"),
    EventType.TWO_FACTOR_ENABLED: EventSpec(_C, _INFO, "user_updated"),
    EventType.TWO_FACTOR_DISABLED: EventSpec(_C, _WARNING, "user_updated"),
    EventType.TWO_FACTOR_DEVICE_ADDED: EventSpec(_C, _INFO, "user_updated"),
    EventType.TWO_FACTOR_DEVICE_REMOVED: EventSpec(_C, _INFO, "user_updated"),
    EventType.TWO_FACTOR_RESET: EventSpec(_C, _WARNING, "user_updated"),
    EventType.TWO_FACTOR_SUCCESS: EventSpec(_A, _INFO, "authn_login_success"),
    EventType.TWO_FACTOR_FAILED: EventSpec(_A, _WARNING, "authn_login_fail"),
    EventType.CODE_REJECTED: EventSpec(_A, _WARNING, "authn_login_fail"),
    EventType.PASSWORD_DISABLED: EventSpec(_C, _WARNING, "authn_password_change"),
    EventType.PASSWORD_RESET_REQUESTED: EventSpec(_C, _INFO, "authn_password_change"),
    EventType.SIGNUP_REJECTED: EventSpec(_C, _INFO, "input_validation_fail"),
    EventType.EMAIL_CHANGED: EventSpec(_C, _INFO, "user_updated"),
    EventType.EMAIL_ADDED: EventSpec(_C, _INFO, "user_updated"),
    EventType.EMAIL_REMOVED: EventSpec(_C, _INFO, "user_updated"),
    EventType.USER_CREATED: EventSpec(_C, _INFO, "user_created"),
    EventType.USER_DEACTIVATED: EventSpec(_C, _WARNING, "user_archived"),
    EventType.USER_REACTIVATED: EventSpec(_C, _INFO, "user_updated"),
    EventType.USER_DELETED: EventSpec(_C, _WARNING, "user_deleted"),
    EventType.PRIVILEGES_CHANGED: EventSpec(_Z, _WARNING, "privilege_permissions_changed"),
    EventType.PERMISSION_DENIED: EventSpec(_Z, _WARNING, "authz_fail"),
    EventType.AUTHENTICATION_REQUIRED: EventSpec(_Z, _INFO, "authz_fail"),
    EventType.CSRF_FAILED: EventSpec(_Z, _WARNING, "malicious_cors"),
    EventType.TOKEN_REFRESHED: EventSpec(_A, _INFO, "session_renewed"),
    EventType.TOKEN_FORGED: EventSpec(_A, _WARNING, "authn_login_fail"),
    EventType.TOKEN_EXPIRED: EventSpec(_A, _INFO, "session_use_after_expire"),
    EventType.TOKEN_REVOKED: EventSpec(_A, _WARNING, "authn_token_reuse"),
    EventType.TOKEN_REJECTED: EventSpec(_A, _WARNING, "authn_login_fail"),
    EventType.DATA_ACCESS: EventSpec(_D, _INFO, "sensitive_read"),
    EventType.RATE_LIMIT_EXCEEDED: EventSpec(_T, _WARNING, "excess_rate_limit_exceeded"),
    EventType.SUSPICIOUS_OPERATION: EventSpec(_T, _WARNING, "malicious_extraneous"),
    EventType.DISALLOWED_HOST: EventSpec(_T, _WARNING, "malicious_extraneous"),
    EventType.NOT_FOUND: EventSpec(_T, _INFO, "malicious_excess_404"),
    EventType.SUCCESS_AFTER_ATTACK: EventSpec(_T, _CRITICAL, "authn_login_successafterfail"),
    EventType.SUSPICIOUS_ACTIVITY: EventSpec(_T, _CRITICAL, "malicious_extraneous"),
    EventType.REQUEST_BLOCKED: EventSpec(_T, _WARNING, "authn_login_lock"),
    EventType.ADDRESS_BLOCKED: EventSpec(_T, _ERROR, "authn_login_lock"),
    EventType.ADDRESS_UNBLOCKED: EventSpec(_T, _INFO, "authz_admin"),
    EventType.BLOCK_SUPPRESSED: EventSpec(_T, _WARNING, "authn_login_fail_max"),
    EventType.TRAP_HIT: EventSpec(_T, _WARNING, "malicious_attack_tool"),
    EventType.NETWORK_PROPOSED: EventSpec(_T, _ERROR, "malicious_extraneous"),
    EventType.NETWORK_ALLOWED: EventSpec(_T, _INFO, "authz_admin"),
    EventType.NETWORK_DISALLOWED: EventSpec(_T, _INFO, "authz_admin"),
    EventType.COUNTERS_RESET: EventSpec(_T, _INFO, "authz_admin"),
    EventType.LIST_IMPORTED: EventSpec(_T, _INFO, "authz_admin"),
    EventType.CONSECUTIVE_FAILURES_EXCEEDED: EventSpec(_C, _CRITICAL, "authn_login_fail_max"),
    EventType.UNLOCK_MAIL_SENT: EventSpec(_C, _INFO, "user_updated"),
    EventType.DATA_ERASED: EventSpec(_S, _WARNING, "sensitive_delete"),
    EventType.DATA_EXPORTED: EventSpec(_S, _WARNING, "sensitive_read"),
    EventType.CLIENT_ADDRESS_UNKNOWN: EventSpec(_S, _WARNING, "sys_monitor_disabled"),
    EventType.MODE_OVERRIDDEN: EventSpec(_S, _WARNING, "sys_monitor_disabled"),
    EventType.DEGRADED: EventSpec(_S, _ERROR, "sys_monitor_disabled"),
    EventType.RECOVERED: EventSpec(_S, _INFO, "sys_monitor_enabled"),
    EventType.EVENTS_NOT_RECORDED: EventSpec(_S, _WARNING, "sys_monitor_disabled"),
    EventType.ALERT_NOT_DELIVERED: EventSpec(_S, _ERROR, "sys_monitor_disabled"),
}

#: Threats that somebody else noticed: nothing of the guard rests on them.
_NOTICED = {
    EventType.RATE_LIMIT_EXCEEDED,
    EventType.SUSPICIOUS_OPERATION,
    EventType.DISALLOWED_HOST,
    EventType.NOT_FOUND,
}
_DECIDED = {
    EventType.LOGIN_FAILED,
    EventType.LOGIN_SUCCESS,
    EventType.ATTEMPT_REFUSED,
    EventType.ACCOUNT_LOCKED,
    EventType.ACCOUNT_UNLOCKED,
    EventType.CONSECUTIVE_FAILURES_EXCEEDED,
    EventType.UNLOCK_MAIL_SENT,
}
#: What the guard itself rests on: SECGUARD["DISABLED_EVENTS"] may not name them.
INDISPENSABLE: frozenset[str] = frozenset(
    name
    for name, spec in VOCABULARY.items()
    if name in _DECIDED or (spec.category in (_T, _S) and name not in _NOTICED)
)

#: What anybody may bring about as often as he can send requests: no limit of attempts ends it, so lines are bounded.
AT_WILL: frozenset[str] = frozenset(
    {
        EventType.PERMISSION_DENIED,
        EventType.AUTHENTICATION_REQUIRED,
        EventType.CSRF_FAILED,
        EventType.TOKEN_FORGED,
        EventType.TOKEN_EXPIRED,
        EventType.TOKEN_REVOKED,
        EventType.TOKEN_REJECTED,
        EventType.SUSPICIOUS_OPERATION,
        EventType.DISALLOWED_HOST,
        EventType.PASSWORD_RESET_REQUESTED,
        EventType.SIGNUP_REJECTED,
        EventType.CODE_REJECTED,
        EventType.TWO_FACTOR_FAILED,
        EventType.TRAP_HIT,
    }
)

#: What comes as often as people come, or as attackers guess: counted, and unless SECGUARD["PERSIST_EVENTS"] is "all" no
#: row each. A success after failures is one, by its severity.
NUMEROUS: frozenset[str] = frozenset(
    {
        EventType.LOGIN_SUCCESS,
        EventType.LOGIN_FAILED,
        EventType.LOGOUT,
        EventType.ATTEMPT_REFUSED,
        EventType.TWO_FACTOR_SUCCESS,
        EventType.TWO_FACTOR_FAILED,
        EventType.CODE_REJECTED,
        EventType.PASSWORD_RESET_REQUESTED,
        EventType.SIGNUP_REJECTED,
        EventType.AUTHENTICATION_REQUIRED,
        EventType.TOKEN_REFRESHED,
        EventType.TOKEN_FORGED,
        EventType.TOKEN_EXPIRED,
        EventType.TOKEN_REVOKED,
        EventType.TOKEN_REJECTED,
        EventType.DATA_ACCESS,
        EventType.RATE_LIMIT_EXCEEDED,
        EventType.SUSPICIOUS_OPERATION,
        EventType.DISALLOWED_HOST,
        EventType.NOT_FOUND,
        EventType.REQUEST_BLOCKED,
        EventType.BLOCK_SUPPRESSED,
    }
)

#: What a project's own event type counts as until it says otherwise.
CUSTOM = EventSpec(_T, _WARNING, "malicious_extraneous")


def spec_of(event_type: str) -> EventSpec:
    """The vocabulary's row for a type; a project's own types share ``CUSTOM``.

    Raises ValueError for a name that could not stand in a log or a rule: a type is lower-case
    letters, digits and underscores, at most 64 of them.
    """
    spec = VOCABULARY.get(event_type)
    if spec is not None:
        return spec
    if _is_type_name(event_type):
        return CUSTOM
    raise ValueError(
        f"event_type {event_type!r:.80} is no event type. Use one of SecurityEvent's constants, or for an event "
        "of your own a name of at most 64 lower-case ASCII letters, digits and underscores."
    )


def _is_type_name(name: object) -> bool:
    if not isinstance(name, str):
        return False
    return 0 < len(name) <= 64 and name.isascii() and name.replace("_", "a").isalnum() and name == name.lower()


def new_event_id() -> str:
    """A UUID of version 7 (RFC 9562): sortable by time, so that an index on it stays local."""
    milliseconds = time.time_ns() // 1_000_000
    tail = os.urandom(10).hex()
    head = f"{milliseconds:012x}"
    variant = "89ab"[int(tail[3], 16) & 3]
    return f"{head[:8]}-{head[8:12]}-7{tail[:3]}-{variant}{tail[4:7]}-{tail[7:19]}"


class Origin(NamedTuple):
    """Where in the code an event was logged: what the log line shows as its location."""

    file: str
    line: int
    function: str


class Name(NamedTuple):
    """Whom a message names, and where it stands in there."""

    text: str
    at: int


def naming(template: str, name: str) -> tuple[str, Name | None]:
    """The message with the name instead of the first ``{}``, and where that is.

    Not ``format``: what else stands in the message may hold braces of its own.
    """
    at = template.find("{}")
    if at < 0:
        return template, None
    return f"{template[:at]}{name}{template[at + 2 :]}", Name(name, at)


@dataclass(slots=True)
class Event:
    """One thing that happened. ``context`` is what the log line shows, in that order.

    ``is_clean``: whoever made the context has sanitised it already. ``is_counted``: it stands for others that were
    counted when they happened. ``name``: whom the message names, if it does, and where in it. ``original``: of an event
    whose addresses and names are not shown, what happened; it is never written anywhere.
    """

    type: str
    message: str
    severity: Severity
    category: Category
    context: dict[str, Any] = field(default_factory=dict)
    origin: Origin | None = None
    is_clean: bool = False
    is_counted: bool = False
    name: Name | None = None
    original: Event | None = None
