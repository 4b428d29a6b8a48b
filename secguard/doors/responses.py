"""What a finished response tells: refusals that nobody has told yet, probes for accounts, pages that are not there.

The middleware asks ``tells_something`` for each response, which does no I/O, and ``tell_of`` for the few that do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings as django_settings
from django.contrib.auth.views import PasswordResetView
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch

from secguard.conf import until_settings_change
from secguard.context import RequestContext
from secguard.doors.denials import known_user, object_of, say, tell, view_class_of, view_of
from secguard.events import EventType
from secguard.failures import report_failure
from secguard.logging import get_event_logger, identifier_in

_REFUSED = (401, 403, 429)
_REDIRECTS = (301, 302, 303, 307, 308)
#: REST framework's codes → the event. Every other code of a 401 is a refused token.
_CODES: Mapping[str, EventType] = {
    "not_authenticated": EventType.AUTHENTICATION_REQUIRED,
    "permission_denied": EventType.PERMISSION_DENIED,
    "throttled": EventType.RATE_LIMIT_EXCEEDED,
}

#: Views at which anybody may ask about an account, and the event that each post to them is. Doors add theirs.
PROBED: dict[type, EventType] = {PasswordResetView: EventType.PASSWORD_RESET_REQUESTED}
#: Tells the refused tokens of a package apart: (context) → event type, or None where it knows nothing.
TOKEN_VERDICTS: list[Callable[[RequestContext], EventType | None]] = []


@until_settings_change
def _counts_missing_pages() -> bool:
    """Is the opt-in rule over 404 pages, or another one, in force?"""
    return get_event_logger().pipeline.detector.watches(EventType.NOT_FOUND)


def tells_something(context: RequestContext, response: HttpResponseBase) -> bool:
    """Is there anything to tell of this response? No I/O. Never raises."""
    try:
        return _tells_something(context, response)
    except Exception:
        report_failure("a response could not be looked at")
        return False


def _tells_something(context: RequestContext, response: HttpResponseBase) -> bool:
    status = response.status_code
    if context.deferred is not None:
        return True
    if context.refused is not None and not context.authenticated:
        return False
    if status in _REFUSED or is_rate_limited(context.request):
        return not context.denied
    if status == 404:
        return _counts_missing_pages()
    request = context.request
    if request is None:
        return False
    if status in _REDIRECTS and not context.denied and _is_denied_login(request, response):
        return True
    return request.method == "POST" and _probe_of(request) is not None


def tell_of(context: RequestContext, response: HttpResponseBase) -> None:
    """Tell it. Asks the store: not for an event loop's thread. Never raises."""
    try:
        _tell_of(context, response)
    except Exception:
        report_failure("what a response tells could not be logged")


def _tell_of(context: RequestContext, response: HttpResponseBase) -> None:
    request, status = context.request, response.status_code
    if context.deferred is not None:
        (event_type, details), context.deferred = context.deferred, None
        say(context, event_type, details)
    elif (status in _REFUSED or is_rate_limited(request)) and not context.denied:
        event_type, details = _refusal(context, response)
        # A permission class of REST framework's knows more than a response does.
        tell(event_type, request=request, **{**details, **context.hints})
    elif status == 404:
        get_event_logger().count(EventType.NOT_FOUND, request=request)
    elif request is not None and status in _REDIRECTS and not context.denied and _is_denied_login(request, response):
        reason = "redirected_to_login"
        tell(EventType.PERMISSION_DENIED, request=request, reason=reason, view=view_of(request))
    if request is not None and request.method == "POST":
        _tell_of_probe(context, request, response)


def is_rate_limited(request: HttpRequest | None) -> bool:
    """Did django-ratelimit find that there were too many? Its exception is a PermissionDenied, and no denial."""
    return getattr(request, "limited", False) is True


# -- refusals ----------------------------------------------------------------------------------------------


def _refusal(context: RequestContext, response: HttpResponseBase) -> tuple[str, dict[str, Any]]:
    """What a response of 401, 403 or 429 was, as far as it says itself."""
    request = context.request
    code, text = code_and_text(getattr(response, "data", None))
    details: dict[str, Any] = {"view": view_of(request)}
    if response.status_code == 429 or is_rate_limited(request):
        retry = response.get("Retry-After", "")
        return EventType.RATE_LIMIT_EXCEEDED, {"retry_after": int(retry) if retry.isdigit() else None}
    if code:
        event_type = event_of_code(context, code, text, response.status_code)
        return event_type, {**details, "reason": text or code, **about(event_type, request)}
    if response.status_code == 401:
        return EventType.AUTHENTICATION_REQUIRED, {**details, "reason": "unauthorized"}
    return EventType.PERMISSION_DENIED, {
        **details,
        "reason": "forbidden",
        **about(EventType.PERMISSION_DENIED, request),
    }


