"""What other standards call our events: one row a type, for ECS, OCSF and CEF alike.

The sources: ECS 9.3 (https://www.elastic.co/docs/reference/ecs), "allowed values" of the categorisation fields;
OCSF 1.5.0 (https://schema.ocsf.io/1.5.0/); ArcSight's Common Event Format, version 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from secguard.events import CUSTOM, VOCABULARY, Category, EventType, Severity

ECS_VERSION = "9.3.0"
OCSF_VERSION = "1.5.0"
CEF_VERSION = 0

AUTHENTICATION, ACCOUNT_CHANGE, DETECTION_FINDING, BASE_EVENT = 3002, 3001, 2004, 0
OTHER = 99


class OcsfClass(NamedTuple):
    """A class of OCSF events: to which category it belongs, and its activities that occur here."""

    category: int
    category_name: str
    name: str
    activities: Mapping[int, str]


_ANY_ACTIVITY = {0: "Unknown", OTHER: "Other"}
CLASSES: Mapping[int, OcsfClass] = {
    AUTHENTICATION: OcsfClass(
        3, "Identity & Access Management", "Authentication", {1: "Logon", 2: "Logoff", **_ANY_ACTIVITY}
    ),
    ACCOUNT_CHANGE: OcsfClass(
        3,
        "Identity & Access Management",
        "Account Change",
        {
            **{1: "Create", 2: "Enable", 3: "Password Change", 4: "Password Reset", 5: "Disable", 6: "Delete"},
            **{7: "Attach Policy", 9: "Lock", 10: "MFA Factor Enable", 11: "MFA Factor Disable", 12: "Unlock"},
            **_ANY_ACTIVITY,
        },
    ),
    DETECTION_FINDING: OcsfClass(
        2, "Findings", "Detection Finding", {1: "Create", 2: "Update", 3: "Close", **_ANY_ACTIVITY}
    ),
    BASE_EVENT: OcsfClass(0, "Uncategorized", "Base Event", _ANY_ACTIVITY),
}


class Terms(NamedTuple):
    """What one type of event is called elsewhere. ``outcome``: success, failure or unknown, as ECS has it."""

    name: str
    outcome: str
    ecs_kind: str
    ecs_category: tuple[str, ...]
    ecs_type: tuple[str, ...]
    ocsf_class: int
    ocsf_activity: int

    @property
    def ocsf_type(self) -> int:
        """OCSF's ``type_uid``."""
        return self.ocsf_class * 100 + self.ocsf_activity


#: Severity → CEF's 0–10, which is ECS' ``event.severity`` here as well.
CEF_SEVERITIES: Mapping[str, int] = {Severity.INFO: 3, Severity.WARNING: 5, Severity.ERROR: 8, Severity.CRITICAL: 10}
#: Severity → OCSF's ``severity_id``.
OCSF_SEVERITIES: Mapping[str, tuple[int, str]] = {
    Severity.INFO: (1, "Informational"),
    Severity.WARNING: (3, "Medium"),
    Severity.ERROR: (4, "High"),
    Severity.CRITICAL: (5, "Critical"),
}


def _auth(name: str, outcome: str, *, kind: str = "start", activity: int = 1) -> Terms:
    return Terms(name, outcome, "event", ("authentication",), (kind,), AUTHENTICATION, activity)


def _account(name: str, activity: int, *kinds: str, outcome: str = "success") -> Terms:
    return Terms(name, outcome, "event", ("iam",), ("user", *(kinds or ("change",))), ACCOUNT_CHANGE, activity)


def _refused(name: str, *categories: str) -> Terms:
    return Terms(name, "failure", "event", categories or ("web",), ("info",), BASE_EVENT, OTHER)


def _finding(name: str, activity: int, *kinds: str, outcome: str = "success", alert: bool = False) -> Terms:
    kind = "alert" if alert else "event"
    return Terms(name, outcome, kind, ("intrusion_detection",), kinds or ("info",), DETECTION_FINDING, activity)


def _operator(name: str) -> Terms:
    return Terms(name, "success", "event", ("configuration",), ("change",), BASE_EVENT, OTHER)


def _system(name: str, outcome: str = "failure") -> Terms:
    return Terms(name, outcome, "event", ("configuration",), ("info",), BASE_EVENT, OTHER)


