"""Lines in ECS: each field has the type that the published schema gives it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

import pytest

from secguard.formatters import EcsFormatter
from secguard.formatters.vocabulary import ECS_VERSION
from tests.formatters.samples import EVENT_ID, TYPES, hostile_records, json_of, record, record_of

#: From the schema's generated/elasticsearch/composable/component/*.json of this version: the fields that we use.
SCHEMA_VERSION = "9.3.0"
FIELDS = {
    "@timestamp": "date",
    "ecs.version": "keyword",
    "error.stack_trace": "wildcard",
    "error.type": "keyword",
    "event.action": "keyword",
    "event.category": "keyword",
    "event.dataset": "keyword",
    "event.id": "keyword",
    "event.kind": "keyword",
    "event.module": "keyword",
    "event.outcome": "keyword",
    "event.reason": "keyword",
    "event.severity": "long",
    "event.type": "keyword",
    "http.request.id": "keyword",
    "http.request.method": "keyword",
    "log.level": "keyword",
    "log.logger": "keyword",
    "log.origin.file.line": "long",
    "log.origin.file.name": "keyword",
    "log.origin.function": "keyword",
    "message": "match_only_text",
    "related.ip": "ip",
    "related.user": "keyword",
    "rule.name": "keyword",
    "service.name": "keyword",
    "source.address": "keyword",
    "source.ip": "ip",
    "threat.framework": "keyword",
    "threat.technique.id": "keyword",
    "threat.technique.name": "keyword",
    "threat.technique.subtechnique.id": "keyword",
    "threat.technique.subtechnique.name": "keyword",
    "url.path": "wildcard",
    "user.email": "keyword",
    "user.id": "keyword",
    "user.name": "keyword",
    "user_agent.original": "keyword",
}
#: Fields that are arrays by the schema ("normalize: array").
ARRAYS = {name for name in FIELDS if name.startswith(("related.", "threat.technique."))} | {
    "event.category",
    "event.type",
}
KINDS = {"alert", "asset", "enrichment", "event", "metric", "state", "pipeline_error", "signal"}
OUTCOMES = {"success", "failure", "unknown"}
#: Of the allowed values of event.category, those that we use, with the event.type that each expects.
CATEGORIES = {
    "authentication": {"start", "end", "info"},
    "configuration": {"access", "change", "creation", "deletion", "info"},
    "database": {"access", "change", "info", "error"},
    "iam": {"admin", "change", "creation", "deletion", "group", "info", "user"},
    "intrusion_detection": {"allowed", "denied", "info"},
    "web": {"access", "error", "info"},
}


def document(made: Any, **options: Any) -> dict[str, Any]:
    return json_of(EcsFormatter(**options).format(made))


def flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, each in value.items():
        if not prefix and key == "secguard":
            continue
        if isinstance(each, dict):
            yield from flat(each, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", each


def assert_typed(found: dict[str, Any]) -> None:
    for name, value in flat(found):
        assert name in FIELDS, f"{name} is none of the schema's fields that we know"
        assert isinstance(value, list) == (name in ARRAYS), name
        for each in value if isinstance(value, list) else [value]:
            assert _is_a(FIELDS[name], each), f"{name} is {each!r}"


def _is_a(kind: str, value: Any) -> bool:
    if kind == "long":
        return type(value) is int and -(2**63) <= value < 2**63
    if kind == "date":
        return re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value) is not None
    if kind == "ip":
        return bool(ipaddress.ip_address(value)) and "%" not in value
    return type(value) is str and value != ""


def test_the_version_is_that_of_the_schema() -> None:
    assert ECS_VERSION == SCHEMA_VERSION
    assert document(record_of("login_failed"))["ecs"] == {"version": SCHEMA_VERSION}


@pytest.mark.parametrize("event_type", TYPES)
def test_every_event_is_a_document_whose_fields_have_the_types_of_the_schema(event_type: str) -> None:
    found = document(record_of(event_type))
    assert_typed(found)
    said = found["event"]
    assert said["action"] == event_type
    assert said["kind"] in KINDS
    assert said["outcome"] in OUTCOMES
    assert set(said["type"]) <= set.union(*(CATEGORIES[category] for category in said["category"]))


def test_hostile_values_neither_break_the_line_nor_the_types() -> None:
    for name, made in hostile_records():
        try:
            assert_typed(document(made, service="shop"))
        except Exception as error:
            raise AssertionError(name) from error


def test_a_failed_login_tells_who_and_where_from() -> None:
    found = document(record_of("login_failed"), service="shop")
    assert found["event"] == {
        "kind": "event",
        "category": ["authentication"],
        "type": ["start"],
        "action": "login_failed",
        "outcome": "failure",
        "severity": 5,
        "reason": "invalid_credentials",
        "id": EVENT_ID,
        "module": "secguard",
        "dataset": "secguard.events",
    }
    assert found["user"] == {"id": "7", "name": "alice", "email": "alice@example.com"}
    assert found["source"] == {"ip": "203.0.113.7", "address": "203.0.113.7"}
    assert found["service"] == {"name": "shop"}
    assert found["related"] == {"ip": ["203.0.113.7"], "user": ["alice", "alice@example.com"]}
    assert found["secguard"]["failed_attempts_from_ip"] == 3


def test_a_threat_is_an_alert_with_its_rule_and_technique() -> None:
    found = document(record_of("suspicious_activity"))
    assert (found["event"]["kind"], found["event"]["severity"]) == ("alert", 10)
    assert found["rule"] == {"name": "brute_force"}
    technique = found["threat"]["technique"]
    assert (technique["id"], technique["subtechnique"]["id"]) == (["T1110"], ["T1110.001"])


@pytest.mark.parametrize("address", ["unix:", "203.0.113.0/24", "fe80::1%eth0", "203.0.113.7:80"])
def test_what_is_no_address_does_not_cost_the_document(address: str) -> None:
    found = document(record_of("login_failed", ip_address=address))
    assert found["source"] == {"address": address}
    assert "ip" not in found["related"]


def test_an_unknown_client_has_no_source() -> None:
    assert "source" not in document(record_of("login_failed", ip_address=None))


def test_a_type_of_the_projects_own_is_sorted_by_its_category() -> None:
    own = record_of("login_failed", event_type="coupon_failed", category="authorization", severity="info")
    said = document(own)["event"]
    assert (said["action"], said["category"], said["outcome"]) == ("coupon_failed", ["web"], "unknown")
    assert document(record_of("login_failed", event_type="own", category="?"))["event"]["category"] == [
        "intrusion_detection"
    ]


def test_a_record_of_another_logger_is_a_document_too() -> None:
    found = document(record(None, note="x", exc_text="Traceback: no"))
    assert found["event"] == {"kind": "event", "dataset": "security.events"}
    assert found["error"] == {"stack_trace": "Traceback: no"}
    assert found["secguard"] == {"note": "x"}


def test_what_is_too_long_is_dropped_and_said() -> None:
    huge = {f"key {number}": "x" * 250 for number in range(60)}
    found = document(record_of("suspicious_activity", **huge))
    assert found["secguard"]["truncated"] is True
    assert found["rule"] == {"name": "brute_force"}