def about(event_type: str, request: HttpRequest | None) -> dict[str, Any]:
    """What the request was for, if it was denied."""
    found = object_of(request) if event_type == EventType.PERMISSION_DENIED else None
    return {"object": found} if found else {}


def code_and_text(data: object) -> tuple[str, str]:
    """The code and text in the body of REST framework's error responses, or two empty texts."""
    if not isinstance(data, Mapping):
        return "", ""
    detail = data.get("detail")
    code = data.get("code") or getattr(detail, "code", "")
    return (str(code), str(detail or "")) if code else ("", "")


def event_of_code(context: RequestContext, code: str, text: str, status: int) -> EventType:
    """Which refusal REST framework means. ``text``: what it says to people."""
    if text.startswith("CSRF Failed"):
        return EventType.CSRF_FAILED
    known = _CODES.get(code)
    if known is not None:
        return known
    for verdict in TOKEN_VERDICTS:
        found = verdict(context)
        if found is not None:
            return found
    presented = context.request is not None and "HTTP_AUTHORIZATION" in context.request.META
    if code in (*_TOKEN_CODES, *_REVOKED) or (status == 401 and presented):
        return token_event(code, text)
    return EventType.PERMISSION_DENIED if status == 403 else EventType.AUTHENTICATION_REQUIRED


_TOKEN_CODES = ("authentication_failed", "token_not_valid")
_REVOKED = ("user_inactive", "user_not_found", "password_changed", "no_active_account")


def token_event(code: str, text: str) -> EventType:
    """A token that says of itself that it has expired was no guess, nor one whose user has gone."""
    said = f"{code} {text}".casefold()
    if "expired" in said and code != "token_not_valid":
        return EventType.TOKEN_EXPIRED
    if code in _REVOKED or "inactive" in said or "blacklisted" in said or "revoked" in said:
        return EventType.TOKEN_REVOKED
    if code in ("bad_authorization_header", "token_not_valid") or "header" in said:
        return EventType.TOKEN_REJECTED
    return EventType.TOKEN_FORGED


# -- redirects to the login page ---------------------------------------------------------------------------


def _is_denied_login(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Was somebody sent to the login page who is logged in? Then a permission was missing, not a login."""
    location = response.get("Location", "")
    if "=" not in location:
        return False
    user = known_user(request)
    if user is None or getattr(user, "otp_device", user) is None:  # a second factor is asked for, not a permission
        return False
    target = urlsplit(location)
    if target.path == request.path:
        return False
    here = request.get_full_path()
    wanted = [value for values in parse_qs(target.query).values() for value in values]
    if not any(value == here or value.endswith(f"//{request.get_host()}{here}") for value in wanted):
        return False
    return target.path in _login_pages(request)


def _login_pages(request: HttpRequest) -> set[str]:
    """Where somebody is sent who may not see this view. Other redirects that come back are no denials: to a page
    that asks for the password again, or for a new one."""
    match = request.resolver_match
    named = [django_settings.LOGIN_URL, getattr(match and match.func, "login_url", None)]
    named += [f"{match.namespace}:login"] if match and match.namespace else []
    found = set()
    for name in filter(None, named):
        with suppress(NoReverseMatch):
            found.add(urlsplit(resolve_url(name)).path)
    return found


# -- probes ------------------------------------------------------------------------------------------------


def _probe_of(request: HttpRequest) -> EventType | None:
    view_class = view_class_of(request)
    if view_class is None:
        return None
    return next((event for probed, event in PROBED.items() if issubclass(view_class, probed)), None)


def _tell_of_probe(context: RequestContext, request: HttpRequest, response: HttpResponseBase) -> None:
    """A password reset for somebody, or a sign-up that came to nothing: both may ask who has an account here."""
    event_type = _probe_of(request)
    if event_type is None or response.status_code in _REFUSED or response.status_code >= 500:
        return
    if event_type == EventType.SIGNUP_REJECTED and "user_created" in context.notes:
        return
    identifier = identifier_in(_typed(request, response))
    if identifier is not None:
        get_event_logger().log(event_type, request=request, username=identifier, view=view_of(request))


def _typed(request: HttpRequest, response: HttpResponseBase) -> Mapping[str, Any]:
    """What was posted, as a form or through REST framework."""
    wrapped = (getattr(response, "renderer_context", None) or {}).get("request")
    data = getattr(wrapped, "_full_data", None)
    return data if isinstance(data, Mapping) else request.POST
