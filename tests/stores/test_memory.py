"""What the store in memory forgets when there is too much: never one kind of subject for the sake of another."""

from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from secguard.decorators import throttle
from secguard.detection import Detector, Observation
from secguard.detection.catalogue import BRUTE_FORCE
from secguard.detection.detector import run
from secguard.logging import security_event_logger
from secguard.pipeline import get_store
from secguard.stores import MemoryStore

ADDRESS = "192.0.2.1"


def failures(store: MemoryStore, address: str, times: int = 0) -> int:
    """Lets an address fail so often. → how often it has failed then"""
    detector = Detector([BRUTE_FORCE], key=b"key")
    who = Observation(address=address)
    for _ in range(times):
        run(detector.record(detector.attempt(who)), store.execute)
    return run(detector.read(detector.attempt(who)), store.execute).counts["brute_force"]


def test_the_subject_least_recently_touched_is_forgotten() -> None:
    store = MemoryStore(max_subjects=3)
    for number in (1, 2, 3):
        failures(store, f"192.0.2.{number}", 1)
    failures(store, "192.0.2.1", 1)
    failures(store, "192.0.2.4", 1)
    assert [failures(store, f"192.0.2.{number}") for number in (1, 2, 3, 4)] == [2, 0, 1, 1]
    assert len(store) == 3


@pytest.mark.django_db
def test_a_flood_of_rates_makes_nobody_forget_his_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may choose whom a rate is counted for, by a header, chooses how many subjects there are."""
    monkeypatch.setattr(get_store().primary, "_max_subjects", 50)

    @throttle("10/m", key=lambda request: request.headers.get("X-Api-Key"))
    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse("welcome")

    def request(**headers: Any) -> HttpRequest:
        return RequestFactory(REMOTE_ADDR=ADDRESS).get("/", headers=headers)

    for _ in range(4):
        security_event_logger.log_login_failed(username="anna", request=request())
    for number in range(200):
        assert page(request(**{"X-Api-Key": f"made up {number}"})).status_code == 200
    assert security_event_logger.get_failed_login_count(ADDRESS) == 4
    assert len(get_store().primary) == 50
