"""Logins, sign-ups, passwords, mail addresses and second factors over allauth's own pages."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa import signals as mfa_signals
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache import cache
from django.db import transaction

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
    "request_login_code": "1000/m/ip",
    "confirm_email": "1000/m/key",
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


def code_in_mail() -> str:
    """The code in the mail that was sent last."""
    found = re.search(r"^([A-Z0-9]{4}-[A-Z0-9]{4}|[A-Z0-9]{6,8})$", str(mail.outbox[-1].body), re.MULTILINE)
    assert found is not None, mail.outbox[-1].body
    return found[1]


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
        code = code_in_mail()
        assert submit(anna, "/accounts/login/code/confirm/", code="AAAA-AAAA").status == 200
        assert submit(anna, "/accounts/login/code/confirm/", code=code).status == 302
        assert events.types == ["code_rejected", "login_success"]
        assert (events[0].context["purpose"], events[0].context["username"]) == ("login", "anna")

    @pytest.mark.usefixtures("generous")
    def test_by_code_forgives_the_codes_before(self, browse: Browse, settings: Any, events: CapturedEvents) -> None:
        settings.ACCOUNT_LOGIN_BY_CODE_MAX_ATTEMPTS = 10
        for _ in range(2):
            anna = browse()
            submit(anna, "/accounts/login/code/", email="anna@example.com")
            for _ in range(4):
                submit(anna, "/accounts/login/code/confirm/", code="AAAA-AAAA")
            assert submit(anna, "/accounts/login/code/confirm/", code=code_in_mail()).status == 302
        assert events.types == [*["code_rejected"] * 4, "login_success"] * 2

    @pytest.mark.usefixtures("generous")
    def test_by_guessed_codes_blocks_the_address(self, browse: Browse, settings: Any, events: CapturedEvents) -> None:
        settings.ACCOUNT_LOGIN_BY_CODE_MAX_ATTEMPTS = 10
        anna = browse()
        submit(anna, "/accounts/login/code/", email="anna@example.com")
        statuses = [submit(anna, "/accounts/login/code/confirm/", code="AAAA-AAAA").status for _ in range(6)]
        assert statuses == [200] * 5 + [403]
        assert rules_tripped(events) == ["second_factor_guessing"]

    @pytest.mark.usefixtures("generous")
    def test_whose_address_is_not_verified_yet_is_no_failure(
        self, browse: Browse, settings: Any, anna: User, events: CapturedEvents
    ) -> None:
        settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
        EmailAddress.objects.filter(user=anna).update(verified=False)
        answers = [log_in(browse()) for _ in range(12)]
        assert {answer.headers["Location"] for answer in answers} == {"/accounts/confirm-email/"}
        assert failures() == 0
        assert {"login_failed", "attempt_refused", "suspicious_activity"}.isdisjoint(events.types)

    def test_beyond_the_rate_of_the_page_is_one_event(
        self, browse: Browse, settings: Any, events: CapturedEvents
    ) -> None:
        settings.ACCOUNT_RATE_LIMITS = {"login": "1/m/ip"}
        assert [log_in(browse(), WRONG).status for _ in range(3)] == [200, 429, 429]
        assert events.types == ["login_failed", "excess_rate_limit_exceeded"]
        assert events[-1].context["scope"] == "allauth:login"

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

    @pytest.mark.usefixtures("generous")
    def test_with_wrong_passwords_is_refused_at_the_limit(self, browse: Browse, events: CapturedEvents) -> None:
        anna = browse()
        log_in(anna)
        statuses = [submit(anna, "/accounts/reauthenticate/", password=WRONG).status for _ in range(6)]
        assert statuses == [200] * 5 + [403]
        assert events.types.count("login_failed") == 5

    def test_by_code_says_that_it_is_none_of_a_login(self, browse: Browse, events: CapturedEvents) -> None:
        anna = browse()
        log_in(anna)
        submit(anna, "/accounts/reauthenticate/code/", recipient="anna@example.com")
        assert submit(anna, "/accounts/reauthenticate/code/confirm/", code="AAAA-AAAA").status == 200
        assert submit(anna, "/accounts/reauthenticate/code/confirm/", code=code_in_mail()).status == 302
        assert events.types == ["login_success", "code_rejected"]
        assert (events[1].context["purpose"], events[1].context["username"]) == ("reauthentication", "anna")


class TestASignUp:
    DATA = {"email": "carl@example.com", "password1": "a good passphrase", "password2": "a good passphrase"}

    def test_is_one_new_user(self, browse: Browse, events: CapturedEvents) -> None:
        assert submit(browse(), "/accounts/signup/", username="carl", **self.DATA).status == 302
        assert events.types == ["user_created", "login_success"]

    def test_with_a_name_that_is_taken_is_a_probe(self, browse: Browse, events: CapturedEvents) -> None:
        assert submit(browse(), "/accounts/signup/", username="anna", **self.DATA).status == 200
        assert events.types == ["signup_rejected"]

    @pytest.mark.parametrize("verification", ["optional", "mandatory"])
    def test_with_an_address_that_is_taken_is_a_probe(
        self, browse: Browse, settings: Any, events: CapturedEvents, verification: str
    ) -> None:
        """Where addresses have to be verified, allauth pretends that it went well."""
        settings.ACCOUNT_EMAIL_VERIFICATION = verification
        answer = submit(browse(), "/accounts/signup/", username="carl", **{**self.DATA, "email": "anna@example.com"})
        assert answer.status == (200 if verification == "optional" else 302)
        assert not User.objects.filter(username="carl").exists()
        assert events.types == ["signup_rejected"]

    @pytest.mark.usefixtures("generous")
    def test_whose_address_is_verified_by_code(self, browse: Browse, settings: Any, events: CapturedEvents) -> None:
        settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
        settings.ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
        carl = browse()
        assert submit(carl, "/accounts/signup/", username="carl", **self.DATA).status == 302
        assert submit(carl, "/accounts/confirm-email/", code="AAAA-AAAA").status == 200
        assert submit(carl, "/accounts/confirm-email/", code=code_in_mail()).status == 302
        assert events.types == ["user_created", "code_rejected", "login_success"]
        assert (events[1].context["purpose"], events[1].context["username"]) == ("email_verification", "carl")

    @pytest.mark.usefixtures("generous")
    def test_with_many_of_them_is_an_enumeration(self, browse: Browse, events: CapturedEvents) -> None:
        for number in range(20):
            submit(browse(), "/accounts/signup/", username=f"user{number}", email="not an address")
        assert rules_tripped(events) == ["account_enumeration"]


class TestAPassword:
    def test_that_is_guessed_at_where_a_new_one_is_set_is_a_failed_login(
        self, browse: Browse, events: CapturedEvents
    ) -> None:
        log_in(anna := browse())
        events.clear()
        data = {"oldpassword": WRONG, "password1": "a brand new one", "password2": "a brand new one"}
        assert submit(anna, "/accounts/password/change/", **data).status == 200
        assert events.types == ["login_failed"]
        assert failures() == 1

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
    def test_that_is_reset_by_code_is_one_event(self, browse: Browse, settings: Any, events: CapturedEvents) -> None:
        settings.ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
        settings.ACCOUNT_PASSWORD_RESET_BY_CODE_MAX_ATTEMPTS = 10
        for password in ("a new passphrase", "another new passphrase"):
            visitor = browse()
            submit(visitor, "/accounts/password/reset/", email="anna@example.com")
            for _ in range(4):
                assert submit(visitor, "/reset/code/", code="AAAA-AAAA").status == 200
            assert submit(visitor, "/reset/code/", code=code_in_mail()).status == 302
            assert submit(visitor, "/reset/complete/", password1=password, password2=password).status == 302
        assert events.types == ["password_reset_requested", *["code_rejected"] * 4, "password_changed"] * 2
        assert (events[1].context["purpose"], events[1].context["username"]) == ("password_reset", "anna")
        assert events[-1].context["reason"] == "password_reset"

    def test_that_is_reset_with_a_login_after_it(self, browse: Browse, settings: Any, events: CapturedEvents) -> None:
        settings.ACCOUNT_LOGIN_ON_PASSWORD_RESET = True
        visitor = browse()
        submit(visitor, "/accounts/password/reset/", email="anna@example.com")
        link = re.search(r"http://[^/]+(/accounts/password/reset/key/\S+)", str(mail.outbox[-1].body))
        assert link is not None
        there = visitor.get(link[1]).headers["Location"]
        submit(visitor, there, password1="a new passphrase", password2="a new passphrase")
        assert events.types == ["password_reset_requested", "password_changed", "login_success"]

    def test_that_is_set_for_the_first_time_is_one_event(
        self, browse: Browse, anna: User, events: CapturedEvents
    ) -> None:
        User.objects.filter(pk=anna.pk).update(password="!")
        visitor = browse()
        submit(visitor, "/accounts/login/code/", email="anna@example.com")
        submit(visitor, "/accounts/login/code/confirm/", code=code_in_mail())
        del events[:]
        data = {"password1": "a new passphrase", "password2": "a new passphrase"}
        assert submit(visitor, "/accounts/password/set/", **data).status == 302
        assert events.types == ["password_changed"]
        assert events[0].context["reason"] == "password_change"

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


def test_a_mail_address_that_replaces_the_old_one(
    browse: Browse, settings: Any, anna: User, events: CapturedEvents
) -> None:
    settings.ACCOUNT_CHANGE_EMAIL = True
    visitor = browse()
    log_in(visitor)
    del events[:]
    submit(visitor, "/accounts/email/", action_add="", email="new@example.com")
    link = re.search(r"http://[^/]+(/accounts/confirm-email/\S+/)", str(mail.outbox[-1].body))
    assert link is not None
    assert submit(browse(), link[1]).status == 302
    assert EmailAddress.objects.get(user=anna).email == "new@example.com"
    assert events.types == ["email_added", "email_changed"]
    assert (events[1].context["old_email"], events[1].context["username"]) == ("anna@example.com", "anna")


def test_a_mail_address_of_users_who_hold_none(browse: Browse, settings: Any, events: CapturedEvents) -> None:
    settings.ACCOUNT_USER_MODEL_EMAIL_FIELD = None
    visitor = browse()
    log_in(visitor)
    del events[:]
    submit(visitor, "/accounts/email/", action_add="", email="new@example.com")
    EmailAddress.objects.filter(email="new@example.com").update(verified=True)
    submit(visitor, "/accounts/email/", action_primary="", email="new@example.com")
    assert events.types == ["email_added", "email_changed"]
    told = events[1].context
    assert (told["old_email"], told["changed_email"]) == ("anna@example.com", "new@example.com")
    assert told["ip_address"] == ADDRESS


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

    def test_besides_another_one_is_a_further_device(self, browse: Browse, anna: User, events: CapturedEvents) -> None:
        visitor = browse()
        log_in(visitor)
        submit(visitor, "/accounts/reauthenticate/", password=RIGHT)
        Authenticator.objects.create(user=anna, type=Authenticator.Type.WEBAUTHN, data={})
        del events[:]
        page = visitor.get("/accounts/2fa/totp/activate/")
        secret = re.search(r'value="([A-Z2-7]{32})"', page.text)
        assert secret is not None
        assert visitor.post("/accounts/2fa/totp/activate/", {"code": code_of(secret[1])}).status == 302
        assert submit(visitor, "/accounts/2fa/totp/deactivate/").status == 302
        assert events.types == ["2fa_device_added", "2fa_device_removed"]
        for event in events:
            told = event.context
            assert (told["factor"], told["username"], told["ip_address"]) == ("totp", "anna", ADDRESS)

    def test_that_is_rolled_back_is_nothing(self, anna: User, events: CapturedEvents) -> None:
        with transaction.atomic():
            factor = TOTP.activate(anna, generate_totp_secret()).instance
            mfa_signals.authenticator_added.send(Authenticator, request=None, user=anna, authenticator=factor)
            transaction.set_rollback(True)
        assert events.types == []

    def test_may_be_a_recovery_code(self, browse: Browse, anna: User, secret: str, events: CapturedEvents) -> None:
        code = RecoveryCodes.activate(anna).get_unused_codes()[0]
        visitor = browse()
        log_in(visitor)
        assert submit(visitor, "/accounts/2fa/authenticate/", code=code).status == 302
        assert events.types == ["2fa_success", "login_success"]
        assert events[0].context["factor"] == "recovery_codes"

    def test_proves_again_who_somebody_is(self, browse: Browse, secret: str, events: CapturedEvents) -> None:
        anna = browse()
        log_in(anna)
        submit(anna, "/accounts/2fa/authenticate/", code=code_of(secret))
        cache.clear()  # allauth takes each code once
        del events[:]
        assert submit(anna, "/accounts/2fa/reauthenticate/", code="000000").status == 200
        assert submit(anna, "/accounts/2fa/reauthenticate/", code=code_of(secret)).status == 302
        assert events.types == ["2fa_failed", "2fa_success"]
        assert events[0].context["reauthentication"] is True

    def test_that_allauth_itself_refuses_is_no_wrong_one(
        self, browse: Browse, settings: Any, secret: str, events: CapturedEvents
    ) -> None:
        settings.ACCOUNT_RATE_LIMITS = {"login_failed": "2/m/key"}
        anna = browse()
        log_in(anna)
        for _ in range(4):
            submit(anna, "/accounts/2fa/authenticate/", code="000000")
        assert events.types == ["2fa_failed", "2fa_failed", "excess_rate_limit_exceeded"]
