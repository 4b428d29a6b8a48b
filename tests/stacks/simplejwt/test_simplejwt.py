"""JSON web tokens over simplejwt's own views: handed out, renewed, and told apart when refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.contrib.auth.models import User
from rest_framework.settings import api_settings
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, SlidingToken

from secguard.logging import security_event_logger
from secguard.testing import CapturedEvents
from tests.stacks.browser import Answer, Browser
from tests.stacks.conftest import ADDRESS, RIGHT, WRONG, Browse

pytestmark = pytest.mark.usefixtures("anna")


@pytest.fixture(params=[False, True], ids=["middleware", "handler"], autouse=True)
def _handler(request: pytest.FixtureRequest, settings: Any) -> Any:
    """With the middleware alone, and with the exception handler too."""
    if request.param:
        handler = "secguard.integrations.drf.exception_handler"
        settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "EXCEPTION_HANDLER": handler}
    yield
    api_settings.reload()


def obtain(browser: Browser, password: str = RIGHT) -> Answer:
    return browser.send_json("/token/", {"username": "anna", "password": password})


def page(browser: Browser, token: object) -> Answer:
    return browser.get("/page/", Authorization=f"Bearer {token}")


def expired(token: Any) -> str:
    token.set_exp(lifetime=-timedelta(minutes=5))
    return str(token)


def failures() -> int:
    return security_event_logger.get_failed_login_count(ADDRESS)


class TestObtaining:
    def test_is_a_login(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        assert obtain(browse()).status == 200
        (success,) = events
        assert (success.type, success.context["username"]) == ("login_success", "anna")
        assert (success.context["ip_address"], success.context["user_id"]) == (ADDRESS, anna.pk)

    def test_with_a_wrong_password_is_one_failure(self, browse: Browse, events: CapturedEvents) -> None:
        assert obtain(browse(), WRONG).status == 401
        assert events.types == ["login_failed"]

    def test_often_is_no_attack(self, browse: Browse) -> None:
        assert {obtain(browse()).status for _ in range(12)} == {200}

    def test_forgives_the_typos_before(self, browse: Browse) -> None:
        for _ in range(4):
            obtain(browse(), WRONG)
        obtain(browse())
        assert failures() == 0

    def test_is_refused_at_the_limit(self, browse: Browse) -> None:
        answers = [obtain(browse(), WRONG) for _ in range(6)]
        assert [answer.status for answer in answers] == [401] * 5 + [403]
        assert int(answers[-1].headers["Retry-After"]) > 0
        assert answers[-1].json()["detail"] == "This request was refused."

    def test_of_sliding_tokens_is_a_login_too(self, browse: Browse, events: CapturedEvents) -> None:
        data = {"username": "anna", "password": RIGHT}
        assert browse().send_json("/token/sliding/", data).status == 200
        assert events.types == ["login_success"]


class TestRefreshing:
    def test_is_an_event(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        refresh = str(RefreshToken.for_user(anna))
        assert browse().send_json("/token/refresh/", {"refresh": refresh}).status == 200
        (refreshed,) = events
        assert (refreshed.type, refreshed.context["username"]) == ("token_refreshed", "anna")

    def test_of_a_sliding_token_is_an_event(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        token = str(SlidingToken.for_user(anna))
        assert browse().send_json("/token/sliding/refresh/", {"token": token}).status == 200
        assert events.types == ["token_refreshed"]

    def test_with_a_blacklisted_token_is_a_reuse(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        refresh = str(RefreshToken.for_user(anna))
        browse().send_json("/token/blacklist/", {"refresh": refresh})
        assert browse().send_json("/token/refresh/", {"refresh": refresh}).status == 401
        assert events.types == ["token_revoked"]

    def test_with_an_expired_token_is_late(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        refresh = expired(RefreshToken.for_user(anna))
        assert browse().send_json("/token/refresh/", {"refresh": refresh}).status == 401
        assert events.types == ["token_expired"]

    def test_of_a_sliding_token_too_late_is_late(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        token = SlidingToken.for_user(anna)
        token.set_exp("refresh_exp", lifetime=-timedelta(minutes=5))
        assert browse().send_json("/token/sliding/refresh/", {"token": str(token)}).status == 401
        assert events.types == ["token_expired"]

    @pytest.mark.parametrize("place", ["/token/refresh/", "/token/blacklist/"])
    def test_with_a_forged_token_is_a_guess(self, browse: Browse, events: CapturedEvents, place: str) -> None:
        forged = jwt.encode({"token_type": "refresh", "exp": 4_000_000_000}, "some other key" * 4, "HS256")
        assert browse().send_json(place, {"refresh": forged}).status == 401
        assert events.types == ["token_forged"]


class TestATokenInTheHeader:
    def test_that_is_right_is_no_event(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        assert page(browse(), AccessToken.for_user(anna)).status == 200
        assert events.types == []

    def test_that_has_expired_is_late(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        assert page(browse(), expired(AccessToken.for_user(anna))).status == 401
        assert events.types == ["token_expired"]

    @pytest.mark.parametrize("algorithm", ["HS256", "HS512", "none"])
    def test_that_is_signed_by_others_is_forged(self, browse: Browse, events: CapturedEvents, algorithm: str) -> None:
        key = None if algorithm == "none" else "some other key" * 6
        claims = {"token_type": "access", "user_id": "1", "exp": 4_000_000_000, "jti": "1"}
        answer = page(browse(), jwt.encode(claims, key, algorithm))
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="api"')
        assert events.types == ["token_forged"]

    def test_that_claims_to_have_expired_and_is_signed_by_others_is_forged(
        self, browse: Browse, events: CapturedEvents
    ) -> None:
        claims = {"token_type": "access", "user_id": "1", "exp": 1_000_000_000, "jti": "1"}
        page(browse(), jwt.encode(claims, "some other key" * 6, "HS256"))
        assert events.types == ["token_forged"]

    def test_that_is_garbage_is_forged(self, browse: Browse, events: CapturedEvents) -> None:
        assert page(browse(), "garbage").status == 401
        assert events.types == ["token_forged"]

    def test_of_the_wrong_kind_is_rejected(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        assert page(browse(), RefreshToken.for_user(anna)).status == 401
        assert events.types == ["token_rejected"]

    def test_of_an_inactive_user_is_revoked(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        token = AccessToken.for_user(anna)
        User.objects.filter(pk=anna.pk).update(is_active=False)
        assert page(browse(), token).status == 401
        assert events.types == ["token_revoked"]

    def test_that_is_missing_asks_for_a_login(self, browse: Browse, events: CapturedEvents) -> None:
        assert browse().get("/page/").status == 401
        assert events.types == ["authentication_required"]

    def test_is_never_logged(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        token = expired(AccessToken.for_user(anna))
        page(browse(), token)
        assert token not in str(events)


def test_a_burst_of_expired_tokens_is_no_attack(browse: Browse, anna: User, events: CapturedEvents) -> None:
    token = expired(AccessToken.for_user(anna))
    assert {page(browse(), token).status for _ in range(25)} == {401}
    assert set(events.types) == {"token_expired"}
    assert obtain(browse()).status == 200


def test_twenty_forged_tokens_are(browse: Browse, events: CapturedEvents) -> None:
    assert [page(browse(), f"forged{n}").status for n in range(21)] == [401] * 20 + [403]
    assert [event.context["rule"] for event in events.of("suspicious_activity")] == ["token_guessing"]
