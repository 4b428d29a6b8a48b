"""Lines in OCSF, held against the models of py-ocsf-models, and where it has none against the published schema."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from py_ocsf_models import OCSF_VERSION as MODELS_VERSION
from py_ocsf_models.events.base_event import BaseEvent
from py_ocsf_models.events.findings.detection_finding import DetectionFinding
from pydantic import BaseModel, ConfigDict, IPvAnyAddress, model_validator

from secguard import __version__
from secguard.detection.catalogue import ALL_RULES
from secguard.formatters import OcsfFormatter
from secguard.formatters.shaped import TECHNIQUES, technique_ids
from secguard.formatters.vocabulary import CLASSES, OCSF_VERSION, TERMS
from tests.formatters.samples import EVENT_ID, FEBRUARY, TYPES, hostile_records, json_of, record, record_of

# -- the classes that the package does not have, from events/iam/*.json and objects/*.json of version 1.5.0 ----------


class Strict(BaseModel):
    """What the schema has no attribute for is an error."""

    model_config = ConfigDict(extra="forbid", strict=True)


class User(Strict):
    uid: str | None = None
    name: str | None = None
    email_addr: str | None = None
    type_id: Literal[0, 1, 2, 3, 4, 99]

    @model_validator(mode="after")
    def _has_one(self) -> User:
        assert self.name or self.uid, "at_least_one: account, name, uid"
        return self


class Url(Strict):
    path: str


class HttpRequest(Strict):
    http_method: str | None = None
    url: Url | None = None
    user_agent: str | None = None
    uid: str | None = None


class Endpoint(BaseModel):
    model_config = ConfigDict(extra="forbid")
    ip: IPvAnyAddress


class Service(Strict):
    name: str


class Iam(BaseEvent):
    """What Authentication and Account Change have in common."""

    model_config = ConfigDict(extra="forbid")
    category_uid: Literal[3]
    category_name: str
    class_name: str
    activity_name: str
    type_name: str
    time: int
    user: User
    src_endpoint: Endpoint | None = None
    http_request: HttpRequest | None = None
    type_uid: int
    status_id: Literal[0, 1, 2, 99]  # type: ignore[assignment]

    @model_validator(mode="after")
    def _type_follows(self) -> Iam:
        assert self.type_uid == self.class_uid * 100 + self.activity_id  # type: ignore[attr-defined]
        return self


class Authentication(Iam):
    class_uid: Literal[3002]
    activity_id: Literal[0, 1, 2, 3, 4, 5, 99]
    service: Service  # at_least_one: service, dst_endpoint
    is_remote: bool


class AccountChange(Iam):
    class_uid: Literal[3001]
    activity_id: Literal[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 99]


class Uncategorized(BaseEvent):
    model_config = ConfigDict(extra="forbid")
    class_uid: Literal[0]
    class_name: str
    category_uid: Literal[0]
    category_name: str
    activity_id: Literal[0, 99]
    activity_name: str
    type_uid: Literal[0, 99]
    type_name: str
    time: int
    status_id: Literal[0, 1, 2, 99]  # type: ignore[assignment]


class Finding(DetectionFinding):
    """The package's own model, which would take unknown attributes silently."""

    model_config = ConfigDict(extra="forbid")


MODELS: dict[int, type[BaseModel]] = {3002: Authentication, 3001: AccountChange, 2004: Finding, 0: Uncategorized}


def event(made: Any, **options: Any) -> dict[str, Any]:
    """The event, valid by the model of its class."""
    found = json_of(OcsfFormatter(**options).format(made))
    MODELS[found["class_uid"]].model_validate(found)
    return found


# -- what they promise ---------------------------------------------------------------------------------------------


def test_the_version_is_pinned_to_that_of_the_models() -> None:
    assert OCSF_VERSION == MODELS_VERSION == "1.5.0"
    metadata = event(record_of("login_failed"))["metadata"]
    assert metadata["version"] == "1.5.0"
    assert metadata["product"] == {"name": "django-secguard", "vendor_name": "secguard", "version": __version__}


