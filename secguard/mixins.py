"""A mixin for class-based views: a line for data that is worth one."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponseBase

from secguard.doors.data_access import note_access

#: What the methods of HTTP do, where ``data_action`` says nothing else.
_ACTIONS = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}


class DataAccessMixin:
    """Logs a data_access event whenever the view answered with success. For Django's and REST framework's views.

    ``data_resource``: what it is, such as "payroll"; the view's name if not set. ``data_action``: read, create,
    update, delete, export or your own word; by default what the method of the request does.
    """

    data_resource: str = ""
    data_action: str = ""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase | Awaitable[Any]:
        response = super().dispatch(request, *args, **kwargs)  # type: ignore[misc] # the view's
        if iscoroutinefunction(response) or isinstance(response, Awaitable):
            return self._noted(request, response)
        self._note(request, response)
        found: HttpResponseBase = response
        return found

    async def _noted(self, request: HttpRequest, awaitable: Awaitable[HttpResponseBase]) -> HttpResponseBase:
        response = await awaitable
        await sync_to_async(self._note)(request, response)
        return response

    def _note(self, request: HttpRequest, response: HttpResponseBase) -> None:
        resource = self.data_resource or type(self).__name__
        action = self.data_action or _ACTIONS.get(request.method or "", "read")
        note_access(getattr(self, "request", request), response, resource, action)
