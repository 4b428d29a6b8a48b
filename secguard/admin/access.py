"""Who may see and do what, and what a page says while the tables cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from secguard.failures import report_failure

#: To see events, the pages of addresses and accounts, and exports.
VIEW_EVENTS = "secguard.view_eventrecord"
#: To block, lock, allow, lift and reset.
MANAGE = "secguard.manage_blocks"

View = TypeVar("View", bound=Callable[..., Any])


def may(request: HttpRequest, permission: str) -> bool:
    return request.user.has_perm(permission)


def demand(request: HttpRequest, permission: str) -> None:
    """Raises PermissionDenied, which the middleware makes an event of."""
    if not may(request, permission):
        raise PermissionDenied


def operator(request: HttpRequest) -> str:
    """Who decides, for the record."""
    return request.user.get_username()


def said_if_unreadable(view: View) -> View:
    """A view of a model admin that says so, with status 503, if the database fails: before ``migrate``, or away."""

    @wraps(view)
    def guarded(self: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return view(self, request, *args, **kwargs)
        except DatabaseError:
            report_failure("a page of the admin could not read the database")
            return unreadable(request, self.admin_site)

    return cast(View, guarded)


def unreadable(request: HttpRequest, site: AdminSite) -> HttpResponse:
    context = {**site.each_context(request), "title": _("The security tables cannot be read")}
    return TemplateResponse(request, "admin/secguard/unreadable.html", context, status=503)