TERMS: Mapping[str, Terms] = {
    EventType.LOGIN_SUCCESS: _auth("Login succeeded", "success"),
    EventType.LOGIN_FAILED: _auth("Login failed", "failure"),
    EventType.LOGOUT: _auth("Logout", "success", kind="end", activity=2),
    EventType.ATTEMPT_REFUSED: _auth("Login attempt refused", "failure"),
    EventType.ACCOUNT_LOCKED: _account("Account locked", 9),
    EventType.ACCOUNT_UNLOCKED: _account("Account unlocked", 12),
    EventType.PASSWORD_CHANGED: _account("Password changed", 3),
    EventType.TWO_FACTOR_ENABLED: _account("Two-factor authentication enabled", 10),
    EventType.TWO_FACTOR_DISABLED: _account("Two-factor authentication disabled", 11),
    EventType.TWO_FACTOR_DEVICE_ADDED: _account("Second factor added", 10),
    EventType.TWO_FACTOR_DEVICE_REMOVED: _account("Second factor removed", 11),
    EventType.TWO_FACTOR_RESET: _account("Recovery codes renewed", OTHER),
    EventType.TWO_FACTOR_SUCCESS: _auth("Second factor verified", "success"),
    EventType.TWO_FACTOR_FAILED: _auth("Second factor failed", "failure"),
    EventType.CODE_REJECTED: _auth("Code rejected", "failure"),
    EventType.PASSWORD_DISABLED: _account("Password made unusable", 3),
    EventType.PASSWORD_RESET_REQUESTED: _account("Password reset requested", 4, "info", outcome="unknown"),
    EventType.SIGNUP_REJECTED: _account("Sign-up rejected", 1, "creation", outcome="failure"),
    EventType.EMAIL_CHANGED: _account("Mail address changed", OTHER),
    EventType.EMAIL_ADDED: _account("Mail address added", OTHER),
    EventType.EMAIL_REMOVED: _account("Mail address removed", OTHER),
    EventType.USER_CREATED: _account("User created", 1, "creation"),
    EventType.USER_DEACTIVATED: _account("User deactivated", 5),
    EventType.USER_REACTIVATED: _account("User reactivated", 2),
    EventType.USER_DELETED: _account("User deleted", 6, "deletion"),
    EventType.PRIVILEGES_CHANGED: _account("Privileges changed", OTHER, "change", "admin"),
    EventType.PERMISSION_DENIED: _refused("Permission denied"),
    EventType.AUTHENTICATION_REQUIRED: _refused("Authentication required"),
    EventType.CSRF_FAILED: _refused("CSRF check failed", "intrusion_detection", "web"),
    EventType.TOKEN_REFRESHED: _auth("Token refreshed", "success", kind="info", activity=OTHER),
    EventType.TOKEN_FORGED: _auth("Forged token refused", "failure", kind="info", activity=OTHER),
    EventType.TOKEN_EXPIRED: _auth("Expired token refused", "failure", kind="info", activity=OTHER),
    EventType.TOKEN_REVOKED: _auth("Revoked token refused", "failure", kind="info", activity=OTHER),
    EventType.TOKEN_REJECTED: _auth("Token refused", "failure", kind="info", activity=OTHER),
    EventType.DATA_ACCESS: Terms("Data access", "success", "event", ("database",), ("access",), BASE_EVENT, OTHER),
    EventType.RATE_LIMIT_EXCEEDED: _refused("Rate limit exceeded"),
    EventType.SUSPICIOUS_OPERATION: _refused("Suspicious operation", "intrusion_detection", "web"),
    EventType.DISALLOWED_HOST: _refused("Disallowed host", "intrusion_detection", "web"),
    EventType.NOT_FOUND: _refused("Page not found"),
    EventType.SUCCESS_AFTER_ATTACK: _finding("Login succeeded under attack", 1, outcome="unknown", alert=True),
    EventType.SUSPICIOUS_ACTIVITY: _finding("Threat detected", 1, outcome="unknown", alert=True),
    EventType.REQUEST_BLOCKED: _finding("Request of blocked address refused", 2, "denied"),
    EventType.ADDRESS_BLOCKED: _finding("Address blocked", 1, "denied"),
    EventType.ADDRESS_UNBLOCKED: _finding("Address unblocked", 3, "allowed"),
    EventType.BLOCK_SUPPRESSED: _finding("Block suppressed", OTHER, "allowed", outcome="unknown"),
    EventType.TRAP_HIT: _finding("Trap hit", 1, outcome="unknown"),
    EventType.NETWORK_PROPOSED: _finding("Block of a network proposed", 1, outcome="unknown", alert=True),
    EventType.NETWORK_ALLOWED: _operator("Network allowed"),
    EventType.NETWORK_DISALLOWED: _operator("Network no longer allowed"),
    EventType.COUNTERS_RESET: _operator("Counters reset"),
    EventType.LIST_IMPORTED: _operator("List imported"),
    EventType.CONSECUTIVE_FAILURES_EXCEEDED: _finding("Too many failures in a row", 1, outcome="unknown", alert=True),
    EventType.UNLOCK_MAIL_SENT: _account("Unlock mail sent", OTHER, "info"),
    EventType.DATA_ERASED: Terms(
        "Personal data erased", "success", "event", ("configuration",), ("deletion",), BASE_EVENT, OTHER
    ),
    EventType.DATA_EXPORTED: Terms(
        "Personal data exported", "success", "event", ("configuration",), ("access",), BASE_EVENT, OTHER
    ),
    EventType.CLIENT_ADDRESS_UNKNOWN: _system("Client address unknown"),
    EventType.MODE_OVERRIDDEN: _system("Mode overridden", "unknown"),
    EventType.DEGRADED: _system("Guard degraded"),
    EventType.RECOVERED: _system("Guard recovered", "success"),
    EventType.EVENTS_NOT_RECORDED: _system("Events not recorded"),
    EventType.ALERT_NOT_DELIVERED: _system("Alert not delivered"),
}

