"""The vocabulary: one table for every event, and ids that can be sorted."""

from __future__ import annotations

import logging
import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from secguard.events import CUSTOM, VOCABULARY, Category, EventType, Severity, new_event_id, spec_of
from secguard.logging import SecurityEvent

#: The terms of the OWASP Logging Vocabulary Cheat Sheet that we use.
OWASP_TERMS = {
    *("authn_login_success", "authn_login_fail", "authn_login_fail_max", "authn_login_lock", "authn_password_change"),
    *("authz_fail", "authz_admin", "user_updated", "sensitive_read", "session_expired", "malicious_extraneous"),
    *(
        "sys_monitor_disabled",
        "sys_monitor_enabled",
        "malicious_attack_tool",
        "sensitive_delete",
        "input_validation_fail",
    ),
    *("user_created", "user_archived", "user_deleted", "privilege_permissions_changed", "malicious_cors"),
    *("session_renewed", "session_use_after_expire", "authn_token_reuse", "excess_rate_limit_exceeded"),
    *("malicious_excess_404", "authn_login_successafterfail"),
}


def constants(prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in vars(SecurityEvent).items() if name.startswith(prefix)}


@pytest.mark.parametrize("event_type", EventType)
def test_every_event_type_has_a_row_in_the_table(event_type: EventType) -> None:
    category, severity, owasp = VOCABULARY[event_type]
    assert isinstance(category, Category)
    assert isinstance(severity, Severity)
    assert owasp in OWASP_TERMS


def test_the_table_knows_nothing_but_event_types() -> None:
    assert set(VOCABULARY) == set(EventType)


@pytest.mark.parametrize(
    ("event_type", "category", "severity", "owasp"),
    [
        ("login_success", "authentication", "info", "authn_login_success"),
        ("login_failed", "authentication", "warning", "authn_login_fail"),
        ("logout", "authentication", "info", "session_expired"),
        ("attempt_refused", "authentication", "warning", "authn_login_fail_max"),
        ("account_locked", "account", "error", "authn_login_lock"),
        ("account_unlocked", "account", "info", "user_updated"),
        ("password_changed", "account", "info", "authn_password_change"),
        ("2fa_enabled", "account", "info", "user_updated"),
        ("2fa_disabled", "account", "warning", "user_updated"),
        ("permission_denied", "authorization", "warning", "authz_fail"),
        ("data_access", "data_access", "info", "sensitive_read"),
        ("suspicious_activity", "threat", "critical", "malicious_extraneous"),
        ("request_blocked", "threat", "warning", "authn_login_lock"),
        ("address_blocked", "threat", "error", "authn_login_lock"),
        ("address_unblocked", "threat", "info", "authz_admin"),
        ("block_suppressed", "threat", "warning", "authn_login_fail_max"),
        ("trap_hit", "threat", "warning", "malicious_attack_tool"),
        ("network_proposed", "threat", "error", "malicious_extraneous"),
        ("network_allowed", "threat", "info", "authz_admin"),
        ("network_disallowed", "threat", "info", "authz_admin"),
        ("counters_reset", "threat", "info", "authz_admin"),
        ("list_imported", "threat", "info", "authz_admin"),
        ("consecutive_failures_exceeded", "account", "critical", "authn_login_fail_max"),
        ("unlock_mail_sent", "account", "info", "user_updated"),
        ("data_erased", "system", "warning", "sensitive_delete"),
        ("data_exported", "system", "warning", "sensitive_read"),
        ("client_address_unknown", "system", "warning", "sys_monitor_disabled"),
        ("mode_overridden", "system", "warning", "sys_monitor_disabled"),
        ("degraded", "system", "error", "sys_monitor_disabled"),
        ("recovered", "system", "info", "sys_monitor_enabled"),
    ],
)
def test_a_type_is_found_by_its_plain_name(event_type: str, category: str, severity: str, owasp: str) -> None:
    assert spec_of(event_type) == (category, severity, owasp)


def test_members_of_the_vocabulary_print_as_their_value() -> None:
    assert f"{EventType.TWO_FACTOR_ENABLED} {Category.DATA_ACCESS} {Severity.ERROR}" == "2fa_enabled data_access error"


def test_a_severity_is_a_level_of_the_standard_library() -> None:
    levels = [severity.level for severity in Severity]
    assert levels == [logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL]


@pytest.mark.parametrize("name", ["coupon_guess", "x", "2fa_recovery", "a" * 64])
def test_a_project_may_have_event_types_of_its_own(name: str) -> None:
    assert spec_of(name) is CUSTOM


@pytest.mark.parametrize(
    "name", ["", "a" * 65, "Login", "two words", "a-b", "a\nb", "{}", "*", "ä", "²", "_é", None, 7, ()]
)
def test_what_could_not_stand_in_a_log_is_no_event_type(name: object) -> None:
    with pytest.raises(ValueError, match="is no event type"):
        spec_of(name)  # type: ignore[arg-type]


def test_security_event_has_a_constant_for_every_type() -> None:
    types = {name: value for name, value in vars(SecurityEvent).items() if isinstance(value, EventType)}
    assert types == dict(EventType.__members__)


def test_security_event_has_a_constant_for_every_severity() -> None:
    assert constants("SEVERITY_") == dict(Severity.__members__)


def test_security_event_has_a_constant_for_every_category() -> None:
    assert constants("CATEGORY_") == dict(Category.__members__)


def test_security_event_knows_the_category_of_every_type() -> None:
    assert {event_type: spec.category for event_type, spec in VOCABULARY.items()} == SecurityEvent.EVENT_CATEGORIES


def test_a_constant_is_as_good_as_its_text() -> None:
    assert SecurityEvent.TWO_FACTOR_ENABLED == "2fa_enabled"
    assert SecurityEvent.EVENT_CATEGORIES["login_failed"] == "authentication"


def test_an_event_id_is_a_uuid_of_version_7() -> None:
    for _ in range(1_000):
        event_id = new_event_id()
        parsed = uuid.UUID(event_id)
        assert str(parsed) == event_id
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_an_event_id_begins_with_the_milliseconds_of_its_making(monkeypatch: pytest.MonkeyPatch) -> None:
    # The example of RFC 9562, appendix A.6.
    monkeypatch.setattr("time.time_ns", lambda: 0x017F22E279B0 * 1_000_000)
    assert re.fullmatch(r"017f22e2-79b0-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", new_event_id())


def test_event_ids_sort_by_the_millisecond_of_their_making(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [1_700_000_000_000 + step for step in (0, 1, 999, 86_400_000, 10**11)]
    made = []
    for moment in moments:
        monkeypatch.setattr("time.time_ns", lambda moment=moment: moment * 1_000_000)
        made.append(new_event_id())
    assert made == sorted(made)


def test_event_ids_made_at_once_by_many_threads_differ() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: new_event_id(), range(20_000)))
    assert len(set(made)) == len(made)
