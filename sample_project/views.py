"""The sample site's pages: one public, one asynchronous, one that not everybody may see, one in JSON."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "home.html")


@require_safe
@login_required
def reports(request: HttpRequest) -> HttpResponse:
    """For staff. Anybody else who is logged in is denied, and the denial is a security event."""
    if not request.user.is_staff:
        raise PermissionDenied("reports are for staff")
    return render(request, "reports.html")


@require_safe
async def pulse(request: HttpRequest) -> HttpResponse:
    """The same site through Django's asynchronous path."""
    user = await request.auser()
    return render(request, "pulse.html", {"name": user.get_username() or "a visitor"})


@require_safe
def status(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "ok", "authenticated": request.user.is_authenticated})
