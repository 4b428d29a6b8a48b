"""The check says what is wrong, and takes no server out of rotation for what all have in common."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import AsyncClient, Client, override_settings

from secguard.pipeline import get_replica
from tests.conftest import without_block_table

pytestmark = pytest.mark.django_db(transaction=True)
SECGUARD: dict[str, Any] = {"TRUSTED_PROXIES": ["127.0.0.1"], "SYNC_INTERVAL": 0}


def said(path: str) -> tuple[int, str]:
    response = Client().get(path, {"format": "text"})
    return response.status_code, response.content.decode()


def test_a_guard_that_works_is_well() -> None:
    assert said("/ready/") == (200, "SecguardHealthCheck(strict=False): OK\n")
    assert said("/strict/") == (200, "SecguardHealthCheck(strict=True): OK\n")


async def test_it_is_well_on_an_event_loop_too() -> None:
    response = await AsyncClient().get("/ready/", {"format": "json"})
    assert (response.status_code, response.json()) == (200, {"SecguardHealthCheck(strict=False)": "OK"})


def test_a_store_that_is_away_is_said_only_to_who_is_strict(dead_redis_url: str) -> None:
    with override_settings(SECGUARD={**SECGUARD, "REDIS_URL": dead_redis_url}):
        assert said("/ready/")[0] == 200
        status, text = said("/strict/")
    assert status == 500
    assert "Warning: away: store; the site is guarded, less exactly" in text


def test_a_process_that_does_not_know_who_is_blocked_is_not_well() -> None:
    with without_block_table():
        status, text = said("/ready/")
    assert not get_replica().loaded
    assert (status, "Unavailable: this process does not know who is blocked" in text) == (500, True)


def test_nothing_is_said_of_a_guard_that_is_switched_off(dead_redis_url: str) -> None:
    with override_settings(SECGUARD={**SECGUARD, "MODE": "off", "REDIS_URL": dead_redis_url}):
        assert said("/strict/")[0] == 200
