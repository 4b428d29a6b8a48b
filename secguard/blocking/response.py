"""What the refused get to see: no reason, a reference that stands in the log, and when to come back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.template.loader import render_to_string
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from secguard.blocking.refusals import Episode
from secguard.conf import get_settings, until_settings_change
from secguard.failures import report_failure

TEMPLATE = "secguard/blocked.html"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that gets no further. ``retry_after``: seconds, or None if nobody can say.

    ``kind``: ``blocked`` (the address), ``attempt`` (this guess, by its reservation), ``suspicious`` (a threat is open)
    or ``rate`` (too many requests).
    ``status``: of the answer, or None for SECGUARD["BLOCK_STATUS"].
    """

    kind: str
    reference: str
    retry_after: int | None
    status: int | None = None


@until_settings_change
def _custom_response() -> Callable[[HttpRequest, Refusal], HttpResponse] | None:
    given = get_settings().blocked_response
    return import_string(given) if isinstance(given, str) else given


@until_settings_change
def _broken() -> list[bool]:
    """Whether the project's own answer has failed since the settings were read."""
    return []


def refuse(request: HttpRequest, refusal: Refusal, episode: Episode) -> HttpResponseBase:
    """The answer to a refused request: the project's own, a page for browsers, or JSON."""
    response = _own(request, refusal) or _standard(request, refusal, episode)
    # Django would log each one: a flood must not become a line a request.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _own(request: HttpRequest, refusal: Refusal) -> HttpResponseBase | None:
    broken = _broken()
    if broken:
        return None
    try:
        custom = _custom_response()
        response = custom(request, refusal) if custom else None
        if response is None or isinstance(response, HttpResponseBase):
            return response
        raise TypeError(f"it returned {type(response).__name__}, not an HttpResponse")
    except Exception:
        # Said once: a flood of refusals must not become one of tracebacks.
        broken.append(True)
        report_failure("SECGUARD['BLOCKED_RESPONSE'] is not used any more, since it failed")
        return None


def _standard(request: HttpRequest, refusal: Refusal, episode: Episode) -> HttpResponse:
    html = wants_html(request)
    key = (html, refusal.retry_after, refusal.status)
    content = episode.pages.get(key)
    if content is None:
        if len(episode.pages) > 1:  # the latest page and the latest JSON: an attacker has thousands of addresses
            episode.pages.clear()
        content = episode.pages[key] = _page(refusal) if html else _json(refusal)
    response = HttpResponse(
        cast(bytes, content),
        status=refusal.status or get_settings().block_status,
        content_type="text/html; charset=utf-8" if html else "application/json",
    )
    if refusal.retry_after is not None:
        response["Retry-After"] = str(refusal.retry_after)
    response["Cache-Control"] = "no-store"
    response["Vary"] = "Accept"
    return response


def rewrite(response: Any, refusal: Refusal) -> bool:
    """Turn a response of REST framework into the refusal, in the format that was asked for. → whether it is one.

    Not where the project has an answer of its own.
    """
    if get_settings().blocked_response is not None or not hasattr(response, "accepted_renderer"):
        return False
    kept = response.data, response.status_code, response.exception
    try:
        response.data = json.loads(_json(refusal))
        response.status_code, response.exception = refusal.status or get_settings().block_status, True
        response._is_rendered = False
        response.render()
    except Exception:
        report_failure("a refusal could not be rendered by REST framework")
        response.data, response.status_code, response.exception = kept
        return False
    for stale in ("Content-Encoding", "ETag"):  # of middleware that has seen the other body
        response.headers.pop(stale, None)
    if "Content-Length" in response:
        response["Content-Length"] = str(len(response.content))
    if refusal.retry_after is not None:
        response["Retry-After"] = str(refusal.retry_after)
    response["Cache-Control"] = "no-store"
    response._has_been_logged = True  # Django would log each one
    return True


def wants_html(request: HttpRequest) -> bool:
    """Is a person looking? Browsers name text/html when they navigate; programs name JSON or anything."""
    accept = request.META.get("HTTP_ACCEPT", "")
    if "html" not in accept:
        return False
    if "json" not in accept:
        return True
    qualities = {part.media_type: part.quality for part in map(_Accepted, accept.split(",")[:20])}
    return qualities.get("text/html", 0.0) >= qualities.get("application/json", 0.0)


class _Accepted:
    """One entry of an Accept header (RFC 9110, 12.5.1)."""

    def __init__(self, text: str) -> None:
        media_type, _, parameters = text.partition(";")
        self.media_type = media_type.strip().lower()
        self.quality = 1.0
        for parameter in parameters.split(";"):
            name, _, value = parameter.partition("=")
            if name.strip().lower() == "q":
                self.quality = _quality(value)


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _page(refusal: Refusal) -> bytes:
    context: dict[str, Any] = {"reference": refusal.reference, "retry_after": refusal.retry_after}
    try:
        return render_to_string(TEMPLATE, context).encode()
    except Exception:
        # No template engine, or an override that raises: the refusal stands all the same.
        report_failure("the template %r could not be rendered", TEMPLATE)
        return b"<!doctype html><title>Refused</title><p>Refused. Reference: %b" % refusal.reference.encode()


def _json(refusal: Refusal) -> bytes:
    body = {"detail": _("This request was refused."), "reference": refusal.reference}
    return json.dumps(body | ({"retry_after": refusal.retry_after} if refusal.retry_after is not None else {})).encode()
