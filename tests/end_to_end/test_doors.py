"""The other doors of a site: HTTP Basic, sign-up, the admin, backends of one's own."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ImproperlyConfigured

from secguard.logging import security_event_logger
from secguard.models import Block
from secguard.testing import CapturedEvents
from tests.end_to_end.entry import ADDRESS, RIGHT, WRONG, Visitor

pytestmark = pytest.mark.usefixtures("anna")

GUARDED_MODEL = ["secguard.backends.GuardedModelBackend"]
GUARD = "secguard.backends.SecurityGuardBackend"
BESIDE_MODEL = [GUARD, "django.contrib.auth.backends.ModelBackend"]
BOTH_GUARDS = [GUARD, *GUARDED_MODEL]


@pytest.fixture(params=[BESIDE_MODEL, GUARDED_MODEL, BOTH_GUARDS], ids=["beside", "instead", "both"])
def guarded(request: pytest.FixtureRequest, settings: Any, configure: Any) -> Any:
    """Every way to guard Django's own backend."""
    settings.AUTHENTICATION_BACKENDS = request.param
    return settings


@pytest.fixture
def guarded_model(settings: Any, configure: Any) -> Any:
    settings.AUTHENTICATION_BACKENDS = GUARDED_MODEL
    return settings


def basic(username: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def failures() -> int:
    return security_event_logger.get_failed_login_count(ADDRESS)


# -- a form ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("guarded")
class TestEveryWayToGuardTheModelBackend:
    def test_counts_each_guess_once(self, visitor: Visitor) -> None:
        for number in range(1, 4):
            visitor.guess(1)
            assert failures() == number

    def test_refuses_the_sixth(self, visitor: Visitor) -> None:
        assert visitor.guess(6) == [200] * 5 + [403]

    def test_logs_each_guess_once(self, visitor: Visitor, events: CapturedEvents) -> None:
        visitor.guess(3)
        assert events.types == ["login_failed"] * 3

    def test_logs_a_success_once(self, visitor: Visitor, events: CapturedEvents) -> None:
        visitor.log_in()
        assert events.types == ["login_success"]

    def test_forgives_the_typos_before_a_success(self, visitor: Visitor) -> None:
        visitor.guess(4)
        visitor.log_in()
        assert failures() == 0

    def test_keeps_who_logged_in(self, visitor: Visitor) -> None:
        visitor.log_in()
        assert visitor.get("whoami/").content == b"anna"

    def test_leaves_force_login_as_it_is(self, visitor: Visitor, anna: User) -> None:
        visitor.force_login(anna)
        assert visitor.get("whoami/").content == b"anna"

    def test_forces_a_hundred_logins_without_a_limit(self, visitor: Visitor, anna: User) -> None:
        for _ in range(20):
            visitor.force_login(anna)
        assert visitor.log_in().status_code == 302

    def test_lets_a_sign_up_log_in(self, visitor: Visitor) -> None:
        assert visitor.post("sign_up/", {"username": "carl", "password": RIGHT}).status_code == 302
        assert visitor.get("whoami/").content == b"carl"

    def test_serves_djangos_own_login_page(self, visitor: Visitor) -> None:
        wrong, right = ({"username": "anna", "password": password} for password in (WRONG, RIGHT))
        answers = [visitor.post("/accounts/login/?next=/accounts/logged-in/", data) for data in [wrong, right]]
        assert [answer.status_code for answer in answers] == [200, 302]
        assert visitor.get("/accounts/logged-in/").content == b"anna"

    def test_refuses_at_djangos_own_login_page(self, visitor: Visitor) -> None:
        data = {"username": "anna", "password": WRONG}
        assert [visitor.post("/accounts/login/", data).status_code for _ in range(6)] == [200] * 5 + [403]

    def test_lets_staff_into_the_admin(self, visitor: Visitor, anna: User) -> None:
        User.objects.filter(pk=anna.pk).update(is_staff=True)
        data = {"username": "anna", "password": RIGHT, "next": "/admin/"}
        assert visitor.post("/admin/login/?next=/admin/", data).status_code == 302

    def test_answers_the_right_password_of_a_non_staff_user_as_django_does(self, visitor: Visitor) -> None:
        refused = visitor.post("/admin/login/?next=/admin/", {"username": "anna", "password": RIGHT})
        assert refused.status_code == 200
        assert b"for a staff account" in refused.content

    def test_takes_the_right_password_of_a_non_staff_user_for_no_threat(
        self, visitor: Visitor, events: CapturedEvents
    ) -> None:
        for _ in range(8):
            visitor.post("/admin/login/?next=/admin/", {"username": "anna", "password": RIGHT})
        assert not {"login_failed", "suspicious_activity", "login_success"}.intersection(events.types)
        assert not Block.objects.exists()

    def test_lets_a_remote_user_in_without_a_reservation(self, visitor: Visitor, guarded: Any) -> None:
        remote = "django.contrib.auth.backends.RemoteUserBackend"
        guarded.AUTHENTICATION_BACKENDS = [*guarded.AUTHENTICATION_BACKENDS, remote]
        answers = {visitor.post("remote/", {"remote_user": f"user{n}"}).status_code for n in range(12)}
        assert answers == {302}

    def test_counts_where_the_view_passes_no_request(self, visitor: Visitor) -> None:
        data = {"username": "anna", "password": WRONG}
        assert [visitor.post("log_in_without_request/", data).status_code for _ in range(6)] == [200] * 5 + [403]

    def test_counts_where_the_view_passes_a_wrapper(self, visitor: Visitor) -> None:
        data = {"username": "anna", "password": WRONG}
        assert [visitor.post("log_in_wrapped/", data).status_code for _ in range(6)] == [200] * 5 + [403]

    def test_counts_guesses_through_http_basic(self, visitor: Visitor) -> None:
        answers = [visitor.get("basic/", **basic("anna", WRONG)).status_code for _ in range(6)]
        assert answers == [401] * 5 + [403]

    def test_never_locks_out_who_authenticates_with_each_request(self, visitor: Visitor) -> None:
        answers = {visitor.get("basic/", **basic("anna", RIGHT)).status_code for _ in range(20)}
        assert answers == {200}

    def test_forgives_through_http_basic(self, visitor: Visitor) -> None:
        for _ in range(4):
            visitor.get("basic/", **basic("anna", WRONG))
        visitor.get("basic/", **basic("anna", RIGHT))
        assert failures() == 0


# -- what the drop-in does better ------------------------------------------------------------------------


@pytest.mark.usefixtures("guarded_model")
class TestTheDropInForTheModelBackend:
    def test_knows_a_right_password_that_nobody_is_logged_in_for(self, visitor: Visitor) -> None:
        answers = {visitor.get("basic_unmarked/", **basic("anna", RIGHT)).status_code for _ in range(20)}
        assert answers == {200}

    def test_lets_login_go_without_a_backend(self, visitor: Visitor) -> None:
        assert visitor.post("sign_up_unchecked/", {"username": "carl", "password": RIGHT}).status_code == 302
        assert visitor.get("whoami/").content == b"carl"

    def test_never_limits_the_right_password_of_a_non_staff_user(self, visitor: Visitor) -> None:
        data = {"username": "anna", "password": RIGHT}
        answers = {visitor.post("/admin/login/?next=/admin/", data).status_code for _ in range(12)}
        assert answers == {200}


@pytest.mark.django_db
class TestPermissions:
    def test_with_perm_needs_no_backend_beside_the_drop_in(self, guarded_model: Any, anna: User) -> None:
        anna.user_permissions.add(Permission.objects.get(codename="add_user"))
        assert list(User.objects.with_perm("auth.add_user")) == [anna]

    def test_permissions_are_the_model_backends(self, guarded_model: Any, anna: User) -> None:
        anna.user_permissions.add(Permission.objects.get(codename="add_user"))
        assert anna.has_perm("auth.add_user")
        assert not anna.has_perm("auth.delete_user")

    def test_the_guard_beside_it_grants_nothing(self, settings: Any, anna: User) -> None:
        settings.AUTHENTICATION_BACKENDS = BESIDE_MODEL
        assert not anna.has_perm("auth.add_user")


# -- backends of one's own -------------------------------------------------------------------------------


class TestABackendOfOnesOwn:
    @pytest.fixture(autouse=True)
    def _with_badges(self, settings: Any, configure: Any) -> None:
        settings.AUTHENTICATION_BACKENDS = [
            "tests.end_to_end.backends.GuardedBadgeReader",
            "tests.end_to_end.backends.CountingBackend",
        ]

    def test_is_limited(self, visitor: Visitor, checked: list[object]) -> None:
        guess = {"badge": "anna", "pin": "0000"}
        assert [visitor.post("pin/", guess).status_code for _ in range(7)] == [200] * 5 + [403] * 2
        assert checked.count("anna") == 5

    def test_lets_in(self, visitor: Visitor) -> None:
        answers = {visitor.post("pin/", {"badge": "anna", "pin": "1234"}).status_code for _ in range(12)}
        assert answers == {302}

    def test_is_not_asked_for_credentials_that_it_does_not_take(self, visitor: Visitor, checked: list[object]) -> None:
        assert visitor.log_in().status_code == 302
        assert checked == ["anna"]

    def test_counts_nothing_for_credentials_that_it_does_not_take(self, visitor: Visitor, configure: Any) -> None:
        configure(RULES={"brute_force": {"threshold": 1}}, RESERVE_WAIT=0)
        # A slot held by the backend that was not asked would be the only one there is.
        assert [visitor.log_in().status_code for _ in range(3)] == [302] * 3


class TestANameAndAMailAddress:
    @pytest.fixture(autouse=True)
    def _by_mail(self, settings: Any, configure: Any) -> None:
        settings.AUTHENTICATION_BACKENDS = [
            GUARD,
            "tests.end_to_end.backends.CountingBackend",
            "tests.end_to_end.backends.MailBackend",
        ]

    def test_are_one_account_once_a_login_has_shown_it(self, visit: Any) -> None:
        visit().log_in("anna@example.com")
        for address in range(10, 14):
            visit(f"192.0.2.{address}").guess(1, "anna@example.com")
        for address in range(20, 24):
            visit(f"192.0.2.{address}").guess(1, "anna")
        counts = security_event_logger.pipeline.findings(account="anna").counts
        assert counts["distributed_attack"] == 8

    def test_a_login_by_mail_forgives_guesses_by_mail(self, visitor: Visitor) -> None:
        visitor.guess(4, "anna@example.com")
        assert visitor.log_in("anna@example.com").status_code == 302
        assert failures() == 0


def test_two_backends_without_the_drop_in_need_a_named_backend(visitor: Visitor, settings: Any, anna: User) -> None:
    """Django's own rule, which the README tells of: here it still holds."""
    settings.AUTHENTICATION_BACKENDS = BESIDE_MODEL
    with pytest.raises((ValueError, ImproperlyConfigured), match="backend"):
        User.objects.with_perm("auth.add_user")
