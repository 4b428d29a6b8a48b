"""REST framework's refusals, over HTTP: each is one event, whoever sees it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from rest_framework.authtoken.models import Token
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.test import APIRequestFactory

from secguard.integrations.drf import IsNotSuspicious
from secguard.logging import security_event_logger
from secguard.models import Block
from secguard.testing import CapturedEvents
from tests.stacks.browser import Answer, Browser
from tests.stacks.conftest import ADDRESS, RIGHT, WRONG, Browse
from tests.stacks.drf.urls import Plain

HANDLER = "secguard.integrations.drf.exception_handler"
HTML = "text/html"


@pytest.fixture(params=[False, True], ids=["middleware", "handler"])
def handler(request: pytest.FixtureRequest, settings: Any) -> Any:
    """With the middleware alone, and with the exception handler too: nothing may differ in number."""
    if request.param:
        settings.REST_FRAMEWORK = {"EXCEPTION_HANDLER": HANDLER}
    yield request.param
    api_settings.reload()


@pytest.fixture
def with_handler(settings: Any) -> Any:
    settings.REST_FRAMEWORK = {"EXCEPTION_HANDLER": HANDLER}
    yield settings
    api_settings.reload()


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    cache.clear()


def basic(password: str, username: str = "anna") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()}


def token(key: str) -> dict[str, str]:
    return {"Authorization": f"Token {key}"}


def log_in(browser: Browser, username: str = "anna", password: str = RIGHT) -> Answer:
    browser.get("/login/")
    return browser.post("/login/", {"username": username, "password": password})


def failures() -> int:
    return security_event_logger.get_failed_login_count(ADDRESS)


@pytest.mark.usefixtures("handler", "anna")
class TestOneRefusalIsOneEvent:
    def test_of_nobody(self, browse: Browse, events: CapturedEvents) -> None:
        answer = browse().get("/plain/")
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Token")
        assert events.types == ["authentication_required"]

    def test_of_nobody_where_sessions_turn_it_into_a_403(self, browse: Browse, events: CapturedEvents) -> None:
        assert browse().get("/session/").status == 403
        assert events.types == ["authentication_required"]

    def test_of_a_wrong_password(self, browse: Browse, events: CapturedEvents) -> None:
        assert browse().get("/plain/", **basic(WRONG)).status == 401
        assert events.types == ["login_failed"]

    def test_of_an_unknown_token(self, browse: Browse, events: CapturedEvents) -> None:
        assert browse().get("/plain/", **token("no such token")).status == 401
        assert browse().get("/plain/", **token("0" * 40)).status == 401
        assert events.types[-1] == "token_forged"
        assert len(events) == 2

    def test_of_a_user_without_the_permission(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        key = Token.objects.create(user=anna).key
        assert browse().get("/staff/", **token(key)).status == 403
        assert events.types == ["permission_denied"]
        assert events[0].context["username"] == "anna"

    def test_of_the_token_of_an_inactive_user(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        key = Token.objects.create(user=anna).key
        User.objects.filter(pk=anna.pk).update(is_active=False)
        assert browse().get("/plain/", **token(key)).status == 401
        assert events.types == ["token_revoked"]

    def test_of_a_missing_csrf_token(self, browse: Browse, events: CapturedEvents) -> None:
        anna = browse()
        log_in(anna)
        del events[:]
        assert anna.send_json("/session/").status == 403
        assert events.types == ["csrf_failed"]

    def test_of_too_many_requests(self, browse: Browse, events: CapturedEvents) -> None:
        answers = [browse().get("/framework-throttled/") for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert int(answers[-1].headers["Retry-After"]) > 0
        assert events.types == ["excess_rate_limit_exceeded"]
        assert failures() == 0

    def test_of_a_login_for_a_token(self, browse: Browse, events: CapturedEvents) -> None:
        assert browse().send_json("/token/", {"username": "anna", "password": WRONG}).status == 400
        assert events.types == ["login_failed"]

    @pytest.mark.parametrize("accept", ["application/json", HTML])
    def test_of_a_refused_attempt_in_the_format_asked_for(
        self, browse: Browse, settings: Any, events: CapturedEvents, accept: str
    ) -> None:
        settings.SECGUARD = {**settings.SECGUARD, "RULES": {"brute_force": {"action": "refuse"}}}
        answers = [browse().get("/plain/", **basic(WRONG), Accept=accept) for _ in range(6)]
        assert [answer.status for answer in answers] == [401] * 5 + [403]
        refused = answers[-1]
        assert refused.headers["Content-Type"].startswith(accept)
        assert int(refused.headers["Retry-After"]) > 0
        assert "This request was refused." in refused.text
        assert "Django REST framework" in refused.text or accept != HTML
        assert events.types == [*["login_failed"] * 5, "suspicious_activity", "attempt_refused"]

    def test_a_block_outlives_the_rollback(self, browse: Browse, settings: Any, events: CapturedEvents) -> None:
        settings.DATABASES["default"]["ATOMIC_REQUESTS"] = True
        try:
            assert connection.settings_dict["ATOMIC_REQUESTS"]
            for _ in range(5):
                browse().get("/plain/", **basic(WRONG))
        finally:
            settings.DATABASES["default"]["ATOMIC_REQUESTS"] = False
        assert Block.objects.filter(network=ADDRESS).exists()
        assert browse().get("/plain/").status == 403


@pytest.mark.usefixtures("anna")
class TestTheExceptionHandler:
    def test_says_who_was_denied_what_by_which_permission(
        self, browse: Browse, with_handler: Any, anna: User, events: CapturedEvents
    ) -> None:
        browse().get("/staff/", **token(Token.objects.create(user=anna).key))
        told = events[0].context
        assert (told["username"], told["view"], told["action"]) == ("anna", "ForStaff", "GET")
        assert told["permission"] == "(IsAuthenticated & IsAdminUser)"

    def test_answers_as_the_projects_own_would(self, browse: Browse, with_handler: Any, events: CapturedEvents) -> None:
        handler = "tests.stacks.drf.handlers.in_capitals"
        with_handler.SECGUARD = {**with_handler.SECGUARD, "DRF_EXCEPTION_HANDLER": handler}
        answer = browse().get("/plain/")
        assert answer.json() == {"ERROR": "AUTHENTICATION CREDENTIALS WERE NOT PROVIDED."}
        assert events.types == ["authentication_required"]

    @pytest.mark.parametrize("key", ["", "a b"])
    def test_takes_a_header_without_a_token_for_no_forgery(
        self, browse: Browse, with_handler: Any, events: CapturedEvents, key: str
    ) -> None:
        browse().get("/plain/", Authorization=f"Token {key}".strip())
        assert events.types == ["token_rejected"]


@pytest.mark.usefixtures("anna", "bert")
class TestTheMixinForViews:
    def test_says_which_object_was_denied(self, browse: Browse, bert: User, events: CapturedEvents) -> None:
        assert browse().get(f"/users/{bert.pk}/", **basic(RIGHT)).status == 403
        (denied,) = events.of("permission_denied")
        assert denied.context["object"] == f"auth.User:{bert.pk}"
        assert denied.context["permission"] == "IsOwner"
        assert (denied.context["view"], denied.context["action"]) == ("Users", "retrieve")

    def test_makes_one_event_with_the_handler_and_a_logged_permission(
        self, browse: Browse, with_handler: Any, bert: User, events: CapturedEvents
    ) -> None:
        browse().get(f"/users/{bert.pk}/", **basic(RIGHT))
        assert events.types.count("permission_denied") == 1

    def test_denies_nobody_who_is_shown_a_page_with_forms(
        self, browse: Browse, anna: User, events: CapturedEvents
    ) -> None:
        assert browse().get(f"/users/{anna.pk}/", **basic(RIGHT), Accept=HTML).status == 200
        assert not events.of("permission_denied")

    def test_denies_nobody_who_asks_for_the_options(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        answer = browse().request("OPTIONS", f"/users/{anna.pk}/", None, basic(RIGHT))
        assert answer.status == 200
        assert not events.of("permission_denied")


@pytest.mark.usefixtures("anna", "bert")
class TestTheMixinForPermissions:
    def test_names_the_permission_and_the_object(self, browse: Browse, bert: User, events: CapturedEvents) -> None:
        assert browse().get(f"/members/{bert.pk}/", **basic(RIGHT)).status == 403
        (denied,) = events.of("permission_denied")
        assert denied.context["permission"] in ("IsOwner", "IsStaff")
        assert denied.context["object"] == f"auth.User:{bert.pk}"
        assert denied.context["username"] == "anna"

    def test_denies_nobody_whom_another_permission_lets_in(
        self, browse: Browse, anna: User, events: CapturedEvents
    ) -> None:
        User.objects.filter(pk=anna.pk).update(is_staff=True)
        other = User.objects.get(username="bert")
        assert browse().get(f"/members/{other.pk}/", **basic(RIGHT)).status == 200
        assert not events.of("permission_denied")

    def test_denies_nobody_who_is_shown_a_page_with_forms(
        self, browse: Browse, anna: User, events: CapturedEvents
    ) -> None:
        assert browse().get(f"/members/{anna.pk}/", **basic(RIGHT), Accept=HTML).status == 200
        assert not events.of("permission_denied")


@pytest.mark.usefixtures("anna")
class TestIsNotSuspicious:
    def spray(self, browse: Browse, settings: Any) -> None:
        """A threat on the address, of a rule that blocks nobody."""
        settings.SECGUARD = {**settings.SECGUARD, "RULES": {"brute_force": {"action": "log"}}}
        for _ in range(5):
            browse().get("/plain/", **basic(WRONG))

    def test_lets_everybody_in_where_there_is_no_threat(self, browse: Browse) -> None:
        assert browse().get("/suspicious/").status == 200

    @pytest.mark.parametrize("accept", ["application/json", HTML])
    def test_refuses_an_address_with_an_open_threat(
        self, browse: Browse, settings: Any, events: CapturedEvents, accept: str
    ) -> None:
        self.spray(browse, settings)
        answer = browse().get("/suspicious/", Accept=accept)
        assert answer.status == 403
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Content-Type"].startswith(accept)
        assert events.types[-1] == "request_blocked"
        assert browse("192.0.2.99").get("/suspicious/").status == 200

    def test_its_refusals_keep_no_threat_open(self, browse: Browse, settings: Any, events: CapturedEvents) -> None:
        self.spray(browse, settings)
        for _ in range(15):
            browse().get("/suspicious/")
        assert "permission_denied" not in events.types
        assert len(events.of("suspicious_activity")) == 1

    def test_refuses_accounts_only_if_asked_to(self, browse: Browse, settings: Any, anna: User) -> None:
        for number in range(10):
            browse(f"198.51.100.{number}").get("/plain/", **basic(WRONG))
        assert browse().get("/suspicious/", **basic(RIGHT)).status == 200
        assert browse().get("/suspicious-account/", **basic(RIGHT)).status == 403

    def test_spares_whom_another_permission_lets_in(self, browse: Browse, settings: Any, anna: User) -> None:
        self.spray(browse, settings)
        User.objects.filter(pk=anna.pk).update(is_staff=True)
        anna_in = browse()
        log_in(browse("192.0.2.99"))
        assert anna_in.get("/suspicious-or-staff/", **token(Token.objects.create(user=anna).key)).status == 200
        assert anna_in.get("/suspicious-or-staff/").status == 403

    def test_says_no_without_the_middleware_too(self, browse: Browse, settings: Any, events: CapturedEvents) -> None:
        self.spray(browse, settings)
        request = APIRequestFactory(REMOTE_ADDR="127.0.0.1").get("/", headers={"X-Forwarded-For": ADDRESS})
        assert not IsNotSuspicious().has_permission(Request(request), Plain())
        assert Plain.as_view(permission_classes=[IsNotSuspicious])(request).status_code in (401, 403)

    def test_refuses_nobody_in_monitor_mode(self, browse: Browse, settings: Any) -> None:
        settings.SECGUARD = {**settings.SECGUARD, "MODE": "monitor"}
        for _ in range(6):
            browse().get("/plain/", **basic(WRONG))
        assert browse().get("/suspicious/").status == 200


@pytest.mark.usefixtures("anna")
class TestRates:
    @pytest.mark.parametrize(("page", "limit"), [("/throttled/", 3), ("/slow-down/", 2)])
    def test_answer_429_beyond_the_limit(self, browse: Browse, events: CapturedEvents, page: str, limit: int) -> None:
        answers = [browse().get(page) for _ in range(limit + 2)]
        assert [answer.status for answer in answers] == [200] * limit + [429] * 2
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
        (told,) = events
        assert (told.type, told.context["count"]) == ("excess_rate_limit_exceeded", 1)
        assert browse("192.0.2.2").get(page).status == 200
        assert failures() == 0

    @pytest.mark.parametrize("page", ["/throttled/", "/slow-down/"])
    def test_only_log_in_monitor_mode(self, browse: Browse, settings: Any, events: CapturedEvents, page: str) -> None:
        settings.SECGUARD = {**settings.SECGUARD, "MODE": "monitor"}
        assert {browse().get(page).status for _ in range(6)} == {200}
        assert events.types == ["excess_rate_limit_exceeded"]

    def test_ignore_what_a_client_claims_behind_the_proxy(self, browse: Browse) -> None:
        visitor = browse()
        visitor.address = "203.0.113.99, 192.0.2.1"
        answers = [visitor.get("/throttled/").status for _ in range(3)]
        visitor.address = "203.0.113.98, 192.0.2.1"
        assert [*answers, visitor.get("/throttled/").status] == [200] * 3 + [429]


def test_an_access_to_data_is_a_line(browse: Browse, anna: User, events: CapturedEvents) -> None:
    browse().get("/payroll/")
    assert not events.of("data_access")
    browse().get("/payroll/", **basic(RIGHT))
    (access,) = events.of("data_access")
    assert (access.context["resource"], access.context["action"]) == ("payroll", "read")
    assert (access.context["username"], access.category) == ("anna", "data_access")


def test_twenty_forged_tokens_block_their_address(browse: Browse, events: CapturedEvents) -> None:
    statuses = [browse().get("/plain/", **token(f"{number:040x}")).status for number in range(21)]
    assert statuses == [401] * 20 + [403]
    assert [event.context["rule"] for event in events.of("suspicious_activity")] == ["token_guessing"]


def test_ten_denials_of_a_user_are_a_probe_and_block_nobody(browse: Browse, anna: User, events: CapturedEvents) -> None:
    key = Token.objects.create(user=anna).key
    statuses = {browse().get("/staff/", **token(key)).status for _ in range(12)}
    assert statuses == {403}
    assert [event.context["rule"] for event in events.of("suspicious_activity")] == ["permission_probing"]
    assert not Block.objects.exists()


def test_ten_objects_denied_to_a_user_are_a_probe(browse: Browse, anna: User, events: CapturedEvents) -> None:
    others = [User.objects.create_user(f"user{number}") for number in range(10)]
    for other in others:
        browse().get(f"/users/{other.pk}/", **basic(RIGHT))
    assert "object_probing" in [event.context["rule"] for event in events.of("suspicious_activity")]
