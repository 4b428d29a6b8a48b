"""What projects call: SecurityEventLogger and SecurityEvent, and the lines they write."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.test import RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy

from secguard.detection import normalize_identifier
from secguard.events import Severity
from secguard.exceptions import InvalidRule
from secguard.formatters import SecurityJsonFormatter
from secguard.logging import (
    SecurityEvent,
    SecurityEventLogger,
    get_event_logger,
    security_event_logger,
    security_logger,
)
from secguard.signals import account_locked, account_unlocked, permission_denied, threat_detected
from secguard.testing import CapturedEvents, capture_events

if TYPE_CHECKING:
    from tests.conftest import RunPython

# Five failures block an address, and a block is a row.
pytestmark = pytest.mark.django_db

ADDRESS = "203.0.113.7"
MONITOR = {"MODE": "monitor"}


class Lines(io.StringIO):
    """What the handler wrote."""

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        return self.all[-1]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The stream of a real handler with the real formatter."""
    stream = Lines()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(SecurityJsonFormatter())
    security_logger.addHandler(handler)
    yield stream
    security_logger.removeHandler(handler)


@pytest.fixture
def events() -> Iterator[CapturedEvents]:
    with capture_events() as captured:
        yield captured


def fail(number: int = 1, address: str = ADDRESS, **details: Any) -> None:
    details.setdefault("email", "anna@example.com")
    for _ in range(number):
        security_event_logger.log_login_failed(ip_address=address, **details)


def get(path: str = "/login/", **headers: Any) -> HttpRequest:
    return RequestFactory(REMOTE_ADDR=ADDRESS).get(path, **headers)


# -- the line ------------------------------------------------------------------------------------------------


