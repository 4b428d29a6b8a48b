"""What Django refuses, and what it tells nobody: each refusal is one event, at both entry points."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core import mail
from django.test import Client

from secguard.blocking.refusals import MAX_LINES_PER_SECOND
from secguard.logging import security_event_logger
from secguard.models import Block
from secguard.pipeline import report_overdue_refusals
from secguard.testing import CapturedEvents, ManualClock
from tests.end_to_end.conftest import Configure, Visit
from tests.end_to_end.entry import ADDRESS, RIGHT, WRONG, Visitor

pytestmark = pytest.mark.usefixtures("anna")


@pytest.fixture
def signed_in(visitor: Visitor, anna: User, events: CapturedEvents) -> Visitor:
    visitor.log_in()
    del events[:]
    return visitor


def rules_tripped(events: CapturedEvents) -> list[str]:
    return [event.context["rule"] for event in events.of("suspicious_activity")]


class TestADenial:
    def test_by_an_exception_is_one_event(self, visitor: Visitor, events: CapturedEvents) -> None:
        assert visitor.get("deny/").status_code == 403
        (denied,) = events
        assert (denied.type, denied.context["reason"]) == ("permission_denied", "not yours")
        assert denied.context["view"].endswith("deny")

    def test_by_a_response_is_one_event(self, visitor: Visitor, events: CapturedEvents) -> None:
        assert visitor.get("forbid/").status_code == 403
        assert events.types == ["permission_denied"]

    def test_by_hand_is_one_event(self, visitor: Visitor, events: CapturedEvents) -> None:
        assert visitor.get("deny_by_hand/").status_code == 403
        assert events.types == ["permission_denied"]

    def test_by_a_redirect_to_the_login_page_is_one_if_somebody_is_logged_in(
        self, signed_in: Visitor, events: CapturedEvents
    ) -> None:
        assert signed_in.get("for_the_permitted/").status_code == 302
        (denied,) = events
        assert (denied.type, denied.context["username"]) == ("permission_denied", "anna")
        assert denied.context["reason"] == "redirected_to_login"

    def test_is_no_redirect_of_somebody_who_has_to_log_in(self, visitor: Visitor, events: CapturedEvents) -> None:
        for page in ("for_the_permitted/", "for_users/", "/admin/"):
            assert visitor.get(page).status_code == 302
        assert events.types == []

    def test_is_no_redirect_to_another_page(self, signed_in: Visitor, events: CapturedEvents) -> None:
        assert signed_in.get("confirm/").status_code == 302
        assert events.types == []

    def test_is_nothing_for_the_permitted(self, visitor: Visitor, anna: User, events: CapturedEvents) -> None:
        anna.user_permissions.add(Permission.objects.get(codename="delete_user"))
        visitor.log_in()
        assert visitor.get("for_the_permitted/").status_code == 200
        assert "permission_denied" not in events.types

    def test_by_the_admin_is_one_event(self, signed_in: Visitor, events: CapturedEvents) -> None:
        assert signed_in.get("/admin/auth/user/").status_code == 302
        assert events.types == ["permission_denied"]

    def test_may_be_switched_off(self, visitor: Visitor, configure: Any, events: CapturedEvents) -> None:
        configure(DISABLED_EVENTS=["permission_denied"])
        for _ in range(12):
            assert visitor.get("deny/").status_code == 403
        assert events.types == []

    def test_ten_of_one_address_are_a_probe_that_blocks_nobody(self, visitor: Visitor, events: CapturedEvents) -> None:
        assert {visitor.get("deny/").status_code for _ in range(12)} == {403}
        assert rules_tripped(events) == ["permission_probing"]
        assert not Block.objects.exists()

    def test_ten_of_one_user_are_a_probe_from_wherever(self, visit: Any, anna: User, events: CapturedEvents) -> None:
        for number in range(10):
            visitor = visit(f"198.51.100.{number}")
            visitor.log_in()
            visitor.get("deny/")
        assert rules_tripped(events) == ["permission_probing"]
        assert events.of("suspicious_activity")[0].context["subject"] == f"user {anna.pk}"


class TestWhatDjangoTellsItsLoggersAlone:
    @pytest.fixture(autouse=True)
    def _null_handlers(self) -> Iterator[None]:
        """As Django's documentation advises for DisallowedHost."""
        names = ("django.security.DisallowedHost", "django.security.csrf", "django.security.SuspiciousFileOperation")
        loggers = [logging.getLogger(name) for name in names]
        handler = logging.NullHandler()
        for logger in loggers:
            logger.addHandler(handler)
            logger.propagate = False
        yield
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True

    def test_an_unknown_host_is_one_event(self, visitor: Visitor, settings: Any, events: CapturedEvents) -> None:
        settings.ALLOWED_HOSTS = ["testserver"]
        visitor.headers["Host"] = "evil.example"
        assert visitor.get("/accounts/reset").status_code == 400
        (refused,) = events
        assert refused.type == "disallowed_host"
        assert refused.context["host"].endswith("evil.example")  # the test client for ASGI sends its own, too

    def test_a_suspicious_operation_is_one_event(self, visitor: Visitor, events: CapturedEvents) -> None:
        assert visitor.get("suspect/").status_code == 400
        (suspicious,) = events
        assert suspicious.type == "suspicious_operation"
        assert suspicious.context["exception"] == "SuspiciousFileOperation"
        assert suspicious.context["reason"] == "../../etc/passwd"

    def test_a_failed_csrf_check_is_one_event_and_no_denial(self, entry: Any, events: CapturedEvents) -> None:
        client = Client(enforce_csrf_checks=True, REMOTE_ADDR=ADDRESS)
        assert client.post("/accounts/login/", {"username": "anna", "password": WRONG}).status_code == 403
        (failed,) = events
        assert (failed.type, failed.context["path"]) == ("csrf_failed", "/accounts/login/")
        assert "CSRF cookie not set" in failed.context["reason"]
        assert security_event_logger.get_failed_login_count(ADDRESS) == 0