#: What a project's own event type is called, by its category.
_CUSTOM: Mapping[str, Terms] = {
    Category.AUTHENTICATION: _auth("", "unknown", kind="info", activity=OTHER),
    Category.AUTHORIZATION: Terms("", "unknown", "event", ("web",), ("info",), BASE_EVENT, OTHER),
    Category.ACCOUNT: _account("", OTHER, "info", outcome="unknown"),
    Category.DATA_ACCESS: Terms("", "unknown", "event", ("database",), ("access",), BASE_EVENT, OTHER),
    Category.THREAT: _finding("", 1, outcome="unknown"),
    Category.SYSTEM: _system("", "unknown"),
}
#: A record of another logger, which is no event of ours.
LOG_RECORD = Terms("Log record", "", "event", (), (), BASE_EVENT, OTHER)


def terms_of(event_type: object, category: object = "") -> Terms:
    """The row for a type. A project's own types go by their ``category``; what is no event is ``LOG_RECORD``."""
    if type(event_type) is not str or not event_type:
        return LOG_RECORD
    known = TERMS.get(event_type)
    if known is not None:
        return known
    custom = _CUSTOM.get(category if type(category) is str else "") or _CUSTOM[CUSTOM.category]
    return custom._replace(name=event_type.replace("_", " ").capitalize())


#: What the columns of the table are called.
COLUMNS = ("type", "severity", "OWASP", "ECS category", "ECS type", "outcome", "OCSF class", "OCSF activity", "CEF")


def row(event_type: str) -> dict[str, str]:
    """A type of the vocabulary as a row of the table, under the names of ``COLUMNS``."""
    spec, terms = VOCABULARY[event_type], TERMS[event_type]
    ocsf = CLASSES[terms.ocsf_class]
    cells = (
        str(event_type),
        spec.severity.value,
        spec.owasp,
        ", ".join(terms.ecs_category) + (" (alert)" if terms.ecs_kind == "alert" else ""),
        ", ".join(terms.ecs_type),
        terms.outcome,
        f"{ocsf.name} {terms.ocsf_class}",
        f"{ocsf.activities[terms.ocsf_activity]} {terms.ocsf_activity}",
        f"{terms.name} ({CEF_SEVERITIES[spec.severity]})",
    )
    return dict(zip(COLUMNS, cells, strict=True))


def markdown(types: Iterable[str] = tuple(VOCABULARY)) -> str:
    """The rows as a table of Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"| {' | '.join('---' for _ in COLUMNS)} |"]
    for event_type in types:
        cells = row(event_type)
        marked = (f"`{text}`" if name in ("type", "OWASP") else text for name, text in cells.items())
        lines.append(f"| {' | '.join(marked)} |")
    return "\n".join(lines) + "\n"


def details(event_type: str) -> dict[str, Any]:
    """The same for programs: each value by itself."""
    spec, terms = VOCABULARY[event_type], TERMS[event_type]
    ocsf = CLASSES[terms.ocsf_class]
    return {
        "type": str(event_type),
        "name": terms.name,
        "category": spec.category.value,
        "severity": spec.severity.value,
        "owasp": spec.owasp,
        "ecs": {
            "version": ECS_VERSION,
            "event.kind": terms.ecs_kind,
            "event.category": terms.ecs_category,
            "event.type": terms.ecs_type,
            "event.outcome": terms.outcome,
            "event.severity": CEF_SEVERITIES[spec.severity],
        },
        "ocsf": {
            "version": OCSF_VERSION,
            "category_uid": ocsf.category,
            "class_uid": terms.ocsf_class,
            "class_name": ocsf.name,
            "activity_id": terms.ocsf_activity,
            "activity_name": ocsf.activities[terms.ocsf_activity],
            "type_uid": terms.ocsf_type,
            "severity_id": OCSF_SEVERITIES[spec.severity][0],
        },
        "cef": {
            "version": CEF_VERSION,
            "signature_id": str(event_type),
            "name": terms.name,
            "severity": CEF_SEVERITIES[spec.severity],
        },
    }
