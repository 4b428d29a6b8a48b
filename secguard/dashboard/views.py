"""The page under an address of its own, and the numbers that it asks for while it is open."""

from __future__ import annotations

import hashlib

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from secguard.dashboard import page

APP = "secguard"
TEMPLATE = "admin/secguard/app_index.html"


@require_safe
def dashboard(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """The app's index, also where the admin site has a template of its own for those."""
    if not page.may_see(request):
        raise PermissionDenied
    request.current_app = site.name
    context = {
        **site.each_context(request),
        "title": _("Security"),
        "subtitle": None,
        "app_list": site.get_app_list(request, APP),
        "app_label": APP,
    }
    return TemplateResponse(request, TEMPLATE, context)


@require_safe
def data(request: HttpRequest, *, site: AdminSite) -> HttpResponse:
    """JSON, or 304 if nothing has changed.

    Whoever is not logged in is told so, and not sent to the login: a script would follow, and take that page for an
    answer.
    """
    if not site.has_permission(request):
        return JsonResponse({"error": "authentication required"}, status=401)
    if not page.may_see(request):
        raise PermissionDenied
    request.current_app = site.name
    response: HttpResponse = JsonResponse(page.data(request))
    tag = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    if request.headers.get("If-None-Match") == tag:
        response = HttpResponse(status=304)
    response["ETag"] = tag
    patch_cache_control(response, private=True, no_cache=True)
    return response
