"""What the refused get to see."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import RequestFactory, override_settings

from secguard.blocking.refusals import Episode
from secguard.blocking.response import Refusal, refuse, wants_html

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
LOADERS = "django.template.loaders.locmem.Loader"


def templates(**files: str) -> list[dict[str, Any]]:
    """An engine with these templates alone."""
    renamed = {name.replace("__", "/") + ".html": text for name, text in files.items()}
    return [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {"loaders": [(LOADERS, renamed)]},
        }
    ]


def asking(accept: str | None = None) -> HttpRequest:
    return RequestFactory().get("/secret/", **({} if accept is None else {"HTTP_ACCEPT": accept}))


def episode() -> Episode:
    return Episode("203.0.113.7", "blocked", next_line=0.0)


def refused(
    accept: str | None = None, *, retry_after: int | None = 60, kind: str = "blocked", of: Episode | None = None
) -> HttpResponse:
    of = of or episode()
    return refuse(asking(accept), Refusal(kind, of.reference, retry_after), of)


def own_answer(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    return JsonResponse({"kind": refusal.kind, "at": request.path, "ref": refusal.reference}, status=418)


def raising_answer(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    raise LookupError("the project's own fault")


def no_answer(request: HttpRequest, refusal: Refusal) -> None:
    return None


# -- the standard answer -----------------------------------------------------------------------------------------


def test_a_program_gets_json_with_a_reference_and_no_reason() -> None:
    of = episode()
    response = refused("application/json", of=of)
    assert response.status_code == 403
    assert response["Content-Type"] == "application/json"
    body = json.loads(response.content)
    assert body["reference"] == of.reference
    assert body["retry_after"] == 60
    assert not any(word in response.content.decode() for word in ("brute", "blocked", "limit", "rule", "address"))


def test_a_browser_gets_a_page_with_a_reference_and_no_reason() -> None:
    of = episode()
    response = refused(BROWSER, of=of)
    assert response.status_code == 403
    assert response["Content-Type"] == "text/html; charset=utf-8"
    page = response.content.decode()
    assert of.reference in page
    assert "60 seconds" in page
    assert not any(word in page.lower() for word in ("brute", "blocked", "limit", "password"))


@pytest.mark.parametrize("accept", ["application/json", BROWSER])
def test_a_refusal_says_when_to_come_back(accept: str) -> None:
    assert refused(accept, retry_after=61)["Retry-After"] == "61"


@pytest.mark.parametrize("accept", ["application/json", BROWSER])
def test_a_refusal_for_good_does_not(accept: str) -> None:
    response = refused(accept, retry_after=None)
    assert "Retry-After" not in response
    assert b"seconds" not in response.content


@pytest.mark.parametrize("accept", ["application/json", BROWSER])
def test_a_blocked_address_and_a_refused_attempt_look_alike(accept: str) -> None:
    of = episode()
    blocked, attempt = (refused(accept, kind=kind, of=of) for kind in ("blocked", "attempt"))
    assert (blocked.status_code, blocked.content, blocked.headers) == (
        attempt.status_code,
        attempt.content,
        attempt.headers,
    )


@override_settings(SECGUARD={"BLOCK_STATUS": 429})
@pytest.mark.parametrize("accept", ["application/json", BROWSER])
def test_the_status_can_be_429(accept: str) -> None:
    assert refused(accept).status_code == 429


def test_nobody_may_keep_a_refusal() -> None:
    response = refused()
    assert response["Cache-Control"] == "no-store"
    assert response["Vary"] == "Accept"


def test_django_is_told_not_to_log_each_refusal() -> None:
    assert refused()._has_been_logged is True  # type: ignore[attr-defined]


@pytest.mark.parametrize("accept", ["application/json", BROWSER])
def test_a_flood_is_answered_with_what_was_rendered_once(accept: str) -> None:
    of = episode()
    first = refused(accept, of=of)
    assert len(of.pages) == 1
    assert refused(accept, of=of).content == first.content
    assert len(of.pages) == 1


def test_what_is_kept_for_a_flood_is_bounded() -> None:
    of = episode()
    for seconds in range(1_000, 0, -1):
        assert b"%d" % seconds in refused("application/json", retry_after=seconds, of=of).content
    assert len(of.pages) < 20


# -- who is a browser ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("text/html, application/json", True),
        ("application/json;q=0.8, text/html", True),
        ("application/json, text/html;q=0.5", False),
        ("application/json, text/html;q=0", False),
        ("application/json, text/html;q=x", False),
        ("application/json;q=0.5,text/html;level=1;q=0.7", True),
        ("application/json", False),
        ("*/*", False),
        ("", False),
        (None, False),
        ("application/problem+json, text/html;q=0.1", True),
    ],
)
def test_who_would_rather_read_html_gets_html(accept: str | None, html: bool) -> None:
    assert wants_html(asking(accept)) is html


@pytest.mark.parametrize(
    "accept", [",;=,;q=,html json", "html;q=nan,json;q=inf", "json,html," * 100_000, "html\x00json"]
)
def test_no_accept_header_makes_a_refusal_fail(accept: str) -> None:
    assert refused(accept).status_code == 403


# -- templates -----------------------------------------------------------------------------------------------------


@override_settings(TEMPLATES=templates(secguard__blocked="<b>{{ reference }}</b> in {{ retry_after }}"))
def test_a_project_may_override_the_template() -> None:
    of = episode()
    assert refused(BROWSER, of=of).content.decode() == f"<b>{of.reference}</b> in 60"


@pytest.mark.parametrize(
    "engines",
    [
        [],
        templates(),
        templates(secguard__blocked="{% no_such_tag %}"),
        templates(secguard__blocked="{% include 'x' %}"),
    ],
)
def test_without_a_template_that_renders_the_refusal_stands(
    engines: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    of = episode()
    with override_settings(TEMPLATES=engines):
        response = refused(BROWSER, of=of)
    assert response.status_code == 403
    assert of.reference in response.content.decode()
    assert [record.name for record in caplog.records] == ["secguard"]


# -- an answer of the project's own ----------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [f"{__name__}.own_answer", own_answer])
def test_a_project_may_answer_itself(given: Any) -> None:
    of = episode()
    with override_settings(SECGUARD={"BLOCKED_RESPONSE": given}):
        response = refused(BROWSER, of=of)
    assert response.status_code == 418
    assert json.loads(response.content) == {"kind": "blocked", "at": "/secret/", "ref": of.reference}
    assert response._has_been_logged is True  # type: ignore[attr-defined]


@pytest.mark.parametrize("given", [f"{__name__}.raising_answer", raising_answer, f"{__name__}.no_such_answer"])
def test_an_own_answer_that_fails_lets_nobody_through(given: Any, caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(SECGUARD={"BLOCKED_RESPONSE": given}):
        response = refused("application/json")
    assert response.status_code == 403
    assert json.loads(response.content)["reference"]
    (trouble,) = caplog.records
    assert "BLOCKED_RESPONSE" in trouble.getMessage()


def test_an_own_answer_of_nothing_lets_nobody_through() -> None:
    with override_settings(SECGUARD={"BLOCKED_RESPONSE": no_answer}):
        assert refused("application/json").status_code == 403


def no_response(request: HttpRequest, refusal: Refusal) -> str:
    return "refused"


@pytest.mark.parametrize("given", [raising_answer, no_response])
def test_an_own_answer_that_failed_is_reported_once_and_not_asked_again(
    given: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with override_settings(SECGUARD={"BLOCKED_RESPONSE": given}):
        answers = [refused("application/json").status_code for _ in range(50)]
    assert answers == [403] * 50
    assert len(caplog.records) == 1


def test_an_own_answer_is_asked_again_once_the_settings_change() -> None:
    with override_settings(SECGUARD={"BLOCKED_RESPONSE": raising_answer}):
        refused("application/json")
    with override_settings(SECGUARD={"BLOCKED_RESPONSE": own_answer}):
        assert refused("application/json").status_code == 418
