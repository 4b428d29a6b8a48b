"""What finished responses tell: nothing in them, however hostile, may fail a request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from django.urls import resolve

from secguard.context import RequestContext, context_of
from secguard.doors import responses
from secguard.doors.throttle import Throttle, parse_rate
from secguard.events import EventType


def context_for_page(path: str = "/sync/home/?a=1", user: Any = None) -> RequestContext:
    request = RequestFactory().get(path)
    request.resolver_match = resolve(request.path)
    request.user = user or SimpleNamespace(is_authenticated=True, pk=1)
    return context_of(request)


def redirect(location: str) -> HttpResponse:
    return HttpResponse(status=302, headers={"Location": location})


LOGIN = "/accounts/login/?next=/sync/home/%3Fa%3D1"


class TestARedirect:
    def test_to_the_login_page_and_back_here_is_a_denial(self) -> None:
        assert responses.tells_something(context_for_page(), redirect(LOGIN))

    @pytest.mark.parametrize(
        "location",
        [
            "/accounts/login/",
            "/accounts/login/?next=/elsewhere/",
            "/terms/?next=/sync/home/%3Fa%3D1",
            "",
            "?next=/sync/home/%3Fa%3D1",
        ],
    )
    def test_to_anywhere_else_is_none(self, location: str) -> None:
        assert not responses.tells_something(context_for_page(), redirect(location))

    @pytest.mark.parametrize("location", ["http://[?next=/sync/home/", "//\udcff?next=x", "?" + "a=b&" * 2_000])
    def test_that_nobody_can_read_fails_nothing(self, location: str) -> None:
        response = HttpResponse(status=302)
        response.headers._store["location"] = ("Location", location)
        assert not responses.tells_something(context_for_page(), response)

    def test_under_a_host_that_is_none_of_ours_fails_nothing(self) -> None:
        context = context_for_page()
        assert context.request is not None
        context.request.META["HTTP_HOST"] = "evil example"
        assert not responses.tells_something(context, redirect("/accounts/login/?next=/elsewhere/"))

    def test_of_somebody_who_still_lacks_a_second_factor_is_none(self) -> None:
        user = SimpleNamespace(is_authenticated=True, pk=1, otp_device=None)
        assert not responses.tells_something(context_for_page(user=user), redirect(LOGIN))

    def test_asks_no_method_of_the_projects_own_user(self) -> None:
        def is_verified() -> bool:
            raise AssertionError("this may cost a query")

        user = SimpleNamespace(is_authenticated=True, pk=1, is_verified=is_verified)
        assert responses.tells_something(context_for_page(user=user), redirect(LOGIN))


@pytest.mark.parametrize(
    ("code", "text", "event"),
    [
        ("not_authenticated", "", EventType.AUTHENTICATION_REQUIRED),
        ("permission_denied", "CSRF Failed: no cookie", EventType.CSRF_FAILED),
        ("permission_denied", "no", EventType.PERMISSION_DENIED),
        ("throttled", "", EventType.RATE_LIMIT_EXCEEDED),
        ("authentication_failed", "Invalid token.", EventType.TOKEN_FORGED),
        ("authentication_failed", "The key has EXPIRED", EventType.TOKEN_EXPIRED),
        ("user_inactive", "", EventType.TOKEN_REVOKED),
        ("token_not_valid", "Token is invalid or expired", EventType.TOKEN_REJECTED),
    ],
)
def test_a_code_of_rest_framework_says_which_refusal_it_was(code: str, text: str, event: EventType) -> None:
    assert responses.event_of_code(context_for_page(), code, text, 401) == event


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10/m", (10, 60)), ("5/30s", (5, 30)), ("100/hour", (100, 3_600)), ("1/7d", (1, 604_800)), ("3/min", (3, 60))],
)
def test_a_rate_is_read(text: str, expected: tuple[int, int]) -> None:
    assert parse_rate(text) == expected


@pytest.mark.parametrize("text", ["", "10", "/m", "0/m", "-1/m", "1001/m", "10/y", "10/8d", "1.5/m", "10/0s", None, 5])
def test_what_is_no_rate_is_refused_with_what_one_looks_like(text: Any) -> None:
    with pytest.raises(Exception, match=r"such as '10/m'"):
        parse_rate(text)


def test_what_is_no_key_is_refused() -> None:
    with pytest.raises(Exception, match="key is 'ip'"):
        Throttle("1/m", key="ip", scope="any")


@override_settings(SECGUARD={})
def test_whoever_has_no_value_shares_no_limit() -> None:
    limit = Throttle("1/m", key=lambda request: request.headers.get("X-Key"), scope="any")
    without, empty = RequestFactory().get("/"), RequestFactory().get("/", headers={"X-Key": ""})
    keyed: list[HttpRequest] = [RequestFactory().get("/", headers={"X-Key": "a"}) for _ in range(2)]
    assert [limit.hit(request) for request in [without, empty, without, empty]] == [None] * 4
    assert [limit.hit(request) is None for request in keyed] == [True, False]