def test_a_failed_login_is_a_line_of_exactly_this_shape(lines: Lines) -> None:
    request = RequestFactory().post(
        "/accounts/login/?next=/secret/", REMOTE_ADDR="192.168.1.1", HTTP_USER_AGENT="Mozilla/5.0 (X11; Linux x86_64)"
    )
    for _ in range(3):
        security_event_logger.log_login_failed(email="user@example.com", request=request)
    line = lines.last
    assert list(line) == ["timestamp", "level", "logger", "message", "location", "context"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    assert (line["level"], line["logger"]) == ("WARNING", "security.events")
    assert line["message"] == "Failed login attempt for user@example.com"
    assert list(line["location"]) == ["file", "line", "function"]
    assert (line["location"]["file"], line["location"]["function"]) == ("logging.py", "log_login_failed")
    assert line["location"]["line"] > 1
    event_id, request_id = line["context"].pop("event_id"), line["context"].pop("request_id")
    assert uuid.UUID(event_id).version == 7
    assert request_id
    assert list(line["context"].items()) == [
        ("event_type", "login_failed"),
        ("category", "authentication"),
        ("severity", "warning"),
        ("email", "user@example.com"),
        ("ip_address", "192.168.1.1"),
        ("user_agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        ("reason", "invalid_credentials"),
        ("failed_attempts_from_ip", 3),
        ("unique_ips_for_email", 1),
        ("unique_emails_from_ip", 1),
        ("is_suspicious", False),
        ("path", "/accounts/login/"),
        ("method", "POST"),
    ]


def test_the_events_of_an_event_logger_say_where_they_were_logged(lines: Lines) -> None:
    security_event_logger.log_password_changed(username="anna")
    assert lines.last["location"]["function"] == "log_password_changed"


def test_an_identifier_that_is_no_mail_address_is_a_username(lines: Lines) -> None:
    security_event_logger.log_login_failed(username="anna", ip_address=ADDRESS)
    context = lines.last["context"]
    assert context["username"] == "anna"
    assert "email" not in context
    assert lines.last["message"] == "Failed login attempt for anna"


def test_a_username_that_is_a_mail_address_is_shown_as_one(lines: Lines) -> None:
    security_event_logger.log_login_failed(username="anna@example.com", ip_address=ADDRESS)
    context = lines.last["context"]
    assert context["email"] == "anna@example.com"
    assert "username" not in context


def test_a_threats_line_names_rule_subject_and_counts(lines: Lines) -> None:
    fail(5)
    threat = next(line for line in lines.all if line["context"]["event_type"] == "suspicious_activity")
    assert threat["level"] == "CRITICAL"
    assert threat["message"] == "Threat brute_force: 5 on address 203.0.113.7 within 900 s"
    context = threat["context"]
    named = {name: context[name] for name in ("rule", "subject", "count", "threshold", "window_seconds")}
    assert named == {
        "rule": "brute_force",
        "subject": ADDRESS,
        "count": 5,
        "threshold": 5,
        "window_seconds": 900,
    }
    assert (context["category"], context["severity"], context["is_suspicious"]) == ("threat", "critical", True)
    assert uuid.UUID(context["event_id"]).version == 7


def test_the_request_id_is_the_one_the_proxy_gave(events: CapturedEvents) -> None:
    event = security_event_logger.log_logout(request=get(HTTP_X_REQUEST_ID="req-4711"))
    assert event.context["request_id"] == "req-4711"


@override_settings(SECGUARD={"REQUEST_ID_HEADER": "X-Trace"})
def test_the_header_of_the_request_id_can_be_chosen() -> None:
    event = security_event_logger.log_logout(request=get(HTTP_X_TRACE="trace-1", HTTP_X_REQUEST_ID="req-1"))
    assert event.context["request_id"] == "trace-1"


@pytest.mark.parametrize("hostile", ["a b", "x" * 129, "a\nb", '"},{"', "<script>", "ä", "${jndi:ldap://x}", ""])
def test_a_request_id_that_is_no_id_is_replaced(hostile: str) -> None:
    event = security_event_logger.log_logout(request=get(HTTP_X_REQUEST_ID=hostile))
    assert re.fullmatch(r"[0-9a-f]{16}", event.context["request_id"])


def test_all_events_of_a_request_carry_one_request_id() -> None:
    request = get()
    first, second = (security_event_logger.log_data_access(request=request) for _ in range(2))
    assert first.context["request_id"] == second.context["request_id"]
    assert first.context["event_id"] != second.context["event_id"]


def test_a_query_string_is_never_logged(lines: Lines) -> None:
    request = get("/reset/?token=s3cr3t-t0ken&password=hunter22")
    fail(6, request=request)
    security_event_logger.log_permission_denied(request=request, detail="at /reset/?token=s3cr3t-t0ken")
    assert "s3cr3t" not in lines.getvalue()
    assert "hunter22" not in lines.getvalue()


def test_without_a_request_a_line_makes_none_up(events: CapturedEvents) -> None:
    event = security_event_logger.log_password_changed(email="anna@example.com")
    assert {"path", "method", "request_id"}.isdisjoint(event.context)
    assert event.context["ip_address"] is None


@pytest.mark.parametrize(
    ("method", "event_type"),
    [
        ("log_login_success", "login_success"),
        ("log_login_failed", "login_failed"),
        ("log_logout", "logout"),
        ("log_account_locked", "account_locked"),
        ("log_account_unlocked", "account_unlocked"),
        ("log_password_changed", "password_changed"),
        ("log_2fa_enabled", "2fa_enabled"),
        ("log_2fa_disabled", "2fa_disabled"),
        ("log_permission_denied", "permission_denied"),
        ("log_data_access", "data_access"),
        ("log_suspicious_activity", "suspicious_activity"),
    ],
)
def test_every_method_takes_the_same_keywords(method: str, event_type: str, lines: Lines) -> None:
    event = getattr(security_event_logger, method)(
        user_id=7,
        email="anna@example.com",
        username="anna",
        ip_address=ADDRESS,
        user_agent="curl/8",
        reason="because",
        request=get(),
        invoice=42,
    )
    assert event.type == event_type
    shown = ("event_type", "user_id", "email", "username", "ip_address", "user_agent", "reason", "invoice")
    assert [lines.last["context"][name] for name in shown] == [
        *(event_type, 7, "anna@example.com", "anna", ADDRESS, "curl/8", "because", 42)
    ]


def test_what_is_given_beats_what_the_request_says() -> None:
    request = get(HTTP_USER_AGENT="the request's")
    event = security_event_logger.log_login_failed(ip_address="198.51.100.9", user_agent="given", request=request)
    assert event.context["ip_address"] == "198.51.100.9"
    assert event.context["user_agent"] == "given"


def test_an_address_is_logged_in_its_one_spelling() -> None:
    assert security_event_logger.log_logout(ip_address="[2001:DB8::0:1]:443").context["ip_address"] == "2001:db8::1"
    assert security_event_logger.log_logout(ip_address="::ffff:192.0.2.1").context["ip_address"] == "192.0.2.1"


def test_locking_and_unlocking_send_their_signals() -> None:
    heard: list[tuple[str, Any]] = []

    def on_locked(account: str, rule: str, **kwargs: Any) -> None:
        heard.append((account, rule))

    def on_unlocked(account: str, by: str, **kwargs: Any) -> None:
        heard.append((account, by))

    account_locked.connect(on_locked)
    account_unlocked.connect(on_unlocked)
    security_event_logger.log_account_locked(username="anna", rule="account_failures")
    security_event_logger.log_account_unlocked(email="anna@example.com", by="root")
    assert heard == [("anna", "account_failures"), ("anna@example.com", "root")]


# -- zero-code logging ---------------------------------------------------------------------------------------

SITE = """
import os, sys, logging
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "secguard"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    LOGGING=%s,
)
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from secguard.logging import SecurityEvent
SecurityEvent.log("login_failed", username="anna", ip_address="203.0.113.7")
"""


def configured(**more: Any) -> str:
    """A LOGGING setting with one handler, ``out``."""
    out = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "mine"}
    setting = {"version": 1, "formatters": {"mine": {"format": "mine: %(message)s"}}, "handlers": {"out": out}, **more}
    return repr(setting)


def test_without_any_configuration_events_are_json_lines_on_standard_error(run_python: RunPython) -> None:
    done = run_python(SITE % "{}")
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["context"]["event_type"] == "login_failed"


def test_information_is_shown_too_without_any_configuration(run_python: RunPython) -> None:
    done = run_python(SITE % "{}" + "\nSecurityEvent.log('login_success', username='anna')")
    assert [json.loads(line)["context"]["event_type"] for line in done.stderr.splitlines()] == [
        "login_failed",
        "login_success",
    ]


@pytest.mark.parametrize("logger", ["security.events", "security"])
def test_a_project_that_configured_the_logger_gets_its_own_handlers_alone(run_python: RunPython, logger: str) -> None:
    done = run_python(SITE % configured(loggers={logger: {"handlers": ["out"], "level": "INFO"}}))
    assert done.stdout == "mine: Login failed: anna\n"
    assert done.stderr == ""


def test_a_project_that_silenced_the_logger_gets_silence(run_python: RunPython) -> None:
    silent = {"handlers": ["null"], "propagate": False}
    done = run_python(
        SITE % configured(handlers={"null": {"class": "logging.NullHandler"}}, loggers={"security.events": silent})
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_one_event_is_one_line_where_the_root_logger_has_a_handler_too(run_python: RunPython) -> None:
    done = run_python(SITE % configured(root={"handlers": ["out"], "level": "INFO"}))
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["context"]["username"] == "anna"


def test_events_can_be_logged_before_the_app_registry_is_ready(run_python: RunPython) -> None:
    done = run_python(
        "from django.conf import settings\n"
        "settings.configure(SECRET_KEY='x' * 50)\n"
        "from django.apps import apps\n"
        "from secguard.logging import SecurityEvent, security_event_logger\n"
        "for _ in range(4):\n"
        "    event = security_event_logger.log_login_failed(username='anna', ip_address='203.0.113.7')\n"
        "assert not apps.ready\n"
        "SecurityEvent.log('data_access', ip_address='203.0.113.7')\n"
        "print(event.context['failed_attempts_from_ip'])\n"
    )
    assert (done.stdout, done.returncode) == ("4\n", 0), done.stderr


# -- names of unknown accounts -------------------------------------------------------------------------------

DIGEST = {"UNKNOWN_ACCOUNT_NAMES": "digest"}


@override_settings(SECGUARD=DIGEST)
@pytest.mark.parametrize("key", ["username", "email"])
def test_the_name_of_an_account_that_does_not_exist_can_be_kept_out_of_the_log(key: str, lines: Lines) -> None:
    for _ in range(20):
        security_event_logger.log_login_failed(**{key: "Correct Horse@Battery"}, ip_address=ADDRESS)
    assert "horse" not in lines.getvalue().lower()
    assert re.fullmatch(r"account:[0-9a-f]{16}", lines.all[0]["context"]["username"])
    threats = [line["context"]["rule"] for line in lines.all if line["context"]["event_type"] == "suspicious_activity"]
    assert threats == ["brute_force", "account_failures"]


@override_settings(SECGUARD=DIGEST)
def test_one_unknown_account_has_one_digest() -> None:
    aliases = {
        security_event_logger.log_login_failed(username=name).context["username"]
        for name in ("hunter2", " HUNTER2", "hunter2")
    }
    assert len(aliases) == 1


@override_settings(SECGUARD=DIGEST)
@pytest.mark.parametrize("typed", ["anna", "ANNA", "anna@example.com"])
def test_the_name_of_an_account_that_exists_is_logged(typed: str) -> None:
    get_user_model().objects.create_user("anna", "anna@example.com", "pw")
    event = security_event_logger.log_login_failed(username=typed)
    assert typed in (event.context.get("username"), event.context.get("email"))


@override_settings(SECGUARD=DIGEST)
def test_without_the_database_no_name_is_logged(
    django_db_blocker: Any, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    with django_db_blocker.block():
        security_event_logger.log_login_failed(username="hunter22")
    assert "hunter22" not in lines.getvalue()
    assert [record.name for record in caplog.records if record.name == "secguard"] == ["secguard"]


# -- severities ----------------------------------------------------------------------------------------------


def test_failures_are_warnings_until_a_threat_is_open(events: CapturedEvents) -> None:
    fail(4)
    assert {event.severity for event in events} == {Severity.WARNING}


def test_a_failure_of_an_address_with_an_open_threat_is_an_error(events: CapturedEvents) -> None:
    fail(6)
    assert events.of("login_failed")[-1].severity is Severity.ERROR
    assert events.of("login_failed")[-1].context["is_suspicious"] is True


def test_a_failure_on_an_attacked_account_is_a_warning_where_the_address_is_innocent(events: CapturedEvents) -> None:
    for n in range(12):
        fail(address=f"198.51.100.{n}")
    last = events.of("login_failed")[-1]
    assert last.context["is_suspicious"] is True
    assert last.severity is Severity.WARNING


def test_only_the_opening_of_a_threat_is_critical(events: CapturedEvents) -> None:
    fail(9)
    assert [event.type for event in events if event.severity is Severity.CRITICAL] == ["suspicious_activity"]


@pytest.mark.parametrize(("failures", "severity"), [(0, "info"), (2, "info"), (3, "warning"), (4, "warning")])
def test_a_success_after_half_a_threshold_of_failures_is_a_warning(failures: int, severity: str) -> None:
    fail(failures)
    event = security_event_logger.log_login_success(email="anna@example.com", ip_address=ADDRESS)
    assert event.severity == severity
    assert event.context["failed_attempts_from_ip"] == failures


def test_a_success_forgives_the_accounts_failures_from_this_address() -> None:
    fail(4)
    security_event_logger.log_login_success(email="anna@example.com", ip_address=ADDRESS)
    assert security_event_logger.get_failed_login_count(ADDRESS) == 0


def test_a_success_forgives_no_other_accounts_failures() -> None:
    fail(3, email="bert@example.com")
    security_event_logger.log_login_success(email="anna@example.com", ip_address=ADDRESS)
    assert security_event_logger.get_failed_login_count(ADDRESS) == 3


def test_a_severity_that_is_given_stands(lines: Lines) -> None:
    event = security_event_logger.log_suspicious_activity(severity="warning", ip_address=ADDRESS)
    assert (event.severity, lines.last["level"]) == (Severity.WARNING, "WARNING")
    assert security_event_logger.log_suspicious_activity(ip_address=ADDRESS).severity is Severity.CRITICAL


# -- counts and questions ------------------------------------------------------------------------------------


def test_a_failures_line_carries_the_three_counts() -> None:
    fail(email="anna@example.com", address="198.51.100.1")
    fail(email="anna@example.com", address="198.51.100.2")
    fail(email="bert@example.com", address="198.51.100.2")
    event = security_event_logger.log_login_failed(email="anna@example.com", ip_address="198.51.100.2")
    counts = ("failed_attempts_from_ip", "unique_ips_for_email", "unique_emails_from_ip")
    assert [event.context[name] for name in counts] == [3, 2, 2]


def test_failed_logins_are_counted_by_address() -> None:
    fail(3)
    fail(1, address="203.0.113.8")
    assert security_event_logger.get_failed_login_count(ADDRESS) == 3
    assert security_event_logger.get_failed_login_count("203.0.113.8") == 1
    assert security_event_logger.get_failed_login_count("203.0.113.9") == 0


def test_addresses_of_one_64_are_one_address() -> None:
    for n in range(4):
        fail(address=f"2001:db8::{n:x}")
    assert security_event_logger.get_failed_login_count("2001:db8::ffff:ffff") == 4


def test_an_address_is_suspicious_while_a_threat_is_open() -> None:
    fail(4)
    assert not security_event_logger.is_suspicious_activity(ip_address=ADDRESS)
    fail(1)
    assert security_event_logger.is_suspicious_activity(ip_address=ADDRESS)
    assert not security_event_logger.is_suspicious_activity(ip_address="203.0.113.8")


def test_an_account_is_suspicious_while_a_threat_is_open() -> None:
    for n in range(10):
        assert not security_event_logger.is_suspicious_activity(email="anna@example.com")
        fail(address=f"198.51.100.{n}")
    assert security_event_logger.is_suspicious_activity(email="ANNA@example.com")
    assert not security_event_logger.is_suspicious_activity(email="bert@example.com")


def test_of_nobody_nothing_is_suspicious() -> None:
    fail(20)
    assert not security_event_logger.is_suspicious_activity()
    assert not security_event_logger.is_suspicious_activity(ip_address="no address", email="")


def test_reset_closes_the_threats_of_an_address_and_counts_from_nought() -> None:
    fail(6)
    security_event_logger.reset(ip_address=ADDRESS)
    assert not security_event_logger.is_suspicious_activity(ip_address=ADDRESS)
    assert security_event_logger.get_failed_login_count(ADDRESS) == 0


def test_reset_of_an_account_leaves_the_addresses_alone() -> None:
    for n in range(10):
        fail(address=f"198.51.100.{n}")
    security_event_logger.reset(email="anna@example.com")
    assert not security_event_logger.is_suspicious_activity(email="anna@example.com")
    assert security_event_logger.get_failed_login_count("198.51.100.3") == 1


def test_reset_refuses_to_reset_everybody() -> None:
    with pytest.raises(ValueError, match="needs ip_address"):
        security_event_logger.reset()


def test_username_and_email_name_the_same_account(events: CapturedEvents) -> None:
    for n in range(10):
        key = "email" if n % 2 else "username"
        security_event_logger.log_login_failed(**{key: "anna@example.com"}, ip_address=f"198.51.100.{n}")
    assert [event.context["rule"] for event in events.of("suspicious_activity")] == ["distributed_attack"]


def test_twenty_accounts_from_one_address_are_an_enumeration(events: CapturedEvents) -> None:
    with override_settings(SECGUARD={"RULES": {"brute_force": None}}):
        for n in range(20):
            fail(email=f"user{n}@example.com")
    assert [event.context["rule"] for event in events.of("suspicious_activity")] == ["account_enumeration"]


def test_four_guesses_from_each_of_five_addresses_are_a_threat_to_the_account(events: CapturedEvents) -> None:
    for n in range(5):
        fail(4, address=f"198.51.100.{n}")
    (threat,) = events.of("suspicious_activity")
    assert (threat.context["rule"], threat.context["subject"]) == ("account_failures", "anna@example.com")


def test_a_threat_is_signalled_with_its_event() -> None:
    heard: list[tuple[str, int, str]] = []

    def receive(threat: Any, event: Any, request: Any, **kwargs: Any) -> None:
        heard.append((threat.rule.name, threat.count, event.context["subject"]))

    threat_detected.connect(receive)
    fail(7)
    assert heard == [("brute_force", 5, ADDRESS)]


@override_settings(SECGUARD=MONITOR)
def test_a_hundred_threads_lose_no_failure_and_double_none() -> None:
    with ThreadPoolExecutor(100) as pool:
        list(pool.map(lambda _: fail(5), range(100)))
    assert security_event_logger.get_failed_login_count(ADDRESS) == 500


@override_settings(SECGUARD=MONITOR)
def test_a_threat_opens_once_however_many_threads_trip_the_rule(events: CapturedEvents) -> None:
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda n: fail(1, email=f"user{n}@example.com"), range(50)))
    opened = sorted(event.context["rule"] for event in events.of("suspicious_activity"))
    assert opened == ["account_enumeration", "brute_force", "credential_stuffing", "password_spraying"]


# -- thresholds ----------------------------------------------------------------------------------------------


class Strict(SecurityEventLogger):
    FAILED_LOGIN_THRESHOLD = 2
    DISTRIBUTED_ATTACK_THRESHOLD = 3
    DISTRIBUTED_ATTACK_WINDOW_MINUTES = 45
    ACCOUNT_ENUMERATION_WINDOW_MINUTES = 1.5


def rules_of(logger: SecurityEventLogger) -> dict[str, tuple[int, float]]:
    return {rule.name: (rule.threshold, rule.window) for rule in logger.effective_rules()}  # type: ignore[misc]


def test_the_class_attributes_are_the_defaults_of_the_rules() -> None:
    thresholds = SecurityEventLogger
    rules = rules_of(SecurityEventLogger())
    assert rules["brute_force"] == (thresholds.FAILED_LOGIN_THRESHOLD, thresholds.FAILED_LOGIN_WINDOW_MINUTES * 60)
    assert rules["distributed_attack"] == (
        thresholds.DISTRIBUTED_ATTACK_THRESHOLD,
        thresholds.DISTRIBUTED_ATTACK_WINDOW_MINUTES * 60,
    )
    assert rules["account_enumeration"] == (
        thresholds.ACCOUNT_ENUMERATION_THRESHOLD,
        thresholds.ACCOUNT_ENUMERATION_WINDOW_MINUTES * 60,
    )


def test_a_subclass_changes_the_rules_it_names_and_no_others() -> None:
    changed = {"brute_force": (2, 900), "distributed_attack": (3, 2700), "account_enumeration": (20, 90)}
    assert rules_of(Strict()) == {**rules_of(SecurityEventLogger()), **changed}


@override_settings(SECGUARD={"RULES": {"brute_force": {"threshold": 9, "window": timedelta(hours=1)}}})
def test_a_subclass_beats_the_rules_setting_which_beats_the_default() -> None:
    assert rules_of(SecurityEventLogger())["brute_force"] == (9, 3600)
    assert rules_of(Strict())["brute_force"] == (2, 3600)


class AskedFor(SecurityEventLogger):
    FAILED_LOGIN_THRESHOLD = 5


@override_settings(SECGUARD={"RULES": {"brute_force": {"threshold": 9}}})
def test_a_subclass_may_insist_on_the_default() -> None:
    assert rules_of(AskedFor())["brute_force"][0] == 5


@override_settings(SECGUARD={"RULES": {"brute_force": None}})
def test_a_subclass_turns_a_rule_on_again_that_the_setting_switched_off() -> None:
    assert "brute_force" not in rules_of(SecurityEventLogger())
    assert rules_of(Strict())["brute_force"] == (2, 900)


@override_settings(SECGUARD={"RULES": {"brute_force": None}})
def test_a_rule_that_is_off_is_not_in_the_line() -> None:
    event = security_event_logger.log_login_failed(username="anna", ip_address=ADDRESS)
    assert "failed_attempts_from_ip" not in event.context
    assert event.context["unique_emails_from_ip"] == 1


class Impossible(SecurityEventLogger):
    FAILED_LOGIN_THRESHOLD = 0


def test_a_threshold_out_of_range_says_which() -> None:
    with pytest.raises(InvalidRule, match="threshold is 0"):
        Impossible().effective_rules()


def test_a_subclass_works_on_its_own(events: CapturedEvents) -> None:
    strict = Strict()
    for _ in range(2):
        strict.log_login_failed(username="anna", ip_address=ADDRESS)
    assert [event.context["threshold"] for event in events.of("suspicious_activity")] == [2]
    assert strict.is_suspicious_activity(ip_address=ADDRESS)


@pytest.mark.parametrize("given", [f"{__name__}.Strict", Strict])
def test_logger_class_is_what_receivers_and_the_shared_logger_use(given: object, events: CapturedEvents) -> None:
    with override_settings(SECGUARD={"LOGGER_CLASS": given}):
        assert type(get_event_logger()).__name__ == "Strict"
        security_event_logger.log_login_failed(username="anna", ip_address=ADDRESS)
        user_login_failed.send(__name__, credentials={"username": "anna"}, request=get())
    assert [event.context["threshold"] for event in events.of("suspicious_activity")] == [2]


def test_the_shared_logger_follows_the_settings() -> None:
    with override_settings(SECGUARD={"LOGGER_CLASS": Strict}):
        assert isinstance(security_event_logger, Strict)
    assert not isinstance(security_event_logger, Strict)


# -- rules of the project's own ------------------------------------------------------------------------------


def own_rule(**fields: Any) -> dict[str, Any]:
    rule = {"events": "coupon_guess", "subject": "address", "threshold": 3, "window": 60, **fields}
    return {"RULES": {"coupons": rule}}


def test_a_rule_may_count_events_of_the_projects_own(events: CapturedEvents) -> None:
    with override_settings(SECGUARD=own_rule()):
        for _ in range(3):
            SecurityEvent.log("coupon_guess", ip_address=ADDRESS, coupon="x")
        assert security_event_logger.is_suspicious_activity(ip_address=ADDRESS)
    assert events.types == ["coupon_guess", "coupon_guess", "coupon_guess", "suspicious_activity"]
    threat = events[-1].context
    assert (threat["rule"], threat["subject"], threat["count"], threat["window_seconds"]) == ("coupons", ADDRESS, 3, 60)


def test_a_rule_may_count_several_types_together(events: CapturedEvents) -> None:
    with override_settings(SECGUARD=own_rule(events=["coupon_guess", "permission_denied", "data_access"])):
        SecurityEvent.log("coupon_guess", ip_address=ADDRESS)
        security_event_logger.log_permission_denied(ip_address=ADDRESS)
        security_event_logger.log_data_access(ip_address=ADDRESS)
    assert len(events.of("suspicious_activity")) == 1


def test_an_event_that_no_rule_counts_opens_nothing(events: CapturedEvents) -> None:
    for _ in range(50):
        SecurityEvent.log("coupon_guess", ip_address=ADDRESS)
    assert set(events.types) == {"coupon_guess"}


@pytest.mark.parametrize("distinct", ["coupon", "account"])
def test_a_rule_may_count_distinct_values_of_what_the_event_says(distinct: str, events: CapturedEvents) -> None:
    name = "username" if distinct == "account" else distinct
    with override_settings(SECGUARD=own_rule(distinct=distinct)):
        for value in ("a", "b", "a", "b"):
            SecurityEvent.log("coupon_guess", ip_address=ADDRESS, **{name: value})
        assert not events.of("suspicious_activity")
        SecurityEvent.log("coupon_guess", ip_address=ADDRESS, **{name: "c"})
    assert events.of("suspicious_activity")[0].context["count"] == 3


def test_a_rule_may_count_distinct_paths(events: CapturedEvents) -> None:
    with override_settings(SECGUARD=own_rule(events="permission_denied", distinct="path")):
        for path in ("/a", "/b", "/b", "/a?x=1", "/c"):
            assert not events.of("suspicious_activity")
            security_event_logger.log_permission_denied(request=get(path))
    assert events.of("suspicious_activity")[0].context["count"] == 3


def test_a_rule_may_count_distinct_user_agents(events: CapturedEvents) -> None:
    with override_settings(SECGUARD=own_rule(events="login_failed", subject="account", distinct="user_agent")):
        for agent in ("curl", "wget", "wget"):
            fail(request=get(HTTP_USER_AGENT=agent))
        assert not events.of("suspicious_activity")
        fail(user_agent="lynx")
    assert events.of("suspicious_activity")[0].context["rule"] == "coupons"


def test_a_rule_may_count_a_whole_network(events: CapturedEvents) -> None:
    with override_settings(SECGUARD=own_rule(subject="network", distinct="address")):
        for address in ("198.51.100.1", "198.51.101.1", "198.51.100.2", "198.51.100.1", "198.51.100.200"):
            assert not events.of("suspicious_activity")
            SecurityEvent.log("coupon_guess", ip_address=address)
    assert events.of("suspicious_activity")[0].context["subject"] == "198.51.100.0/24"


def test_a_rule_may_count_one_account_from_one_address(events: CapturedEvents) -> None:
    with override_settings(SECGUARD=own_rule(subject="pair")):
        for address, name in [(ADDRESS, "a"), (ADDRESS, "b"), ("203.0.113.8", "a"), (ADDRESS, "a"), (ADDRESS, "a")]:
            assert not events.of("suspicious_activity")
            SecurityEvent.log("coupon_guess", ip_address=address, username=name)
    assert events.of("suspicious_activity")[0].context["subject"] == f"{ADDRESS} a"


def test_a_rule_may_count_a_user_from_anywhere(events: CapturedEvents) -> None:
    user = get_user_model().objects.create_user("anna", password="pw")
    with override_settings(SECGUARD=own_rule(subject="user")):
        for n in range(3):
            SecurityEvent.log("coupon_guess", user=user, ip_address=f"198.51.{n}.1")
    assert events.of("suspicious_activity")[0].context["subject"] == str(user.pk)


def test_what_blocks_is_the_rules_own_network(events: CapturedEvents) -> None:
    with override_settings(SECGUARD=own_rule(subject="network", action="block", block_duration=60)):
        for n in range(3):
            SecurityEvent.log("coupon_guess", ip_address=f"198.51.100.{n}")
    (block,) = events.of("address_blocked")
    assert (block.context["subject"], block.context["duration_seconds"]) == ("198.51.100.0/24", 60)


# -- SecurityEvent.log ---------------------------------------------------------------------------------------


def test_an_event_of_the_vocabulary_can_be_logged_by_its_constant(lines: Lines) -> None:
    user = get_user_model().objects.create_user("anna", "anna@example.com", "pw")
    event = SecurityEvent.log(
        SecurityEvent.DATA_ACCESS, user=user, request=get("/report/"), message="Exported 7 rows", rows=7
    )
    assert (event.type, event.category, event.severity) == ("data_access", "data_access", "info")
    line = lines.last
    assert line["message"] == "Exported 7 rows"
    names = ("user_id", "username", "email", "ip_address", "path", "rows")
    assert [line["context"][name] for name in names] == [user.pk, "anna", "anna@example.com", ADDRESS, "/report/", 7]


def test_a_failed_login_logged_by_its_constant_counts_like_any_other() -> None:
    SecurityEvent.log(SecurityEvent.LOGIN_FAILED, ip_address=ADDRESS, username="anna")
    assert security_event_logger.get_failed_login_count(ADDRESS) == 1


def test_an_event_of_ones_own_is_a_threat_until_it_says_otherwise(lines: Lines) -> None:
    SecurityEvent.log("coupon_guess", username="anna")
    assert (lines.last["context"]["category"], lines.last["context"]["severity"]) == ("threat", "warning")
    assert lines.last["message"] == "Coupon guess: anna"
    SecurityEvent.log("coupon_guess", severity=SecurityEvent.SEVERITY_ERROR, category="account")
    assert (lines.last["context"]["category"], lines.last["context"]["severity"]) == ("account", "error")


@pytest.mark.parametrize("given", ["No {} here, {name} neither", "100 %s %d %", "{", "}}{{"])
def test_a_message_is_taken_literally(given: str, lines: Lines) -> None:
    SecurityEvent.log("coupon_guess", message=given, username="anna")
    assert lines.last["message"] == given


@pytest.mark.parametrize("name", ["{}", "{0.__class__}", "%s", "%(x)s"])
def test_a_name_in_a_message_is_taken_literally(name: str, lines: Lines) -> None:
    security_event_logger.log_login_failed(username=name)
    assert lines.last["message"] == f"Failed login attempt for {name}"


@pytest.mark.parametrize("bad", ["No Type", "", "a b", "x" * 65, None])
def test_what_is_no_event_type_is_refused(bad: Any, lines: Lines) -> None:
    with pytest.raises(ValueError, match="is no event type"):
        SecurityEvent.log(bad)
    assert lines.getvalue() == ""


@pytest.mark.parametrize("user", [None, AnonymousUser()])
def test_an_anonymous_user_has_no_names(user: Any) -> None:
    event = SecurityEvent.log("data_access", user=user)
    assert {"user_id", "username", "email"}.isdisjoint(event.context)


def test_a_lazy_user_is_a_user() -> None:
    user = get_user_model().objects.create_user("anna", password="pw")
    assert SecurityEvent.log("data_access", user=SimpleLazyObject(lambda: user)).context["username"] == "anna"


# -- modes ---------------------------------------------------------------------------------------------------


@override_settings(SECGUARD=MONITOR)
def test_in_monitor_mode_everything_is_logged_and_nobody_is_blocked(events: CapturedEvents) -> None:
    fail(7)
    assert len(events.of("login_failed")) == 7
    assert len(events.of("suspicious_activity")) == 1
    (suppressed,) = events.of("block_suppressed")
    assert (suppressed.context["reason"], suppressed.context["rule"]) == ("monitor", "brute_force")
    assert suppressed.context["subject"] == ADDRESS
    assert not events.of("address_blocked")


@override_settings(SECGUARD={"MODE": "off"})
def test_when_off_nothing_is_logged_and_nothing_counted(lines: Lines, events: CapturedEvents) -> None:
    fail(7)
    event = security_event_logger.log_login_success(username="anna", ip_address=ADDRESS)
    security_event_logger.attempt_passed(request=get())
    assert event.type == "login_success"
    assert (lines.getvalue(), events) == ("", [])
    assert security_event_logger.get_failed_login_count(ADDRESS) == 0


@override_settings(SECGUARD={"ALLOWLIST": ["203.0.113.0/24"]})
def test_an_allowlisted_address_is_counted_and_logged_but_not_blocked(events: CapturedEvents) -> None:
    fail(6)
    assert [event.context["reason"] for event in events.of("block_suppressed")] == ["allowlist"]
    assert len(events.of("suspicious_activity")) == 1
    assert not events.of("address_blocked")


@override_settings(SECGUARD={"BLOCK_DURATION": timedelta(hours=2)})
def test_a_tripped_rule_blocks_for_the_duration_that_is_set(events: CapturedEvents) -> None:
    fail(5)
    (block,) = events.of("address_blocked")
    assert (block.context["subject"], block.context["rule"]) == (ADDRESS, "brute_force")
    assert block.context["duration_seconds"] == 7200


# -- identifiers ---------------------------------------------------------------------------------------------


def suspects(names: list[Any], events: CapturedEvents) -> list[str]:
    """Log a failure of each name from an address of its own, in a rule that ten of one account trip."""
    for n, name in enumerate(names):
        security_event_logger.log_login_failed(username=name, ip_address=f"198.51.100.{n}")
    return [event.context["subject"] for event in events.of("suspicious_activity")]


def test_spellings_of_one_account_are_one_account(events: CapturedEvents) -> None:
    spellings = ["anna", "ANNA", " anna ", "\tAnna\n", "ａｎｎａ", "Ａｎｎａ", "𝐚𝐧𝐧𝐚", "ⓐⓝⓝⓐ", "annA", "anna\u00a0"]
    assert suspects(spellings, events) == ["anna"]


@pytest.mark.parametrize("twin", ["an\u200bna", "\u202eanna", "anna\u200d", "аnna"])
def test_a_name_with_invisible_or_foreign_letters_is_counted_on_its_own(twin: str, events: CapturedEvents) -> None:
    assert suspects(["anna"] * 9 + [twin], events) == []
    assert normalize_identifier(twin) != "anna"


@pytest.mark.parametrize("name", ["an\u200bna", "\u202eanna", "a\u2066b", "\ufeffanna"])
def test_invisible_letters_are_visible_in_the_log(name: str, lines: Lines) -> None:
    security_event_logger.log_login_failed(username=name)
    assert lines.getvalue().isascii()
    assert f"\\u{ord(next(c for c in name if ord(c) > 0xFF)):04x}" in lines.getvalue()


@pytest.mark.parametrize("nobody", [None, "", "   ", [], {}, ["anna"], {"a": 1}, True, b"", object])
def test_attempts_without_a_usable_name_share_no_counter(nobody: Any, events: CapturedEvents) -> None:
    assert suspects([nobody] * 25, events) == []
    assert len(events.of("login_failed")) == 25


def test_a_number_is_a_name(events: CapturedEvents) -> None:
    assert suspects([4711] * 5 + ["4711"] * 5, events) == ["4711"]


@pytest.mark.parametrize("value", [10**5000, -(10**5000), 1.5, float("nan"), b"\xff\xfe", {1, 2}], ids=type)
@pytest.mark.parametrize("key", ["username", "email", "user_id"])
def test_no_name_makes_the_logger_raise(key: str, value: Any, lines: Lines) -> None:
    security_event_logger.log_login_failed(**{key: value}, ip_address=ADDRESS)
    assert lines.last["context"]["event_type"] == "login_failed"


def test_a_megabyte_of_name_is_cut_in_the_log_and_counted_whole(lines: Lines, events: CapturedEvents) -> None:
    longest = "a" * 1_000_000
    assert suspects([longest + "x"] * 5 + [longest + "y"] * 5, events) == []
    assert all(len(line) <= 8192 for line in lines.getvalue().splitlines())
    assert len(suspects([longest + "x"] * 10, events)) == 1


@pytest.mark.parametrize("name", ["*", "{}", ":", "anna*", "a\nb", "sg:a:*", "?", "[a-z]", "203.0.113.7"])
def test_no_name_touches_another_counter(name: str) -> None:
    fail(4)
    security_event_logger.reset(email=name)
    security_event_logger.reset(ip_address=name) if name != ADDRESS else None
    security_event_logger.log_login_success(username=name, ip_address=ADDRESS)
    assert security_event_logger.get_failed_login_count(ADDRESS) == 4


# -- injection -----------------------------------------------------------------------------------------------

HOSTILE = [
    "a\r\nb",
    'x"}\n{"event_type":"login_success"}',
    "\x1b[31mred\x1b[0m",
    "a\u2028b\u2029c\x85d",
    "\x00\x07\x7f",
    "\ud800",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_whatever_stands_in_a_field_the_line_is_one_line_of_json(hostile: str, lines: Lines) -> None:
    security_event_logger.log_login_failed(
        email=hostile, ip_address=hostile, user_agent=hostile, reason=hostile, extra=hostile, **{hostile: hostile}
    )
    written = lines.getvalue()
    assert written.count("\n") == 1
    assert written.endswith("\n")
    assert written[:-1].isprintable()
    assert json.loads(written)["context"]["event_type"] == "login_failed"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_message_of_the_projects_own_stays_one_line(hostile: str, lines: Lines) -> None:
    SecurityEvent.log("coupon_guess", message=hostile)
    assert len(lines.getvalue().splitlines()) == 1
    assert lines.getvalue().rstrip("\n").isprintable()


def test_a_path_of_64_kilobytes_is_cut(lines: Lines) -> None:
    security_event_logger.log_permission_denied(request=get("/" + "a" * 65_536))
    assert len(lines.getvalue()) <= 8193
    assert lines.last["context"]["path"].startswith("/aaa")


def test_invalid_utf8_in_a_path_is_replaced(lines: Lines) -> None:
    request = get()
    request.path = "/caf\udce9/" + b"\xff\xfe".decode("utf-8", "replace")
    security_event_logger.log_permission_denied(request=request)
    assert lines.last["context"]["path"].startswith("/caf")
    lines.getvalue().encode()


class Raising:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def circular() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["self"] = found
    return found


STRANGE = {
    "set": {1, 2},
    "bytes": b"\xff",
    "uuid": uuid.UUID(int=0),
    "lazy": gettext_lazy("Yes"),
    "nan": float("nan"),
    "infinity": float("-inf"),
    "raising": Raising(),
    "circular": circular(),
    "class": object,
    "deep": [[[[[[[[]]]]]]]],
    "long": ["x" * 1000] * 1000,
}


@pytest.mark.parametrize("kind", STRANGE)
def test_any_extra_makes_a_valid_line(kind: str, lines: Lines) -> None:
    security_event_logger.log_data_access(username="anna", extra=STRANGE[kind])
    (line,) = lines.getvalue().splitlines()
    assert len(line) <= 8192
    found = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["context"]["event_type"] == "data_access"
    assert found["context"]["username"] == "anna"


@pytest.mark.parametrize("keyword", ["user_id", "email", "username", "ip_address", "user_agent", "reason"])
@pytest.mark.parametrize("kind", STRANGE)
def test_any_value_of_a_keyword_makes_a_valid_line(keyword: str, kind: str, lines: Lines) -> None:
    security_event_logger.log_login_failed(**{keyword: STRANGE[kind]})
    assert lines.last["context"]["event_type"] == "login_failed"


def test_an_extra_cannot_forge_what_happened(lines: Lines) -> None:
    security_event_logger.log_login_failed(
        username="anna", event_type="login_success", is_suspicious=True, event_id="mine", failed_attempts_from_ip=99
    )
    context = lines.last["context"]
    assert context["event_type"] == "login_failed"
    assert context["event_id"] != "mine"
    assert (context["is_suspicious"], context["failed_attempts_from_ip"]) == (False, 0)


def test_passwords_among_the_extras_are_not_logged(lines: Lines) -> None:
    security_event_logger.log_login_failed(username="anna", password="hunter22", api_token="hunter22")
    assert "hunter22" not in lines.getvalue()


# -- the receivers -------------------------------------------------------------------------------------------


def test_a_right_password_after_a_wrong_one_is_told_by_djangos_signals(events: CapturedEvents) -> None:
    user = get_user_model().objects.create_user("anna", "anna@example.com", "pw")
    user_login_failed.send(__name__, credentials={"username": "anna", "password": "***"}, request=get())
    user_logged_in.send(type(user), user=user, request=get())
    assert [(event.type, event.context["username"]) for event in events] == [
        ("login_failed", "anna"),
        ("login_success", "anna"),
    ]


def test_a_logout_is_an_event_of_its_user(events: CapturedEvents) -> None:
    user = get_user_model().objects.create_user("anna", password="pw")
    user_logged_out.send(type(user), user=user, request=get())
    user_logged_out.send(type(user), user=None, request=get())
    assert [(event.type, event.context["username"]) for event in events] == [("logout", "anna")]


def test_a_denial_is_one_event_however_many_layers_see_it(events: CapturedEvents) -> None:
    user = get_user_model().objects.create_user("anna", password="pw")
    request = get("/secret/")
    for reason in ("no_permission", "again"):
        permission_denied.send(__name__, request=request, user=user, reason=reason, view="secret")
    permission_denied.send(__name__, request=get("/other/"), user=AnonymousUser(), reason="anonymous")
    assert [(event.context["path"], event.context["reason"]) for event in events.of("permission_denied")] == [
        ("/secret/", "no_permission"),
        ("/other/", "anonymous"),
    ]
    assert (events[0].context["username"], events[0].context["view"]) == ("anna", "secret")


def test_when_off_djangos_signals_are_nothing_to_us(events: CapturedEvents) -> None:
    with override_settings(SECGUARD={"MODE": "off"}):
        user_login_failed.send(__name__, credentials={"username": "anna"}, request=get())
        permission_denied.send(__name__, request=get(), user=None)
    assert events == []


def test_a_receiver_of_ours_that_fails_does_not_fail_the_login(caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(SECGUARD={"LOGGER_CLASS": f"{__name__}.NoSuchClass"}):
        user_login_failed.send(__name__, credentials={"username": "anna"}, request=get())
    (record,) = [record for record in caplog.records if record.name == "secguard"]
    assert "on_login_failed" in record.getMessage()
    assert record.exc_info


@pytest.mark.parametrize(
    "credentials", [{}, {"username": None}, {"username": ""}, {"token": "x"}, {"username": ["a"]}, {"username": {}}]
)
def test_credentials_without_a_name_are_a_failure_of_nobody(credentials: Any, events: CapturedEvents) -> None:
    user_login_failed.send(__name__, credentials=credentials, request=get())
    assert events.types == ["login_failed"]
    assert events[0].context["ip_address"] == ADDRESS


def test_the_settings_in_force_are_read_late_and_wrong_ones_are_named() -> None:
    with override_settings(SECGUARD={"MODE": "sometimes"}), pytest.raises(ImproperlyConfigured, match="MODE"):
        security_event_logger.log_logout()
    assert sys.exc_info()[0] is None