@pytest.mark.parametrize("event_type", TYPES)
def test_every_event_is_valid(event_type: str) -> None:
    found = event(record_of(event_type))
    assert found["metadata"]["event_code"] == event_type
    assert found["time"] == int(FEBRUARY * 1000)
    assert found["type_uid"] == TERMS[event_type].ocsf_type == found["class_uid"] * 100 + found["activity_id"]


def test_events_are_valid_when_nothing_is_known_of_the_client() -> None:
    for event_type in TYPES:
        nobody = dict.fromkeys(("ip_address", "user_id", "username", "email", "path", "method", "user_agent"))
        event(record_of(event_type, **nobody))


def test_hostile_values_neither_break_the_line_nor_the_schema() -> None:
    for name, made in hostile_records():
        try:
            event(made, service="shop")
        except Exception as error:
            raise AssertionError(name) from error


def test_a_failed_login_is_an_authentication_that_failed() -> None:
    found = event(record_of("login_failed"), service="shop")
    assert (found["class_uid"], found["activity_name"], found["status"]) == (3002, "Logon", "Failure")
    assert found["user"] == {"uid": "7", "name": "alice", "email_addr": "alice@example.com", "type_id": 0}
    assert found["src_endpoint"] == {"ip": "203.0.113.7"}
    assert found["service"] == {"name": "shop"}
    assert found["status_detail"] == "invalid_credentials"
    assert found["unmapped"]["failed_attempts_from_ip"] == 3
    assert {each["name"] for each in found["observables"]} == {"src_endpoint.ip", "user.name", "user.email_addr"}


def test_a_threat_is_a_finding_with_the_attack() -> None:
    found = event(record_of("suspicious_activity"))
    assert (found["class_uid"], found["activity_name"], found["severity"]) == (2004, "Create", "Critical")
    info = found["finding_info"]
    assert (info["uid"], info["analytic"]["name"]) == (EVENT_ID, "brute_force")
    assert info["attacks"] == [
        {
            "technique": {"uid": "T1110", "name": "Brute Force"},
            "sub_technique": {"uid": "T1110.001", "name": "Password Guessing"},
        }
    ]
    assert found["evidences"][0]["src_endpoint"] == {"ip": "203.0.113.7"}
    assert found["count"] == 5


def test_a_rule_of_the_projects_own_may_call_its_technique_anything() -> None:
    (attack,) = event(record_of("suspicious_activity", technique="CAPEC-16"))["finding_info"]["attacks"]
    assert attack == {"technique": {"uid": "CAPEC-16", "name": "CAPEC-16"}}
    assert "attacks" not in event(record_of("suspicious_activity", technique=""))["finding_info"]


def test_lifting_a_block_closes_its_finding_and_says_who_remedied_it() -> None:
    blocked, refused, lifted = (
        event(record_of(name)) for name in ("address_blocked", "request_blocked", "address_unblocked")
    )
    assert {each["finding_info"]["uid"] for each in (blocked, refused, lifted)} == {"block:203.0.113.7"}
    assert [each["activity_name"] for each in (blocked, refused, lifted)] == ["Create", "Update", "Close"]
    assert lifted["status"] == "Resolved"
    assert lifted["remediation"] == {"desc": "The block of 203.0.113.7 was lifted by deploy."}
    assert "remediation" not in blocked


def test_a_type_of_the_projects_own_is_sorted_by_its_category() -> None:
    for category, class_uid in [
        ("authentication", 3002),
        ("account", 3001),
        ("system", 0),
        ("threat", 2004),
        (7, 2004),
    ]:
        found = event(record_of("login_failed", event_type="coupon_failed", category=category))
        assert (found["class_uid"], found["metadata"]["event_code"]) == (class_uid, "coupon_failed")


def test_a_record_of_another_logger_is_a_base_event() -> None:
    found = event(record(None, message="Hello", note="x", exc_text="Traceback: no"))
    assert (found["class_uid"], found["message"]) == (0, "Hello")
    assert found["unmapped"] == {"note": "x", "exception": "Traceback: no"}


def test_the_techniques_of_all_rules_have_names() -> None:
    ids = {each for rule in ALL_RULES for each in technique_ids(rule.technique)}
    assert ids == set(TECHNIQUES)


def test_every_activity_of_the_table_has_a_name() -> None:
    for terms in TERMS.values():
        assert CLASSES[terms.ocsf_class].activities[terms.ocsf_activity]
