"""Lines in the words of the Open Cybersecurity Schema Framework (OCSF), version 1.5.0."""

from __future__ import annotations

import json
from typing import Any

from secguard import __version__
from secguard.events import EventType
from secguard.formatters.json_lines import LogData
from secguard.formatters.shaped import (
    PRODUCT,
    TECHNIQUES,
    VENDOR,
    Facts,
    JsonShapedFormatter,
    technique_ids,
    without_nothing,
)
from secguard.formatters.vocabulary import (
    ACCOUNT_CHANGE,
    AUTHENTICATION,
    CLASSES,
    DETECTION_FINDING,
    OCSF_SEVERITIES,
    OCSF_VERSION,
    OTHER,
)

LAST_RESORT = json.dumps(
    {
        **{"activity_id": 99, "category_uid": 0, "class_uid": 0, "type_uid": 99, "severity_id": 0, "time": 0},
        "message": "<unprintable record>",
        "status_detail": "RecursionError",
        "metadata": {"version": OCSF_VERSION, "product": {"name": PRODUCT, "vendor_name": VENDOR}},
    }
)
_STATUSES = {"success": (1, "Success"), "failure": (2, "Failure")}
_UNKNOWN = (0, "Unknown")
_NEW, _IN_PROGRESS, _RESOLVED = (1, "New"), (2, "In Progress"), (4, "Resolved")
_FINDING_STATUSES = {1: _NEW, 2: _IN_PROGRESS, 3: _RESOLVED}
_RULE = 1
_IP_ADDRESS, _USER_NAME, _EMAIL_ADDRESS = (2, "IP Address"), (4, "User Name"), (5, "Email Address")
#: Findings that are about one block, from its beginning to its end.
_OF_A_BLOCK = (EventType.ADDRESS_BLOCKED, EventType.REQUEST_BLOCKED, EventType.ADDRESS_UNBLOCKED)


class OcsfFormatter(JsonShapedFormatter):
    """Write records as OCSF events, one line of JSON each.

    Logins are Authentication (3002), changes of accounts Account Change (3001), threats and blocks Detection Finding
    (2004), the rest Base Event (0). What the class has no attribute for stands under ``unmapped``. ``service``: what
    users log in to, ``django`` unless it is given.
    """

    last_resort = LAST_RESORT
    place = "unmapped"

    def document(self, facts: Facts) -> LogData:
        data, terms = facts.data, facts.terms
        ocsf_class, activity = CLASSES[terms.ocsf_class], terms.ocsf_activity
        severity_id, severity = OCSF_SEVERITIES[facts.severity]
        status_id, status = _status(facts)
        head = {
            "activity_id": activity,
            "activity_name": (activity == OTHER and facts.event_type) or ocsf_class.activities[activity],
            "category_uid": ocsf_class.category,
            "category_name": ocsf_class.category_name,
            "class_uid": terms.ocsf_class,
            "class_name": ocsf_class.name,
            "type_uid": terms.ocsf_type,
            "type_name": f"{ocsf_class.name}: {ocsf_class.activities[activity]}",
            "severity_id": severity_id,
            "severity": severity,
            "status_id": status_id,
            "status": status,
            "status_detail": facts.text("reason"),
            "time": facts.milliseconds,
            "message": data["message"],
        }
        client = _client(facts)
        head["metadata"] = self._metadata(facts, client)
        body = self._body(facts, client, uid=head["metadata"]["uid"])
        facts.rest |= {key: data[key] for key in ("exception", "stack_info") if key in data}
        return {**head, **body}

    def _body(self, facts: Facts, client: LogData, uid: str) -> LogData:
        if facts.terms.ocsf_class == DETECTION_FINDING:
            return {**_finding(facts, client, uid), "observables": _observables(client, "evidences[].")}
        if facts.terms.ocsf_class not in (AUTHENTICATION, ACCOUNT_CHANGE):
            of_client = {"src_endpoint": client["endpoint"], **client}
            del of_client["endpoint"]
            facts.rest |= without_nothing(of_client)
            return {}
        found = {
            "user": _user(client),
            "src_endpoint": client["endpoint"],
            "http_request": client["http_request"],
            "observables": _observables(client, ""),
        }
        if facts.terms.ocsf_class == AUTHENTICATION:
            found |= {"service": {"name": self.service or "django"}, "is_remote": True}
        return found

    def _metadata(self, facts: Facts, client: LogData) -> LogData:
        return {
            "version": OCSF_VERSION,
            "product": {"name": PRODUCT, "vendor_name": VENDOR, "version": __version__},
            "uid": facts.text("event_id"),
            "event_code": facts.event_type,
            "correlation_uid": client["http_request"]["uid"],
            "log_name": facts.data["logger"],
            "log_level": facts.data["level"],
        }


