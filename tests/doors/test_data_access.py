"""Accesses to data that is worth a line, by a decorator, a mixin or a call."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.views.generic import View

from secguard.logging import security_event_logger
from secguard.mixins import DataAccessMixin
from secguard.testing import CapturedEvents, capture_events

ANNA = User(pk=7, username="anna", email="anna@example.com")


@pytest.fixture
def events() -> Any:
    with capture_events() as captured:
        yield captured


class Patients(DataAccessMixin, View):
    data_resource = "patients"

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("fine")

    def delete(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=204)

    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=403)


class AsyncPatients(DataAccessMixin, View):
    data_action = "export"

    async def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("fine")


def ask(view: Any, method: str = "get") -> Any:
    request = getattr(RequestFactory(), method)("/")
    request.user = ANNA
    return view(request)


def seen(events: CapturedEvents) -> list[tuple[Any, ...]]:
    return [tuple(event.context[name] for name in ("username", "resource", "action")) for event in events]


def test_the_mixin_logs_what_the_method_did(events: CapturedEvents) -> None:
    for method in ("get", "delete"):
        ask(Patients.as_view(), method)
    assert seen(events) == [("anna", "patients", "read"), ("anna", "patients", "delete")]


def test_a_refusal_is_no_access(events: CapturedEvents) -> None:
    assert ask(Patients.as_view(), "post").status_code == 403
    assert events == []


def test_the_mixin_serves_async_views(events: CapturedEvents) -> None:
    async def served() -> Any:
        return await ask(AsyncPatients.as_view())

    assert async_to_sync(served)().status_code == 200
    assert seen(events) == [("anna", "AsyncPatients", "export")]


def test_a_call_takes_the_user_the_resource_and_the_action(events: CapturedEvents) -> None:
    security_event_logger.log_data_access(ANNA, "customers", "export", rows=1_200)
    (event,) = events
    assert seen(events) == [("anna", "customers", "export")]
    assert (event.context["user_id"], event.context["rows"], event.category) == (7, 1_200, "data_access")


def test_a_call_may_name_nobody(events: CapturedEvents) -> None:
    security_event_logger.log_data_access(email="anna@example.com", table="customers")
    assert (events[0].context["email"], events[0].context["table"]) == ("anna@example.com", "customers")
