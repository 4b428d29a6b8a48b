"""Whoever reads lines learns no address and no name, where PRIVACY says so; who does what can still be followed."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from secguard import emit, records
from secguard.context import get_resolver
from secguard.detection import normalize_identifier
from secguard.events import Event, EventType
from secguard.formatters import SecurityJsonFormatter, text
from secguard.logging import SecurityEvent, security_event_logger, security_logger
from secguard.models import EventRecord
from secguard.pipeline import make_event, report_all_refusals, report_degraded
from secguard.privacy import shown_account, shown_address
from secguard.signals import threat_detected
from secguard.testing import CapturedEvents, capture_events
from tests.command.running import digest_of, fail, is_blocked

pytestmark = pytest.mark.django_db

HOST = "203.0.113.7"
MAIL = "anna.example@example.org"
MODES = ("truncate", "hmac")


@contextmanager
def privacy(mode: str, **more: Any) -> Iterator[None]:
    with override_settings(SECGUARD={"PRIVACY": mode, "HMAC_KEY": "0123456789abcdef", **more}):
        yield


@contextmanager
def written() -> Iterator[io.StringIO]:
    """What handlers write meanwhile: a line of JSON and one of text for each event."""
    out = io.StringIO()
    handlers = [logging.StreamHandler(out), logging.StreamHandler(out)]
    handlers[0].setFormatter(SecurityJsonFormatter())
    handlers[1].setFormatter(logging.Formatter("%(message)s %(context)s"))
    level = security_logger.level
    security_logger.setLevel(logging.INFO)
    for handler in handlers:
        security_logger.addHandler(handler)
    try:
        yield out
    finally:
        security_logger.setLevel(level)
        for handler in handlers:
            security_logger.removeHandler(handler)


def captured(act: Callable[[], object]) -> CapturedEvents:
    with capture_events() as events:
        act()
    return events


# -- how it looks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (HOST, "203.0.113.0/24"),
        ("2001:db8:1:2::7", "2001:db8:1::/48"),
        ("2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("203.0.113.0/24", "203.0.113.0/24"),
        ("no address", "no address"),
        ("", ""),
    ],
)
def test_a_truncated_address_is_a_network(address: str, expected: str) -> None:
    with privacy("truncate"):
        assert shown_address(address) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Anna", "a…"), (MAIL, "a…@…"), ("al", "…"), ("x", "…"), ("\u0301na", "…"), ("ＡＮＮＡ", "a…")],
)
def test_a_truncated_name_is_a_letter(name: str, expected: str) -> None:
    with privacy("truncate"):
        assert shown_account(name) == expected


def test_a_pseudonym_of_an_account_is_the_beginning_of_its_digest() -> None:
    with privacy("hmac"):
        assert shown_account(" Anna.Example@example.org") == f"account:{digest_of(MAIL)[:16]}"


def test_a_pseudonym_is_of_a_key() -> None:
    with privacy("hmac"):
        one = shown_address(HOST), shown_account(MAIL)
    with privacy("hmac", HMAC_KEY="another one of 16"):
        other = shown_address(HOST), shown_account(MAIL)
    assert not {*one} & {*other}


def test_the_addresses_of_one_64_have_one_pseudonym() -> None:
    with privacy("hmac"):
        assert shown_address("2001:db8::1") == shown_address("2001:db8::2") == shown_address("2001:db8::/64")
        assert shown_address("2001:db8::1") != shown_address("2001:db8:0:1::1")


def test_shown_once_more_a_pseudonym_stays() -> None:
    with privacy("hmac"):
        assert shown_account(shown_account(MAIL)) == shown_account(MAIL)
        assert shown_address(shown_address(HOST)) == shown_address(HOST)


def test_plain_shows_what_there_is() -> None:
    assert (shown_address("2001:db8::1"), shown_account("Anna")) == ("2001:db8::1", "Anna")
    event = captured(lambda: fail(1, HOST, MAIL))[0]
    assert event.original is None
    assert (event.context["ip_address"], event.context["email"]) == (HOST, MAIL)


# -- lines ---------------------------------------------------------------------------------------------------------


def test_one_subject_has_one_pseudonym_in_all_lines() -> None:
    with privacy("hmac"):
        events = captured(lambda: fail(5, HOST, MAIL))
        address, account = shown_address(HOST), shown_account(MAIL)
    assert {event.context["ip_address"] for event in events.of("login_failed")} == {address}
    assert {event.context["email"] for event in events.of("login_failed")} == {account}
    (threat,) = events.of("suspicious_activity")
    assert threat.context["subject"] == address
    assert threat.message == f"Threat brute_force: 5 on address {address} within 900 s"
    (block,) = events.of("address_blocked")
    assert (block.context["subject"], block.message) == (address, f"Blocked {address} for 900 s")


def test_what_is_counted_and_blocked_is_the_same() -> None:
    with privacy("hmac"):
        fail(5, HOST, MAIL)
        assert security_event_logger.get_failed_login_count(HOST) == 5
        assert is_blocked(HOST)
        assert [block.network for block in records.active_blocks()] == [HOST]


@pytest.mark.parametrize("name", ["for", "Failed", "login", "{}", "account", "of", "a", "attempt for"])
@pytest.mark.parametrize("mode", MODES)
def test_a_name_that_is_a_word_of_the_message_changes_no_other_word(mode: str, name: str) -> None:
    with privacy(mode):
        (event,) = captured(lambda: security_event_logger.log_login_failed(username=name, ip_address=HOST))
        assert event.message == f"Failed login attempt for {shown_account(name)}"
        assert event.context["reason"] == "invalid_credentials"
        assert event.context["username"] == shown_account(name)


@pytest.mark.parametrize("mode", MODES)
def test_a_number_of_times_is_said_behind_a_name(mode: str) -> None:
    def denials() -> None:
        for _ in range(30):
            security_event_logger.log_permission_denied(username="annabelle", ip_address=HOST)
        report_all_refusals()

    with privacy(mode, MAX_LINES_PER_MINUTE=1):
        events = captured(denials)
    assert "annabelle" not in repr([(event.message, event.context) for event in events])


@pytest.mark.parametrize("mode", MODES)
def test_names_and_addresses_in_a_text_are_blotted_out(mode: str) -> None:
    with privacy(mode):
        (event,) = captured(
            lambda: SecurityEvent.log(
                "suspicious_activity",
                ip_address=HOST,
                username="annabelle",
                message="Annabelle wrote to ben@example.net from 198.51.100.9 and 2001:db8::5.",
                reason=f"annabelle, {MAIL}: at {HOST}, annabelles",
                seen=[{"client_ip": "198.51.100.9", "to": "ben@example.net"}],
                old_email="old@example.net",
                phone_number=49301234567,
                by="operator",
            )
        )
        anna, ben = shown_account("annabelle"), shown_account("ben@example.net")
        far, near = shown_address("198.51.100.9"), shown_address(HOST)
        assert event.message == f"{anna} wrote to {ben} from {far} and {shown_address('2001:db8::5')}."
        assert event.context["reason"] == f"{anna}, {shown_account(MAIL)}: at {near}, annabelles"
        assert event.context["seen"] == [{"client_ip": far, "to": ben}]
        assert event.context["old_email"] == shown_account("old@example.net")
        assert event.context["phone_number"] == shown_account("49301234567")
        assert event.context["by"] == "operator"


@pytest.mark.parametrize("mode", MODES)
def test_what_is_no_name_stays(mode: str) -> None:
    with privacy(mode):
        events = captured(lambda: fail(1, HOST, MAIL))
    context, original = events[0].context, events[0].original
    assert original is not None
    changed = {key for key in context if context[key] != original.context[key]}
    assert changed == {"email", "ip_address"}


def test_a_user_without_a_name_is_shown_by_his_number() -> None:
    with privacy("hmac"):
        (event,) = captured(lambda: security_event_logger.log_logout(user_id=5, ip_address=HOST))
    assert (event.message, event.context["user_id"]) == ("Logout of 5", 5)


def test_subjects_of_the_projects_own_are_pseudonyms_altogether() -> None:
    with privacy("truncate"):
        event = make_event(
            EventType.SUSPICIOUS_ACTIVITY, "On {}", {"subject": f"{HOST} Firefox"}, name=f"{HOST} Firefox"
        )
        event.context["subject_type"] = "browser"
        (shown,) = captured(lambda: emit.emit(event))
    assert shown.context["subject"].startswith("browser:")
    assert shown.message == f"On {shown.context['subject']}"


def test_an_outage_still_names_the_server() -> None:
    with privacy("hmac"):
        (event,) = captured(lambda: report_degraded("store", OSError("10.0.0.5:6379 is away"), "Look at it."))
    assert "10.0.0.5:6379 is away" in event.message


# -- who is told what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_who_must_act_is_told_whom_it_is_about(mode: str) -> None:
    told: list[Any] = []

    def hear(threat: Any, event: Event, **kwargs: Any) -> None:
        told.append((threat.subject, event.context["ip_address"]))

    threat_detected.connect(hear)
    try:
        with privacy(mode):
            fail(5, HOST, MAIL)
    finally:
        threat_detected.disconnect(hear)
    assert told == [(HOST, HOST)]


def test_a_sink_finds_what_happened_beside_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Event] = []
    monkeypatch.setattr(emit, "sinks", [seen.append])
    with privacy("hmac"):
        fail(1, HOST, MAIL)
    (event,) = seen
    assert event.original is not None
    assert (event.context["ip_address"], event.original.context["ip_address"]) == (shown_in_hmac(HOST), HOST)


def shown_in_hmac(address: str) -> str:
    with privacy("hmac"):
        return shown_address(address)


def test_an_event_that_cannot_be_shown_is_still_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("secguard.privacy._Veil.message", lambda self, event: 1 / 0)
    with privacy("hmac"):
        (event,) = captured(lambda: fail(1, HOST, MAIL))
    assert event.message == event.type == "login_failed"
    assert not {HOST, MAIL} & {*map(str, event.context.values())}
    assert "could not be shown as PRIVACY has it" in caplog.text


def test_with_settings_that_are_wrong_nothing_more_is_shown() -> None:
    with privacy("hmac", MODE="nonsense"):
        (event,) = captured(
            lambda: emit.emit(
                make_event(EventType.ADDRESS_UNBLOCKED, "Unblocked {}", {"subject": HOST, "by": "op"}, name=HOST)
            )
        )
    assert event.message == "Unblocked 203.0.113.0/24"


# -- whatever they are called --------------------------------------------------------------------------------------

#: Long enough that none of it stands in a line by accident.
names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20).map(lambda text: f"q{text}zq7")
locals_, hosts = (st.from_regex(pattern, fullmatch=True) for pattern in (r"[a-z0-9.+-]{1,12}", r"[a-z0-9]{1,8}"))
mails = st.builds(lambda local, host: f"{local}.xq9@{host}zq.example", locals_, hosts)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)


def forms(name: str) -> set[str]:
    """How a name might stand in a line: as typed, normalised, escaped."""
    found = {name, name.strip(), normalize_identifier(name) or name, text.one_line(name)}
    found |= {json.dumps(each)[1:-1] for each in found} | {repr(each)[1:-1] for each in found}
    return {each.casefold() for each in found if each}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mode=st.sampled_from(MODES), name=st.one_of(names, mails), address=addresses)
@example(mode="hmac", name="q?token=xzq7", address="::1")
@example(mode="hmac", name="q{}zq7", address="::")
@example(mode="truncate", name="q" + "\u202e" * 5 + "zq7", address="198.51.100.7")
@example(mode="truncate", name="q" * 300 + "zq7", address="198.51.100.7")
def test_no_line_row_or_signal_holds_a_name_or_an_address(mode: str, name: str, address: str) -> None:
    with privacy(mode):
        client = get_resolver().address(address)
        assume(client is not None and address not in shown_address(address))
        seen: list[Event] = []
        emit.sinks.append(seen.append)
        try:
            with written() as out, capture_events() as events:
                log_everything(name, address)
        finally:
            emit.sinks.pop()
    said = [out.getvalue(), *(f"{event.message}\n{event.context!r}" for event in [*events, *seen])]
    assert len(events) > 15
    for each in said:
        lowered = each.casefold()
        for form in forms(name):
            assert form not in lowered
        assert not contains_address(lowered, address)


def contains_address(said: str, address: str) -> bool:
    at = -1
    while (at := said.find(address, at + 1)) >= 0:
        before, after = said[at - 1 : at], said[at + len(address) : at + len(address) + 1]
        if before not in (*"0123456789abcdef:.",) and after not in (*"0123456789abcdef:.",):
            return True
    return False


def log_everything(name: str, address: str) -> None:
    log = security_event_logger
    who = {"username": name, "ip_address": address}
    for _ in range(5):
        log.log_login_failed(**who)
    log.log_login_success(**who)
    log.log_account_locked(**who, reason=f"{name} asked from {address}", by="op")
    log.log_account_unlocked(**who)
    log.log_data_access(None, f"profile of {name}", object=name, **who)
    log.log_suspicious_activity(**who, message=f"{name} at {address}")
    log.log("email_changed", old_email=name, changed_email=name, **who)
    log.log("my_own_event", message=f"({name})", detail={"client": [address, {"email": name}]}, **who)
    for event_type, message, details in (
        (EventType.ADDRESS_UNBLOCKED, "Unblocked {}", {"subject": address}),
        (EventType.ACCOUNT_UNLOCKED, "Account {} unlocked", {"username": name}),
        (EventType.SUSPICIOUS_ACTIVITY, "Threat: {}", {"subject": f"{address} {name}", "subject_type": "pair"}),
        (EventType.SUSPICIOUS_ACTIVITY, "Threat: {}", {"subject": name, "subject_type": "account"}),
        (EventType.SUSPICIOUS_ACTIVITY, "Threat: {}", {"subject": f"{name}!", "subject_type": "own"}),
        (EventType.BLOCK_SUPPRESSED, "Did not refuse {}, which rules would block", {"subject": name}),
    ):
        whom = str(details.get("subject") or details["username"])
        emit.emit(make_event(event_type, message, dict(details), name=whom))
    report_all_refusals()


# -- rows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_row_shows_what_its_line_shows_and_is_found_by_the_digest(mode: str) -> None:
    with privacy(mode, PERSIST_EVENTS="all"):
        events = captured(lambda: fail(5, HOST, MAIL))
        records.save_at_exit()
        rows = {str(row.event_id): row for row in EventRecord.objects.all()}
        assert len(rows) == len(events)
        for event in events:
            row = rows[event.context["event_id"]]
            assert row.message == event.message
            assert row.network == shown_address(HOST)
            if event.type == "login_failed":
                assert (row.ip_address, row.account) == (shown_address(HOST), shown_account(MAIL))
                assert row.account_digest == digest_of(MAIL)
    shown = repr([(row.message, row.ip_address, row.network, row.account, row.extra) for row in rows.values()])
    assert HOST not in shown
    assert MAIL not in shown


def test_the_name_of_no_account_is_the_same_pseudonym() -> None:
    with privacy("hmac", UNKNOWN_ACCOUNT_NAMES="digest"):
        (event,) = captured(lambda: fail(1, HOST, "nobody at all"))
        assert event.context["username"] == shown_account("nobody at all")
        assert event.message == f"Failed login attempt for {shown_account('nobody at all')}"


def test_what_a_log_of_its_own_failures_says_is_shown_so_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("secguard.records.operators.reset_counters", lambda *given: 1 / 0)
    with privacy("truncate"):
        records.block_network(HOST)
        records.unblock_network(HOST)
    assert "the counters of 203.0.113.0/24 could not be reset" in caplog.text