def _status(facts: Facts) -> tuple[int, str]:
    if facts.terms.ocsf_class == DETECTION_FINDING:
        return _FINDING_STATUSES.get(facts.terms.ocsf_activity, _UNKNOWN)
    return _STATUSES.get(facts.terms.outcome, _UNKNOWN)


def _client(facts: Facts) -> LogData:
    return {
        "endpoint": {"ip": facts.address()},
        "user": {"uid": facts.text("user_id"), "name": facts.text("username"), "email_addr": facts.text("email")},
        "http_request": {
            "http_method": facts.text("method"),
            "url": {"path": facts.text("path")},
            "user_agent": facts.text("user_agent"),
            "uid": facts.text("request_id"),
        },
    }


def _user(client: LogData) -> LogData:
    """Who it is about. The class demands one, and one with a name, even where nobody is known."""
    user = client["user"]
    return {**user, "name": user["name"] or user["email_addr"] or user["uid"] or "unknown", "type_id": 0}


def _finding(facts: Facts, client: LogData, uid: str) -> LogData:
    subject, rule = facts.text("subject"), facts.text("rule")
    if facts.event_type in _OF_A_BLOCK:
        uid = f"block:{subject}"
    closed = facts.terms.ocsf_activity == 3
    return {
        "finding_info": {
            "uid": uid or facts.event_type,
            "title": facts.terms.name,
            "desc": facts.data["message"],
            "created_time": facts.milliseconds,
            "types": [facts.event_type],
            "analytic": {"name": rule, "uid": rule, "type_id": _RULE, "type": "Rule"} if rule else None,
            "attacks": _attacks(facts.take("technique")),
        },
        "count": facts.number("count"),
        "resources": [{"type": facts.text("subject_type"), "name": subject}] if subject else None,
        "evidences": _evidences(client),
        "remediation": {"desc": _remediation(facts, subject)} if closed else None,
    }


def _remediation(facts: Facts, subject: str) -> str:
    by = facts.text("by")
    return f"The block of {subject or 'an address'} was lifted" + (f" by {by}." if by else ".")


def _attacks(technique: Any) -> list[LogData]:
    ids = technique_ids(technique)
    if not ids:
        return []
    above, *below = [{"uid": each, "name": TECHNIQUES.get(each, each)} for each in ids]
    return [{"technique": above, "sub_technique": below[0] if below else None}]


def _evidences(client: LogData) -> list[LogData]:
    request = client["http_request"]
    details = {key: request[key] for key in ("http_method", "user_agent", "uid")}
    return [
        {
            "src_endpoint": client["endpoint"],
            "user": client["user"],
            "url": request["url"],
            "data": details,
        }
    ]


def _observables(client: LogData, prefix: str) -> list[LogData]:
    user = client["user"]
    named = (
        ("src_endpoint.ip", _IP_ADDRESS, client["endpoint"]["ip"]),
        ("user.name", _USER_NAME, user["name"]),
        ("user.email_addr", _EMAIL_ADDRESS, user["email_addr"]),
    )
    return [
        {"name": prefix + name, "type_id": type_id, "type": caption, "value": value}
        for name, (type_id, caption), value in named
        if value
    ]