class TestEnumeration:
    def test_through_password_resets_blocks(self, visitor: Visitor, events: CapturedEvents) -> None:
        answers = [
            visitor.post("/accounts/reset/", {"email": f"user{number}@example.com"}).status_code for number in range(21)
        ]
        assert answers == [302] * 20 + [403]
        assert rules_tripped(events) == ["account_enumeration"]
        assert events.types.count("password_reset_requested") == 20

    def test_is_not_asking_for_ones_own_again_and_again(self, visitor: Visitor, events: CapturedEvents) -> None:
        for _ in range(25):
            visitor.post("/accounts/reset/", {"email": "anna@example.com"})
        assert len(mail.outbox) == 25
        assert rules_tripped(events) == []


class TestForcedBrowsing:
    def test_is_counted_only_if_asked_for(self, visitor: Visitor, events: CapturedEvents) -> None:
        assert {visitor.get(f"/no/{number}").status_code for number in range(35)} == {404}
        assert events.types == []

    def test_blocks_who_asks_for_thirty_pages_that_are_not_there(
        self, visitor: Visitor, configure: Any, events: CapturedEvents
    ) -> None:
        configure(RULES={"forced_browsing": True})
        assert [visitor.get(f"/no/{number}").status_code for number in range(31)] == [404] * 30 + [403]
        assert rules_tripped(events) == ["forced_browsing"]
        assert "not_found" not in events.types

    def test_is_not_one_broken_link_however_often(
        self, visitor: Visitor, configure: Any, events: CapturedEvents
    ) -> None:
        configure(RULES={"forced_browsing": True})
        assert {visitor.get("/no/picture").status_code for _ in range(40)} == {404}


