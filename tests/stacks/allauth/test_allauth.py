"""Logins, sign-ups, passwords, mail addresses and second factors over allauth's own pages."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache import cache

from secguard.logging import security_event_logger
from secguard.testing import CapturedEvents
from tests.stacks.browser import Answer, Browser
from tests.stacks.conftest import ADDRESS, RIGHT, WRONG, Browse

pytestmark = pytest.mark.usefixtures("anna")
GENEROUS = {
    "login_failed": "1000/m/ip,1000/m/key",
    "reset_password": "1000/m/ip",
    "signup": "1000/m/ip",
    "reauthenticate": "1000/m/user",
}


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    cache.clear()


@pytest.fixture(autouse=True)
def anna_verified(anna: User) -> User:
    EmailAddress.objects.create(user=anna, email=anna.email, verified=True, primary=True)
    return anna


@pytest.fixture
def generous(settings: Any) -> None:
    """allauth's own limits come before ours otherwise."""
    settings.ACCOUNT_RATE_LIMITS = GENEROUS


def submit(browser: Browser, path: str, **data: str) -> Answer:
    browser.get(path)
    return browser.post(path, data)


def log_in(browser: Browser, password: str = RIGHT, login: str = "anna") -> Answer:
    return submit(browser, "/accounts/login/", login=login, password=password)


def failures() -> int:
    return security_event_logger.get_failed_login_count(ADDRESS)


def rules_tripped(events: CapturedEvents) -> list[str]:
    return [event.context["rule"] for event in events.of("suspicious_activity")]


class TestALogin:
    @pytest.mark.parametrize("login", ["anna", "anna@example.com"])
    def test_is_one_success(self, browse: Browse, events: CapturedEvents, login: str) -> None:
        assert log_in(browse(), login=login).status == 302
        assert events.types == ["login_success"]

    def test_with_a_wrong_password_is_one_failure(self, browse: Browse, events: CapturedEvents) -> None:
        assert log_in(browse(), WRONG).status == 200
        assert events.types == ["login_failed"]

    @pytest.mark.usefixtures("generous")
    def test_is_refused_at_the_limit(self, browse: Browse, events: CapturedEvents) -> None:
        assert [log_in(browse(), WRONG).status for _ in range(6)] == [200] * 5 + [403]
        assert events.types.count("login_failed") == 5

    def test_that_allauth_itself_refuses_is_no_failure(
        self, browse: Browse, settings: Any, events: CapturedEvents
    ) -> None:
        settings.ACCOUNT_RATE_LIMITS = {"login_failed": "2/m/ip"}
        assert [log_in(browse(), WRONG).status for _ in range(4)] == [200] * 4
        assert events.types == ["login_failed", "login_failed", "excess_rate_limit_exceeded"]
        assert events[-1].context["scope"] == "allauth:login_failed"
        assert failures() == 2

    def test_by_code_is_one_success(self, browse: Browse, events: CapturedEvents) -> None:
        anna = browse()
        submit(anna, "/accounts/login/code/", email="anna@example.com")
        code = re.search(r"^([A-Z0-9]{4}-[A-Z0-9]{4})$", str(mail.outbox[-1].body), re.MULTILINE)
        assert code is not None
        assert submit(anna, "/accounts/login/code/confirm/", code="AAAA-AAAA").status == 200
        assert submit(anna, "/accounts/login/code/confirm/", code=code[1]).status == 302
        assert events.types == ["code_rejected", "login_success"]
        assert (events[0].context["purpose"], events[0].context["username"]) == ("login", "anna")

    def test_and_a_logout(self, browse: Browse, events: CapturedEvents) -> None:
        anna = browse()
        log_in(anna)
        submit(anna, "/accounts/logout/")
        assert events.types == ["login_success", "logout"]


class TestReauthentication:
    @pytest.mark.usefixtures("generous")
    def test_is_no_attack_however_often(self, browse: Browse, events: CapturedEvents) -> None:
        anna = browse()
        log_in(anna)
        answers = [submit(anna, "/accounts/reauthenticate/", password=RIGHT) for _ in range(12)]
        assert {answer.status for answer in answers} == {302}
        assert events.types == ["login_success"]

    @pytest.mark.usefixtures("generous")
    def test_with_a_wrong_password_is_one_failure(self, browse: Browse, events: CapturedEvents) -> None:
        anna = browse()
        log_in(anna)
        assert submit(anna, "/accounts/reauthenticate/", password=WRONG).status == 200
        assert events.types == ["login_success", "login_failed"]
        assert failures() == 1


class TestASignUp:
    DATA = {"email": "carl@example.com", "password1": "a good passphrase", "password2": "a good passphrase"}

    def test_is_one_new_user(self, browse: Browse, events: CapturedEvents) -> None:
        assert submit(browse(), "/accounts/signup/", username="carl", **self.DATA).status == 302
        assert events.types == ["user_created", "login_success"]

    def test_with_a_name_that_is_taken_is_a_probe(self, browse: Browse, events: CapturedEvents) -> None:
        assert submit(browse(), "/accounts/signup/", username="anna", **self.DATA).status == 200
        assert events.types == ["signup_rejected"]

    @pytest.mark.usefixtures("generous")
    def test_with_many_of_them_is_an_enumeration(self, browse: Browse, events: CapturedEvents) -> None:
        for number in range(20):
            submit(browse(), "/accounts/signup/", username=f"user{number}", email="not an address")
        assert rules_tripped(events) == ["account_enumeration"]


