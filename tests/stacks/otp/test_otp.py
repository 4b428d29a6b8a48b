"""One-time passwords over django-otp's own login, and the devices of a user."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from secguard.logging import security_event_logger
from secguard.testing import CapturedEvents
from tests.stacks.browser import Answer, Browser
from tests.stacks.conftest import ADDRESS, RIGHT, WRONG, Browse


@pytest.fixture
def device(anna: User) -> TOTPDevice:
    found: TOTPDevice = TOTPDevice.objects.create(user=anna, name="phone")
    return found


def code_of(device: TOTPDevice) -> str:
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits, device.drift)
    totp.time = time.time()
    return f"{totp.token():06}"


def log_in(browser: Browser, device: TOTPDevice, code: str, password: str = RIGHT, path: str = "/login/") -> Answer:
    browser.get(path)
    data = {"username": "anna", "password": password, "otp_device": device.persistent_id, "otp_token": code}
    return browser.post(path, data)


def forget_used_codes(device: TOTPDevice) -> None:
    TOTPDevice.objects.filter(pk=device.pk).update(last_t=-1)


def rules_tripped(events: CapturedEvents) -> list[str]:
    return [event.context["rule"] for event in events.of("suspicious_activity")]


def test_both_factors_right_is_one_success_of_each(browse: Browse, device: TOTPDevice, events: CapturedEvents) -> None:
    assert log_in(browse(), device, code_of(device)).status == 302
    assert events.types == ["2fa_success", "login_success"]


def test_a_wrong_second_factor_is_no_wrong_password(browse: Browse, device: TOTPDevice, events: CapturedEvents) -> None:
    assert log_in(browse(), device, "000000").status == 200
    (failed,) = events
    assert (failed.type, failed.context["username"], failed.context["ip_address"]) == ("2fa_failed", "anna", ADDRESS)
    assert security_event_logger.get_failed_login_count(ADDRESS) == 0


def test_a_wrong_password_is_no_wrong_second_factor(browse: Browse, device: TOTPDevice, events: CapturedEvents) -> None:
    assert log_in(browse(), device, code_of(device), WRONG).status == 200
    assert events.types == ["login_failed"]


def test_a_missing_second_factor_is_neither_however_often(
    browse: Browse, device: TOTPDevice, events: CapturedEvents
) -> None:
    assert {log_in(browse(), device, "").status for _ in range(12)} == {200}
    assert events.types == []


def test_five_wrong_second_factors_block_the_address(
    browse: Browse, device: TOTPDevice, events: CapturedEvents
) -> None:
    assert [log_in(browse(), device, "000000").status for _ in range(6)] == [200] * 5 + [403]
    assert rules_tripped(events) == ["second_factor_guessing"]


def test_a_right_one_in_the_end_forgives(browse: Browse, device: TOTPDevice, events: CapturedEvents) -> None:
    for _ in range(2):
        for _ in range(4):
            log_in(browse(), device, "000000")
        forget_used_codes(device)
        assert log_in(browse(), device, code_of(device)).status == 302
    assert rules_tripped(events) == []


def test_the_admin_tells_the_same(browse: Browse, device: TOTPDevice, anna: User, events: CapturedEvents) -> None:
    User.objects.filter(pk=anna.pk).update(is_staff=True)
    path = "/admin/login/?next=/admin/"
    assert log_in(browse(), device, "000000", path=path).status == 200
    assert log_in(browse(), device, code_of(device), path=path).status == 302
    assert events.types == ["2fa_failed", "2fa_success", "login_success"]


def test_who_is_asked_for_a_second_factor_is_denied_nothing(
    browse: Browse, anna: User, events: CapturedEvents, live_server: Any
) -> None:
    from django.test import Client

    client = Client()
    client.force_login(anna)
    del events[:]
    assert client.get("/vault/").status_code == 302
    assert events.types == []


class TestDevices:
    def test_the_first_enables_and_the_last_disables(self, anna: User, events: CapturedEvents) -> None:
        phone = TOTPDevice.objects.create(user=anna, name="phone")
        codes = StaticDevice.objects.create(user=anna, name="backup")
        phone.delete()
        codes.delete()
        assert events.types == ["2fa_enabled", "2fa_device_added", "2fa_device_removed", "2fa_disabled"]
        assert {event.context["username"] for event in events} == {"anna"}

    def test_one_counts_once_it_is_confirmed(self, anna: User, events: CapturedEvents) -> None:
        phone = TOTPDevice.objects.create(user=anna, name="phone", confirmed=False)
        assert events.types == []
        phone.confirmed = True
        phone.save()
        phone.save()
        assert events.types == ["2fa_enabled"]

    def test_one_that_is_no_longer_confirmed_is_lost(
        self, anna: User, device: TOTPDevice, events: CapturedEvents
    ) -> None:
        del events[:]
        device.confirmed = False
        device.save()
        device.delete()
        assert events.types == ["2fa_disabled"]

    def test_those_of_a_user_who_is_deleted_are_no_events(
        self, anna: User, device: TOTPDevice, events: CapturedEvents
    ) -> None:
        del events[:]
        anna.delete()
        assert events.types == ["user_deleted"]

    def test_one_that_is_rolled_back_is_none(self, anna: User, events: CapturedEvents) -> None:
        with suppress(ZeroDivisionError), transaction.atomic():
            TOTPDevice.objects.create(user=anna, name="phone")
            raise ZeroDivisionError
        assert events.types == []
