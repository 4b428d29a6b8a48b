"""One line and one signal for each event; and no failure of either reaches a user."""

from __future__ import annotations

import errno
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path

from secguard import emit, signals
from secguard.events import Category, Event, Origin, Severity
from secguard.failures import report_failure
from secguard.formatters import SecurityJsonFormatter
from secguard.logging import SecurityEvent, security_event_logger, security_logger
from secguard.testing import capture_events


def log_in_vain(request: HttpRequest) -> HttpResponse:
    security_event_logger.log_login_failed(username="anna", request=request)
    return HttpResponse("served")


urlpatterns = [path("vain/", log_in_vain)]


class Broken(logging.Handler):
    """A handler of the sort that forgets to catch its own errors."""

    def handle(self, record: logging.LogRecord) -> bool:
        raise ConnectionError("the log collector is away")


@contextmanager
def handling(handler: logging.Handler) -> Iterator[logging.Handler]:
    security_logger.addHandler(handler)
    try:
        yield handler
    finally:
        security_logger.removeHandler(handler)
        handler.close()


def event(**fields: Any) -> Event:
    return Event("data_access", "read", Severity.INFO, Category.DATA_ACCESS, {"event_type": "data_access"}, **fields)


def troubles(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "secguard"]


def hear(event: Event, **kwargs: Any) -> None:
    raise LookupError("a receiver's own fault")


@pytest.fixture
def deaf_receiver() -> Iterator[None]:
    signals.event_logged.connect(hear)
    yield
    signals.event_logged.disconnect(hear)


@pytest.fixture
def async_receiver() -> Iterator[None]:
    signals.event_logged.connect(hear_later)
    yield
    signals.event_logged.disconnect(hear_later)


# -- handlers that raise ---------------------------------------------------------------------------------------


def test_a_handler_that_raises_hurts_nobody_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    lost = emit.lost_events
    with handling(Broken()):
        SecurityEvent.log("data_access", username="anna")
    assert emit.lost_events == lost + 1
    (trouble,) = troubles(caplog)
    assert "data_access" in trouble.getMessage()
    assert trouble.exc_info
    assert isinstance(trouble.exc_info[1], ConnectionError)


def test_an_event_whose_handler_raised_is_still_signalled() -> None:
    with handling(Broken()), capture_events() as events:
        SecurityEvent.log("data_access", username="anna")
    assert events.types == ["data_access"]


@pytest.mark.django_db
@override_settings(ROOT_URLCONF=__name__)
def test_a_request_is_served_although_a_handler_raises() -> None:
    lost = emit.lost_events
    with handling(Broken()):
        response = Client().get("/vain/")
    assert (response.status_code, response.content) == (200, b"served")
    assert emit.lost_events == lost + 1


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("raise_exceptions", [True, False])
def test_a_full_log_disk_is_counted(raise_exceptions: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # The standard library's handlers catch their own errors, and with raiseExceptions off say nothing.
    monkeypatch.setattr(logging, "raiseExceptions", raise_exceptions)
    lost = emit.lost_events
    with handling(emit.EventStreamHandler(FullDisk())), capture_events() as events:
        SecurityEvent.log("data_access", username="anna")
    assert events.types == ["data_access"]
    assert emit.lost_events == lost + 1


def test_a_failure_to_report_a_failure_ends_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    logger, broken = logging.getLogger("secguard"), Broken()
    logger.addHandler(broken)
    try:
        report_failure("something of %s failed", "ours", error=ValueError("first"))
    finally:
        logger.removeHandler(broken)
    written = capsys.readouterr().err
    assert "secguard: something of ours failed: ValueError('first'); then ConnectionError" in written


# -- receivers that raise --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("deaf_receiver")
def test_a_receiver_that_raises_is_reported_and_the_others_hear_the_event(caplog: pytest.LogCaptureFixture) -> None:
    with capture_events() as events:
        SecurityEvent.log("data_access", username="anna")
    assert events.types == ["data_access"]
    (trouble,) = troubles(caplog)
    assert "hear" in trouble.getMessage()
    assert trouble.exc_info
    assert isinstance(trouble.exc_info[1], LookupError)


@pytest.mark.usefixtures("deaf_receiver")
@pytest.mark.django_db
@override_settings(ROOT_URLCONF=__name__)
def test_a_request_is_served_although_a_receiver_raises() -> None:
    assert Client().get("/vain/").status_code == 200


async def hear_later(event: Event, **kwargs: Any) -> None:
    """A receiver that has to be awaited."""


@pytest.mark.usefixtures("async_receiver")
async def test_receivers_that_cannot_be_called_from_an_event_loop_hurt_nobody(caplog: pytest.LogCaptureFixture) -> None:
    SecurityEvent.log("data_access", username="anna")
    (trouble,) = troubles(caplog)
    assert "event loop" in trouble.getMessage()


# -- the logger, as projects configure it ----------------------------------------------------------------------


def test_a_null_handler_hides_no_event_from_the_receivers(monkeypatch: pytest.MonkeyPatch) -> None:
    # Django's documentation advises exactly this for DisallowedHost.
    monkeypatch.setattr(security_logger, "propagate", False)
    with handling(logging.NullHandler()), capture_events() as events:
        SecurityEvent.log("data_access", username="anna")
    assert events.types == ["data_access"]


def test_a_level_hides_lines_but_no_event_from_the_receivers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "security.events")
    with capture_events() as events:
        SecurityEvent.log("data_access", username="anna")
        SecurityEvent.log("data_access", severity="error", username="bert")
    assert [record.levelname for record in caplog.records if record.name == "security.events"] == ["ERROR"]
    assert len(events) == 2


def test_any_handler_can_read_the_event_from_the_record(caplog: pytest.LogCaptureFixture) -> None:
    SecurityEvent.log("data_access", username="anna", rows=7)
    (record,) = [record for record in caplog.records if record.name == "security.events"]
    assert record.levelname == "INFO"
    assert record.context["event_type"] == "data_access"
    assert record.context["rows"] == 7


def test_a_filter_of_the_project_can_drop_a_line() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(lambda record: "anna" not in record.getMessage())
    with handling(handler):
        SecurityEvent.log("data_access", username="anna")
        SecurityEvent.log("data_access", username="bert")
    assert stream.getvalue() == "Data access: bert\n"


# -- what is emitted -------------------------------------------------------------------------------------------


def test_what_receivers_see_is_already_clean() -> None:
    with capture_events() as events:
        made = event()
        made.context |= {"password": "hunter22", "many": {1, 2}, "text": "a\nb"}
        made.message = "two\nlines"
        emit.emit(made)
    (seen,) = events
    assert "\n" not in seen.message
    assert "hunter22" not in json.dumps(seen.context)


def test_an_event_without_an_origin_says_who_emitted_it() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(SecurityJsonFormatter())
    with handling(handler):
        emit.emit(event())
        emit.emit(event(origin=Origin("/srv/shop/views.py", 12, "checkout")))
    first, second = [json.loads(line)["location"] for line in stream.getvalue().splitlines()]
    assert (first["file"], first["function"]) == ("test_emit.py", "test_an_event_without_an_origin_says_who_emitted_it")
    assert second == {"file": "views.py", "line": 12, "function": "checkout"}


def test_without_receivers_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals.address_blocked, "receivers", [])
    emit.send(signals.address_blocked, network="203.0.113.7")
