"""What the refused get to see, and what the log says of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse

from secguard.blocking.response import Refusal
from secguard.testing import CapturedEvents, ManualClock
from tests.end_to_end.conftest import Configure, Lines, Visit
from tests.end_to_end.entry import ADDRESS, RIGHT, Visitor

pytestmark = pytest.mark.usefixtures("anna")

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def own_answer(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    return HttpResponse(f"{refusal.kind} {refusal.reference} {refusal.retry_after} {request.path}", status=418)


def broken_answer(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    raise RuntimeError("our own answer is broken")


def test_block_status_may_be_429(visitor: Visitor, configure: Configure) -> None:
    configure(BLOCK_STATUS=429)
    assert visitor.guess(6)[-1] == 429


def test_programs_get_json(visitor: Visitor) -> None:
    visitor.guess(5)
    refused = visitor.get("home/", Accept="application/json")
    assert refused["Content-Type"] == "application/json"
    assert set(json.loads(refused.content)) == {"detail", "reference", "retry_after"}


def test_browsers_get_a_page(visitor: Visitor) -> None:
    visitor.guess(5)
    refused = visitor.get("home/", Accept=BROWSER)
    assert refused["Content-Type"] == "text/html; charset=utf-8"
    assert refused.content.lstrip().lower().startswith(b"<!doctype html>")


def test_a_refusal_tells_no_reason(visitor: Visitor) -> None:
    visitor.guess(5)
    for accept in ("application/json", BROWSER):
        said = visitor.get("home/", Accept=accept).content.decode().lower()
        assert not [word for word in ("brute", "password", "login", "anna", ADDRESS, "block") if word in said]


def test_a_refusal_is_not_cached(visitor: Visitor) -> None:
    visitor.guess(5)
    refused = visitor.get("home/")
    assert (refused["Cache-Control"], refused["Vary"]) == ("no-store", "Accept")


def test_a_refusal_opens_no_session(visitor: Visitor) -> None:
    visitor.guess(5)
    assert not visitor.get("home/").cookies


@pytest.mark.usefixtures("own_templates")
def test_the_page_can_be_the_projects_own(visitor: Visitor) -> None:
    visitor.guess(5)
    assert b"Our own page for the refused." in visitor.get("home/", Accept=BROWSER).content


def test_the_answer_can_be_the_projects_own(visitor: Visitor, configure: Configure) -> None:
    configure(BLOCKED_RESPONSE=f"{__name__}.own_answer")
    visitor.guess(5)
    refused = visitor.get("home/")
    kind, reference, seconds, path = refused.content.decode().split()
    assert (refused.status_code, kind, seconds, path) == (418, "blocked", "900", visitor.path("home/"))
    assert reference


def test_an_answer_of_the_projects_own_that_raises_is_replaced(visitor: Visitor, configure: Configure) -> None:
    configure(BLOCKED_RESPONSE=broken_answer)
    visitor.guess(5)
    refused = visitor.get("home/")
    assert refused.status_code == 403
    assert json.loads(refused.content)["reference"]


def test_the_reference_stands_in_a_line_of_the_log(visitor: Visitor, lines: Lines) -> None:
    visitor.guess(5)
    reference = json.loads(visitor.get("home/").content)["reference"]
    found = [line["context"] for line in lines() if line["context"].get("reference") == reference]
    assert [(context["event_type"], context["ip_address"]) for context in found] == [("request_blocked", ADDRESS)]


def test_a_page_shows_the_reference_too(visitor: Visitor) -> None:
    visitor.guess(5)
    reference = json.loads(visitor.get("home/").content)["reference"]
    assert reference.encode() in visitor.get("home/", Accept=BROWSER).content


def test_the_reference_of_a_refused_attempt_stands_in_the_log(
    visitor: Visitor, settings: Any, events: CapturedEvents
) -> None:
    settings.AUTHENTICATION_BACKENDS = [
        "secguard.backends.SecurityGuardBackend",
        "tests.end_to_end.backends.CrashingBackend",
    ]
    for _ in range(5):
        visitor.log_in("anna", "crash")
    reference = json.loads(visitor.log_in("anna", RIGHT).content)["reference"]
    assert [event.context["reference"] for event in events.of("attempt_refused")] == [reference]


# -- a flood of refusals ---------------------------------------------------------------------------------


def test_a_flood_of_refusals_is_one_line(visitor: Visitor, events: CapturedEvents) -> None:
    visitor.guess(5)
    for _ in range(20):
        visitor.get("home/")
    assert [event.context["count"] for event in events.of("request_blocked")] == [1]


def test_a_flood_that_goes_on_is_a_line_a_minute_with_its_count(
    visitor: Visitor, configure: Configure, events: CapturedEvents, clock: ManualClock
) -> None:
    configure(SYNC_INTERVAL=3600)
    visitor.guess(5)
    for _ in range(2):
        for _ in range(20):
            visitor.get("home/")
        clock.advance(60)
    visitor.get("home/")
    assert [event.context["count"] for event in events.of("request_blocked")] == [1, 20, 20]


def test_a_flood_that_came_to_rest_is_told_in_full(
    visitor: Visitor, visit: Visit, events: CapturedEvents, clock: ManualClock
) -> None:
    visitor.guess(5)
    for _ in range(20):
        visitor.get("home/")
    clock.advance(121)
    visit("192.0.2.2").get("home/")
    assert [event.context["count"] for event in events.of("request_blocked")] == [1, 19]


def test_django_does_not_log_each_refusal_again(visitor: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    visitor.guess(5)
    caplog.clear()
    visitor.get("home/")
    assert [record.name for record in caplog.records] == ["security.events"]


# -- known and unknown accounts --------------------------------------------------------------------------


def masked(answer: HttpResponse) -> tuple[int, bytes, dict[str, str]]:
    """An answer without what differs from one second or one flood to the next."""
    content = answer.content
    headers = dict(answer.headers)
    if answer["Content-Type"] == "application/json":
        content = b" ".join(sorted(key.encode() for key in json.loads(content)))
        headers.pop("Content-Length", None)
        headers.pop("Retry-After", None)
    return answer.status_code, content, headers


@pytest.mark.parametrize("earlier_guesses", [0, 5, 6])
def test_known_and_unknown_accounts_get_the_same_answer(visit: Visit, earlier_guesses: int) -> None:
    known, unknown = visit("192.0.2.10"), visit("192.0.2.11")
    known.guess(earlier_guesses, "anna")
    unknown.guess(earlier_guesses, "nobody")
    assert masked(known.log_in("anna", "x")) == masked(unknown.log_in("nobody", "x"))


def test_a_refused_attempt_does_not_tell_whether_the_account_exists(visit: Visit, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [
        "secguard.backends.SecurityGuardBackend",
        "tests.end_to_end.backends.CrashingBackend",
        "tests.end_to_end.backends.CountingBackend",
    ]
    answers = []
    for address, name, password in [("192.0.2.10", "anna", RIGHT), ("192.0.2.11", "nobody", "x")]:
        visitor = visit(address)
        for _ in range(5):
            visitor.log_in(name, "crash")
        answers.append(masked(visitor.log_in(name, password)))
    assert answers[0] == answers[1]
    assert answers[0][0] == 403
