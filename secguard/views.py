"""The page that an unlock link leads to, and how the guard is doing."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods, require_safe

from secguard.context import context_for
from secguard.records.health import DEGRADED, FAILING, ask
from secguard.records.unlocking import find_locked, unlock_by_link

TEMPLATE = "secguard/unlock.html"


# What is unlocked is so at once, in memory too: a page that fails must not take back only the half of it.
@transaction.non_atomic_requests
@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def unlock(request: HttpRequest, token: str) -> HttpResponse:
    """Ask first, and unlock on POST: what scans mails follows the links in them."""
    if request.method == "POST":
        done = unlock_by_link(token, context_for(request))
        return _page(request, "done" if done else "invalid")
    return _page(request, "ask" if find_locked(token) is not None else "invalid")


def _page(request: HttpRequest, state: str) -> HttpResponse:
    response = render(request, TEMPLATE, {"state": state}, status=404 if state == "invalid" else 200)
    # The address is the secret.
    response["Referrer-Policy"] = "same-origin"
    return response


# Its database may be the one that is away.
@transaction.non_atomic_requests
@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """How the guard of this process is doing, as JSON: for monitoring and load balancers.

    503 where this process does not know who is blocked. Else 200, also if the guard is degraded, which it is for every
    server at the same time; with ``?strict`` that is 503, too.
    """
    found = ask()
    wrong = (FAILING, DEGRADED) if "strict" in request.GET else (FAILING,)
    return JsonResponse(found._asdict(), status=503 if found.status in wrong else 200)