class TestAPassword:
    def test_that_is_changed_is_one_event(self, browse: Browse, events: CapturedEvents) -> None:
        anna = browse()
        log_in(anna)
        data = {"oldpassword": RIGHT, "password1": "a new passphrase", "password2": "a new passphrase"}
        assert submit(anna, "/accounts/password/change/", **data).status == 302
        assert events.types.count("password_changed") == 1

    def test_that_is_reset_is_one_event(self, browse: Browse, events: CapturedEvents) -> None:
        visitor = browse()
        submit(visitor, "/accounts/password/reset/", email="anna@example.com")
        link = re.search(r"http://[^/]+(/accounts/password/reset/key/\S+)", str(mail.outbox[-1].body))
        assert link is not None
        there = visitor.get(link[1]).headers["Location"]
        data = {"password1": "a new passphrase", "password2": "a new passphrase"}
        assert submit(visitor, there, **data).status == 302
        assert events.types == ["password_reset_requested", "password_changed"]
        assert events[-1].context["reason"] == "password_reset"

    @pytest.mark.usefixtures("generous")
    def test_whose_reset_is_asked_for_many_is_an_enumeration(self, browse: Browse, events: CapturedEvents) -> None:
        for number in range(20):
            submit(browse(), "/accounts/password/reset/", email=f"user{number}@example.com")
        assert rules_tripped(events) == ["account_enumeration"]


def test_a_mail_address_that_is_added_made_primary_and_removed(
    browse: Browse, anna: User, events: CapturedEvents
) -> None:
    visitor = browse()
    log_in(visitor)
    del events[:]
    submit(visitor, "/accounts/email/", action_add="", email="new@example.com")
    EmailAddress.objects.filter(email="new@example.com").update(verified=True)
    submit(visitor, "/accounts/email/", action_primary="", email="new@example.com")
    submit(visitor, "/accounts/email/", action_remove="", email="anna@example.com")
    assert events.types == ["email_added", "email_changed", "email_removed"]
    assert events[0].context["changed_email"] == "new@example.com"
    assert events[1].context["old_email"] == "anna@example.com"


# -- second factors --------------------------------------------------------------------------------------


@pytest.fixture
def secret(anna: User) -> str:
    """Anna's second factor."""
    secret = generate_totp_secret()
    TOTP.activate(anna, secret)
    return secret


def code_of(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, int(time.time()) // 30)))


@pytest.mark.usefixtures("generous")
class TestASecondFactor:
    def test_that_is_right_completes_the_login(self, browse: Browse, secret: str, events: CapturedEvents) -> None:
        anna = browse()
        log_in(anna)
        assert events.types == []
        assert submit(anna, "/accounts/2fa/authenticate/", code=code_of(secret)).status == 302
        assert events.types == ["2fa_success", "login_success"]

    def test_that_is_still_missing_is_no_failure(self, browse: Browse, secret: str, events: CapturedEvents) -> None:
        assert {log_in(browse()).status for _ in range(12)} == {302}
        assert events.types == []

    def test_that_is_wrong_is_no_wrong_password(self, browse: Browse, secret: str, events: CapturedEvents) -> None:
        anna = browse()
        log_in(anna)
        assert submit(anna, "/accounts/2fa/authenticate/", code="000000").status == 200
        (failed,) = events
        assert (failed.type, failed.context["username"]) == ("2fa_failed", "anna")
        assert failures() == 0

    def test_that_is_guessed_blocks_the_address(self, browse: Browse, secret: str, events: CapturedEvents) -> None:
        anna = browse()
        log_in(anna)
        statuses = [submit(anna, "/accounts/2fa/authenticate/", code="000000").status for _ in range(6)]
        assert statuses == [200] * 5 + [403]
        assert rules_tripped(events) == ["second_factor_guessing"]

    def test_that_is_right_in_the_end_forgives(self, browse: Browse, secret: str, events: CapturedEvents) -> None:
        for _ in range(2):
            cache.clear()  # allauth takes each code once
            anna = browse()
            log_in(anna)
            for _ in range(4):
                submit(anna, "/accounts/2fa/authenticate/", code="000000")
            assert submit(anna, "/accounts/2fa/authenticate/", code=code_of(secret)).status == 302
        assert rules_tripped(events) == []

    def test_is_enabled_and_disabled_once(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        visitor = browse()
        log_in(visitor)
        submit(visitor, "/accounts/reauthenticate/", password=RIGHT)
        del events[:]
        page = visitor.get("/accounts/2fa/totp/activate/")
        secret = re.search(r'value="([A-Z2-7]{32})"', page.text)
        assert secret is not None
        assert visitor.post("/accounts/2fa/totp/activate/", {"code": code_of(secret[1])}).status == 302
        assert Authenticator.objects.filter(user=anna, type="recovery_codes").exists()
        assert events.types == ["2fa_enabled"]
        assert submit(visitor, "/accounts/2fa/totp/deactivate/").status == 302
        assert not Authenticator.objects.filter(user=anna).exists()
        assert events.types == ["2fa_enabled", "2fa_disabled"]

    def test_whose_recovery_codes_are_renewed_is_a_reset(
        self, browse: Browse, anna: User, secret: str, events: CapturedEvents
    ) -> None:
        RecoveryCodes.activate(anna)
        visitor = browse()
        log_in(visitor)
        submit(visitor, "/accounts/2fa/authenticate/", code=code_of(secret))
        submit(visitor, "/accounts/reauthenticate/", password=RIGHT)
        del events[:]
        submit(visitor, "/accounts/2fa/recovery-codes/generate/")
        assert events.types == ["2fa_reset"]