class TestASuccess:
    def test_after_an_attack_on_the_account_is_critical(self, visit: Any, events: CapturedEvents) -> None:
        for number in range(10):
            visit(f"198.51.100.{number}").guess(1)
        visit("203.0.113.5").log_in()
        assert rules_tripped(events) == ["distributed_attack", "success_after_attack"]
        last = events.of("suspicious_activity")[-1]
        assert (last.context["technique"], last.severity) == ("T1078", "critical")
        assert last.context["open_threats"] == ["distributed_attack"]
        assert last.context["ip_address"] == "203.0.113.5"

    def test_after_an_attack_is_told_once_and_keeps_itself_open_no_longer(
        self, visit: Any, events: CapturedEvents
    ) -> None:
        for number in range(10):
            visit(f"198.51.100.{number}").guess(1)
        for _ in range(3):
            visit("203.0.113.5").log_in()
        assert rules_tripped(events) == ["distributed_attack", "success_after_attack"]

    def test_without_an_attack_is_nothing(self, visitor: Visitor, events: CapturedEvents) -> None:
        visitor.guess(4)
        visitor.log_in()
        assert rules_tripped(events) == []


class TestSprayingAndStuffing:
    @pytest.fixture(autouse=True)
    def _small(self, configure: Any) -> None:
        configure(
            RULES={
                "brute_force": None,
                "account_enumeration": None,
                "password_spraying": {"threshold": 6},
                "credential_stuffing": {"threshold": 6},
            }
        )

    def test_one_failure_each_of_many_accounts_is_spraying_and_blocks(
        self, visitor: Visitor, events: CapturedEvents
    ) -> None:
        statuses = [visitor.guess(1, f"user{number}")[0] for number in range(7)]
        assert statuses == [200] * 6 + [403]
        assert sorted(rules_tripped(events)) == ["credential_stuffing", "password_spraying"]
        threat = next(each for each in events.of("suspicious_activity") if each.context["rule"] == "password_spraying")
        assert (threat.context["count"], threat.context["technique"]) == (6, "T1110.003")

    def test_many_failures_of_few_accounts_are_none(self, visitor: Visitor, events: CapturedEvents) -> None:
        for number in range(6):
            visitor.guess(3, f"user{number}")
        assert rules_tripped(events) == []

    def test_stuffing_from_many_addresses_of_a_network_is_a_threat_to_be_seen(
        self, visit: Any, events: CapturedEvents
    ) -> None:
        for number in range(7):
            visit(f"198.51.100.{number}").guess(1, f"user{number}")
        assert rules_tripped(events) == ["credential_stuffing"]
        assert events.of("suspicious_activity")[0].context["subject"] == "198.51.100.0/24"
        assert not Block.objects.exists()

    def test_a_network_whose_people_get_in_is_no_stuffing(self, visit: Any, events: CapturedEvents) -> None:
        for number in range(4):
            visit(f"198.51.100.{number}").log_in()
        for number in range(8):
            visit(f"198.51.100.{number}").guess(1, f"user{number}")
        assert rules_tripped(events) == []


