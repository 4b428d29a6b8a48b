"""The page that tells how the guard of a process is doing."""

from __future__ import annotations

import pytest
from django.test import AsyncClient, Client, override_settings
from django.urls import include, path

from secguard import records
from secguard.blocking.replica import FOREVER, BlockEntry
from secguard.pipeline import get_replica
from tests.conftest import without_block_table

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]
urlpatterns = [path("security/", include("secguard.urls"))]
PAGE = "/security/health/"
WELL = {"status": "ok", "store": "ok", "database": "ok", "blocks": "loaded"}


def test_a_guard_that_works_is_well() -> None:
    response = Client().get(PAGE)
    assert (response.status_code, response.json()) == (200, WELL)
    assert "no-store" in response["Cache-Control"]
    assert Client().get(PAGE, {"strict": ""}).status_code == 200
    assert Client().head(PAGE).status_code == 200
    assert Client().post(PAGE).status_code == 405


async def test_it_is_well_on_an_event_loop_too() -> None:
    assert (await AsyncClient().get(PAGE)).json() == WELL


def test_a_store_that_is_away_takes_no_server_out_of_rotation(dead_redis_url: str) -> None:
    with override_settings(SECGUARD={"REDIS_URL": dead_redis_url, "SYNC_INTERVAL": 0}):
        response = Client().get(PAGE)
        assert (response.status_code, response.json()) == (200, {**WELL, "status": "degraded", "store": "away"})
        assert Client().get(PAGE, {"strict": "1"}).status_code == 503


def test_a_process_that_does_not_know_who_is_blocked_is_not_well() -> None:
    with without_block_table():
        response = Client().get(PAGE)
    assert response.status_code == 503
    assert response.json() == {"status": "failing", "store": "ok", "database": "away", "blocks": "unknown"}


@override_settings(SECGUARD={"SYNC_INTERVAL": 0})
def test_a_database_that_goes_away_later_leaves_blocks_in_force() -> None:
    assert Client().get(PAGE).json() == WELL
    with without_block_table():
        records.get_synchroniser()._next_delta = 0.0
        response = Client().get(PAGE)
    assert (response.status_code, response.json()) == (200, {**WELL, "status": "degraded", "database": "away"})


@override_settings(SECGUARD={"MODE": "off"})
def test_a_guard_that_is_switched_off_says_so() -> None:
    response = Client().get(PAGE, {"strict": ""})
    assert (response.status_code, response.json()["status"]) == (200, "off")


def test_who_is_blocked_is_not_told_unless_the_path_is_exempt() -> None:
    get_replica().raise_here(BlockEntry("192.0.2.9", "r", FOREVER))
    assert Client(REMOTE_ADDR="192.0.2.9").get(PAGE).status_code == 403
    with override_settings(SECGUARD={"EXEMPT_PATHS": ["/security/health/"]}):
        get_replica().raise_here(BlockEntry("192.0.2.9", "r", FOREVER))
        assert Client(REMOTE_ADDR="192.0.2.9").get(PAGE).status_code == 200
