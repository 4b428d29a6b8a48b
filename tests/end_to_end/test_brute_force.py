"""Guesses at passwords: what they get, what is counted, and whom a right one forgives."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.logging import security_event_logger
from secguard.models import Block
from secguard.testing import CapturedEvents, ManualClock
from tests.end_to_end.conftest import Configure, Lines, Visit
from tests.end_to_end.entry import ADDRESS, RIGHT, WRONG, Visitor

pytestmark = pytest.mark.usefixtures("anna", "bert")

UNRELIABLE = [
    "secguard.backends.SecurityGuardBackend",
    "tests.end_to_end.backends.CrashingBackend",
    "tests.end_to_end.backends.CountingBackend",
]


def crash(visitor: Visitor, times: int) -> list[int]:
    """Attempts that end with neither signal: a later backend raises."""
    return [visitor.log_in("anna", "crash").status_code for _ in range(times)]


def test_the_sixth_guess_is_refused(visitor: Visitor) -> None:
    assert visitor.guess(6) == [200] * 5 + [403]


def test_a_refusal_says_when_to_come_back(visitor: Visitor) -> None:
    visitor.guess(5)
    assert visitor.log_in()["Retry-After"] == "900"


def test_the_sixth_guess_never_reaches_the_password(visitor: Visitor, checked: list[object]) -> None:
    visitor.guess(8)
    assert checked == ["anna"] * 5


def test_every_page_is_closed_to_a_blocked_address(visitor: Visitor) -> None:
    visitor.guess(5)
    assert visitor.get("home/").status_code == 403


def test_other_addresses_are_served(visitor: Visitor, visit: Visit) -> None:
    visitor.guess(6)
    assert visit("192.0.2.2").log_in().status_code == 302


def test_a_block_is_saved(visitor: Visitor) -> None:
    visitor.guess(5)
    block = Block.objects.get()
    assert (block.network, block.rule) == (ADDRESS, "brute_force")
    assert (block.expires_at - block.created_at).total_seconds() == 900


def test_a_threat_and_its_block_are_told_once(visitor: Visitor, events: CapturedEvents) -> None:
    visitor.guess(9)
    told = [event.type for event in events if event.type not in ("login_failed", "request_blocked")]
    assert told == ["suspicious_activity", "address_blocked"]


def test_each_guess_is_an_event_that_tells_the_count(visitor: Visitor, events: CapturedEvents) -> None:
    visitor.guess(5)
    assert [event.context["failed_attempts_from_ip"] for event in events.of("login_failed")] == [1, 2, 3, 4, 5]


def test_a_block_ends(visitor: Visitor, configure: Configure, clock: ManualClock) -> None:
    configure(SYNC_INTERVAL=3600)  # the database's clock cannot be advanced
    visitor.guess(5)
    clock.advance(899)
    assert visitor.get("home/").status_code == 403
    clock.advance(1)
    assert visitor.get("home/").status_code == 200


def test_the_answer_counts_down(visitor: Visitor, configure: Configure, clock: ManualClock) -> None:
    configure(SYNC_INTERVAL=3600)
    visitor.guess(5)
    clock.advance(300)
    assert visitor.get("home/")["Retry-After"] == "600"


def test_block_duration_is_a_setting(visitor: Visitor, configure: Configure) -> None:
    configure(BLOCK_DURATION=60)
    visitor.guess(5)
    assert visitor.log_in()["Retry-After"] == "60"


# -- what a right password forgives ----------------------------------------------------------------------


def test_a_right_password_forgives_the_typos_before_it(visitor: Visitor) -> None:
    visitor.guess(4)
    assert visitor.log_in().status_code == 302
    assert security_event_logger.get_failed_login_count(ADDRESS) == 0


def test_a_right_password_does_not_forgive_guesses_at_others(visitor: Visitor) -> None:
    visitor.guess(4, username="bert")
    visitor.log_in("anna")
    assert security_event_logger.get_failed_login_count(ADDRESS) == 4


def test_one_valid_account_gives_no_unlimited_guesses(visitor: Visitor, checked: list[object]) -> None:
    for _ in range(6):
        visitor.guess(1, username="bert")
        visitor.log_in("anna")
    assert checked.count("bert") == 5


def test_a_right_password_does_not_forgive_guesses_from_elsewhere(visit: Visit) -> None:
    visit("192.0.2.66").guess(4)
    visit().log_in()
    assert security_event_logger.get_failed_login_count("192.0.2.66") == 4


def test_many_right_passwords_from_one_address_are_all_let_in(visit: Visit) -> None:
    assert [visit().log_in().status_code for _ in range(12)] == [302] * 12


def test_a_success_after_several_failures_is_a_warning(visitor: Visitor, events: CapturedEvents) -> None:
    visitor.guess(3)
    visitor.log_in()
    assert [event.severity for event in events.of("login_success")] == ["warning"]


def test_a_second_guess_in_the_same_request_forgives_the_first(visitor: Visitor) -> None:
    names = {"email": "anna@example.com", "username": "anna", "password": RIGHT}
    assert [visitor.post("log_in_by_mail_or_name/", names).status_code for _ in range(8)] == [302] * 8
    assert security_event_logger.get_failed_login_count(ADDRESS) == 0


def test_two_wrong_guesses_in_one_request_count_as_two(visitor: Visitor) -> None:
    names = {"email": "anna@example.com", "username": "anna", "password": WRONG}
    visitor.post("log_in_by_mail_or_name/", names)
    assert security_event_logger.get_failed_login_count(ADDRESS) == 2


# -- attempts that end with neither signal ---------------------------------------------------------------


def test_a_crash_of_a_later_backend_is_no_failure_but_limits(
    visitor: Visitor, settings: Any, events: CapturedEvents
) -> None:
    settings.AUTHENTICATION_BACKENDS = UNRELIABLE
    assert crash(visitor, 6) == [500] * 5 + [403]
    assert set(events.types) == {"attempt_refused"}


def test_a_crash_leaves_no_attempt_in_flight(visitor: Visitor, settings: Any, configure: Configure) -> None:
    configure(RESERVE_WAIT=0)
    settings.AUTHENTICATION_BACKENDS = UNRELIABLE
    crash(visitor, 4)
    # A slot still held would leave none, and without a wait this login would be refused.
    assert visitor.log_in().status_code == 302


def test_a_swallowed_crash_limits_too(visitor: Visitor, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = UNRELIABLE
    data = {"username": "anna", "password": "crash"}
    assert [visitor.post("swallow/", data).status_code for _ in range(6)] == [200] * 5 + [403]


def test_a_refused_attempt_gets_the_answer_of_a_blocked_address(visitor: Visitor, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = UNRELIABLE
    crash(visitor, 5)
    refused = visitor.log_in("anna", RIGHT)
    assert refused.status_code == 403
    assert b"wrong password" not in refused.content
    assert 0 < int(refused["Retry-After"]) <= 900


def test_a_refused_attempt_never_reaches_the_password(visitor: Visitor, settings: Any, checked: list[object]) -> None:
    settings.AUTHENTICATION_BACKENDS = UNRELIABLE
    crash(visitor, 5)
    visitor.log_in("anna", RIGHT)
    assert checked == []


def test_a_refused_attempt_is_no_failed_login(visitor: Visitor, settings: Any, events: CapturedEvents) -> None:
    settings.AUTHENTICATION_BACKENDS = UNRELIABLE
    crash(visitor, 5)
    visitor.log_in("anna", WRONG)
    assert events.types == ["attempt_refused"]


def test_attempts_of_unknown_outcome_open_no_threat(visitor: Visitor, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = UNRELIABLE
    crash(visitor, 9)
    assert not Block.objects.exists()


def test_pages_stay_open_to_an_address_that_only_its_reservation_refuses(visitor: Visitor, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = UNRELIABLE
    crash(visitor, 6)
    assert visitor.get("home/").status_code == 200


# -- the modes -------------------------------------------------------------------------------------------


def test_monitor_mode_refuses_nobody(visitor: Visitor, configure: Configure) -> None:
    configure(MODE="monitor")
    assert visitor.guess(8) == [200] * 8
    assert visitor.log_in().status_code == 302
    assert not Block.objects.exists()


def test_monitor_mode_says_what_it_would_have_done(visitor: Visitor, configure: Configure, lines: Lines) -> None:
    configure(MODE="monitor")
    visitor.guess(8)
    told = [line for line in lines() if line["context"]["event_type"] != "login_failed"]
    assert [(line["level"], line["context"]["event_type"]) for line in told] == [
        ("CRITICAL", "suspicious_activity"),
        ("WARNING", "block_suppressed"),
    ]
    assert told[1]["context"]["reason"] == "monitor"


def test_a_failure_under_an_open_threat_is_an_error(
    visitor: Visitor, configure: Configure, events: CapturedEvents
) -> None:
    configure(MODE="monitor")
    visitor.guess(6)
    assert events.of("login_failed")[-1].severity == "error"


def test_off_does_nothing(visitor: Visitor, configure: Configure, events: CapturedEvents) -> None:
    configure(MODE="off")
    assert visitor.guess(8) == [200] * 8
    assert events == []
    assert security_event_logger.get_failed_login_count(ADDRESS) == 0


# -- who and what is exempt ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secguard", "reason"),
    [({"ALLOWLIST": ["192.0.2.0/24"]}, "allowlist"), ({"TRUSTED_PROXIES": ["192.0.2.0/24"]}, "trusted_proxy")],
    ids=["allowlist", "trusted-proxy"],
)
def test_the_exempt_are_logged_and_never_refused(
    visitor: Visitor, configure: Configure, events: CapturedEvents, secguard: dict[str, Any], reason: str
) -> None:
    configure(**secguard)
    assert visitor.guess(8) == [200] * 8
    assert not Block.objects.exists()
    assert len(events.of("login_failed")) == 8
    assert [event.context["reason"] for event in events.of("block_suppressed")] == [reason]


def test_an_exempt_path_is_served_to_a_blocked_address(visitor: Visitor, configure: Configure) -> None:
    configure(EXEMPT_PATHS=["/healthz"])
    visitor.guess(5)
    assert visitor.get("/healthz").status_code == 200
    assert visitor.get("home/").status_code == 403


# -- several layers --------------------------------------------------------------------------------------


def test_the_middleware_twice_does_no_harm(visitor: Visitor, settings: Any, events: CapturedEvents) -> None:
    settings.MIDDLEWARE = [settings.MIDDLEWARE[0], *settings.MIDDLEWARE]
    assert visitor.guess(6) == [200] * 5 + [403]
    assert len(events.of("login_failed")) == 5
    assert len(events.of("request_blocked")) == 1


def test_from_the_signals_alone_guesses_are_counted_and_blocked(visitor: Visitor, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["tests.end_to_end.backends.CountingBackend"]
    assert visitor.guess(6) == [200] * 5 + [403]


def test_from_the_signals_alone_a_right_password_forgives(visitor: Visitor, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["tests.end_to_end.backends.CountingBackend"]
    visitor.guess(4)
    visitor.log_in()
    assert security_event_logger.get_failed_login_count(ADDRESS) == 0


def test_without_the_middleware_guesses_are_still_limited(
    visitor: Visitor, settings: Any, checked: list[object]
) -> None:
    settings.MIDDLEWARE = settings.MIDDLEWARE[1:]
    visitor.guess(8)
    assert checked == ["anna"] * 5
    assert Block.objects.count() == 1