class TestTheThrottle:
    def test_answers_429_beyond_its_rate(self, visitor: Visitor, visit: Any, events: CapturedEvents) -> None:
        answers = [visitor.get("two_a_minute/") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert 1 <= int(answers[-1]["Retry-After"]) <= 60
        assert events.types == ["excess_rate_limit_exceeded"]
        assert visit("192.0.2.2").get("two_a_minute/").status_code == 200

    def test_logs_and_lets_pass_in_monitor_mode(self, visitor: Visitor, configure: Any, events: CapturedEvents) -> None:
        configure(MODE="monitor")
        assert {visitor.get("two_a_minute/").status_code for _ in range(5)} == {200}
        assert events.types == ["excess_rate_limit_exceeded"]

    def test_does_nothing_when_off(self, visitor: Visitor, configure: Any, events: CapturedEvents) -> None:
        configure(MODE="off")
        assert {visitor.get("two_a_minute/").status_code for _ in range(5)} == {200}
        assert events.types == []

    def test_limits_nobody_who_is_allowlisted(self, visitor: Visitor, configure: Any, events: CapturedEvents) -> None:
        configure(ALLOWLIST=[ADDRESS])
        assert {visitor.get("two_a_minute/").status_code for _ in range(5)} == {200}

    def test_counts_for_no_login(self, visitor: Visitor) -> None:
        for _ in range(10):
            visitor.get("two_a_minute/")
        assert visitor.log_in("anna", RIGHT).status_code == 302


def test_an_access_to_data_is_a_line_and_a_refusal_is_none(signed_in: Visitor, events: CapturedEvents) -> None:
    signed_in.get("payroll/")
    signed_in.get("payroll/?status=404")
    (access,) = events
    assert access.type == "data_access"
    assert {name: access.context[name] for name in ("username", "resource", "action")} == {
        "username": "anna",
        "resource": "payroll",
        "action": "export",
    }


class TestRestFramework:
    """Its sync views, behind both entry points."""

    def headers(self, password: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"anna:{password}".encode()).decode()}

    def test_a_refusal_is_one_event(self, visitor: Visitor, events: CapturedEvents) -> None:
        assert visitor.get("/api/").status_code == 401
        assert visitor.get("/api/", **self.headers(WRONG)).status_code == 401
        assert visitor.get("/api/", **self.headers(RIGHT)).status_code == 403
        assert events.types == ["authentication_required", "login_failed", "permission_denied"]

    def test_a_guess_over_the_limit_gets_its_own_format(
        self, visitor: Visitor, configure: Any, events: CapturedEvents
    ) -> None:
        configure(RULES={"brute_force": {"action": "refuse"}})
        answers = [visitor.get("/api/", **self.headers(WRONG)) for _ in range(6)]
        assert [answer.status_code for answer in answers] == [401] * 5 + [403]
        assert answers[-1].json()["detail"] == "This request was refused."
        assert int(answers[-1]["Retry-After"]) > 0
        assert events.types[-1] == "attempt_refused"


class TestAFloodOfThem:
    """What a client can bring about at will is a bounded number of lines, and loses nothing of the counts."""

    def test_is_a_bounded_number_of_lines(self, visitor: Visitor, events: CapturedEvents) -> None:
        assert {visitor.get("deny/").status_code for _ in range(60)} == {403}
        assert events.types.count("permission_denied") == 20

    def test_is_told_with_its_number_a_minute_later(
        self, visitor: Visitor, events: CapturedEvents, clock: ManualClock
    ) -> None:
        for _ in range(60):
            visitor.get("deny/")
        clock.advance(60)
        visitor.get("deny/")
        told = events.of("permission_denied")[20]
        assert (told.context["count"], told.context["subject"]) == (41, ADDRESS)
        assert told.message.endswith("(41 times)")

    def test_is_told_when_it_has_come_to_rest(
        self, visitor: Visitor, events: CapturedEvents, clock: ManualClock
    ) -> None:
        for _ in range(60):
            visitor.get("deny/")
        clock.advance(121)
        report_overdue_refusals()
        told = events.of("permission_denied")[-1]
        assert (told.context["count"], told.context["subject"], told.severity) == (40, ADDRESS, "warning")

    def test_is_counted_whole(self, visitor: Visitor, configure: Configure, events: CapturedEvents) -> None:
        configure(MAX_LINES_PER_MINUTE=1)
        for _ in range(60):
            visitor.get("deny/")
        assert len(events.of("permission_denied")) == 1
        assert rules_tripped(events) == ["permission_probing"]

    def test_hides_nobody_elses(self, visit: Visit, events: CapturedEvents) -> None:
        for _ in range(30):
            visit("192.0.2.9").get("deny/")
        visit().get("deny/")
        assert events[-1].context["ip_address"] == ADDRESS

    def test_of_a_user_is_one_whatever_addresses_he_comes_from(
        self, visit: Visit, anna: User, events: CapturedEvents
    ) -> None:
        for number in range(30):
            guest = visit(f"192.0.2.{number}")
            guest.force_login(anna)
            guest.get("for_the_permitted/")
        assert events.types.count("permission_denied") == 20

    def test_from_everywhere_is_bounded_too(self, visit: Visit, events: CapturedEvents) -> None:
        for number in range(240):
            visit(f"198.51.100.{number}").get("forbid/")
        assert events.types.count("permission_denied") == MAX_LINES_PER_SECOND
