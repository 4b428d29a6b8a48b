"""Two steps of a login, setting up and taking away, over django-two-factor-auth's own pages."""

from __future__ import annotations

import re
import time

import pytest
from django.contrib.auth.models import User
from django_otp.oath import TOTP, totp
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from secguard.logging import security_event_logger
from secguard.testing import CapturedEvents
from tests.stacks.browser import Answer, Browser
from tests.stacks.conftest import ADDRESS, RIGHT, WRONG, Browse

LOGIN = "/account/login/"
SETUP = "/account/two_factor/setup/"


@pytest.fixture
def device(anna: User) -> TOTPDevice:
    found: TOTPDevice = TOTPDevice.objects.create(user=anna, name="default")
    return found


def code_of(device: TOTPDevice) -> str:
    found = TOTP(device.bin_key, device.step, device.t0, device.digits, device.drift)
    found.time = time.time()
    return f"{found.token():06}"


def first_step(browser: Browser, password: str = RIGHT) -> Answer:
    browser.get(LOGIN)
    data = {"login_view-current_step": "auth", "auth-username": "anna", "auth-password": password}
    return browser.post(LOGIN, data)


def second_step(browser: Browser, code: str) -> Answer:
    return browser.post(LOGIN, {"login_view-current_step": "token", "token-otp_token": code})


def rules_tripped(events: CapturedEvents) -> list[str]:
    return [event.context["rule"] for event in events.of("suspicious_activity")]


def test_a_login_without_a_second_factor_is_one_success(browse: Browse, anna: User, events: CapturedEvents) -> None:
    assert first_step(browse()).status == 302
    assert events.types == ["login_success"]


def test_a_login_in_two_steps_is_one_success_of_each(
    browse: Browse, device: TOTPDevice, events: CapturedEvents
) -> None:
    browser = browse()
    assert first_step(browser).status == 200
    assert events.types == []
    assert second_step(browser, code_of(device)).status == 302
    assert sorted(events.types) == ["2fa_success", "login_success"]


def test_the_first_step_alone_is_no_attack_however_often(
    browse: Browse, device: TOTPDevice, events: CapturedEvents
) -> None:
    assert {first_step(browse()).status for _ in range(12)} == {200}
    assert events.types == []


def test_a_wrong_password_is_one_failure(browse: Browse, device: TOTPDevice, events: CapturedEvents) -> None:
    assert [first_step(browse(), WRONG).status for _ in range(6)] == [200] * 5 + [403]
    assert events.types.count("login_failed") == 5


def test_a_wrong_token_is_no_wrong_password(browse: Browse, device: TOTPDevice, events: CapturedEvents) -> None:
    browser = browse()
    first_step(browser)
    assert second_step(browser, "000000").status == 200
    assert events.types == ["2fa_failed"]
    assert security_event_logger.get_failed_login_count(ADDRESS) == 0


def test_five_wrong_tokens_block_the_address(browse: Browse, device: TOTPDevice, events: CapturedEvents) -> None:
    browser = browse()
    first_step(browser)
    assert [second_step(browser, "000000").status for _ in range(6)] == [200] * 5 + [403]
    assert rules_tripped(events) == ["second_factor_guessing"]


def test_setting_up_enables_and_taking_away_disables_once(browse: Browse, anna: User, events: CapturedEvents) -> None:
    browser = browse()
    first_step(browser)
    del events[:]
    browser.get(SETUP)
    page = browser.post(SETUP, {"setup_view-current_step": "welcome"})
    if 'value="method"' in page.text:
        page = browser.post(SETUP, {"setup_view-current_step": "method", "method-method": "generator"})
    secret = re.search(r"secret=([A-Z2-7]+)", page.text) or re.search(r"([A-Z2-7]{32})", page.text)
    assert secret is not None
    from base64 import b32decode

    token = f"{totp(b32decode(secret[1])):06}"
    answer = browser.post(SETUP, {"setup_view-current_step": "generator", "generator-token": token})
    assert answer.status == 302
    assert events.types == ["2fa_enabled"]
    assert browser.post("/account/two_factor/disable/", {"understand": "on"}).status == 302
    assert not TOTPDevice.objects.filter(user=anna).exists()
    assert events.types == ["2fa_enabled", "2fa_disabled"]


def test_backup_tokens_are_a_further_device(
    browse: Browse, anna: User, device: TOTPDevice, events: CapturedEvents
) -> None:
    browser = browse()
    first_step(browser)
    second_step(browser, code_of(device))
    del events[:]
    browser.get("/account/two_factor/backup/tokens/")
    assert browser.post("/account/two_factor/backup/tokens/").status == 302
    assert StaticDevice.objects.filter(user=anna).exists()
    assert events.types == ["2fa_device_added"]
