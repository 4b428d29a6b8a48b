"""Decorators for views: a rate limit, and a line for data that is worth one."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponseBase

from secguard.blocking.response import Refusal, refuse
from secguard.doors.data_access import note_access
from secguard.doors.throttle import Excess, Key, Throttle

V = TypeVar("V", bound=Callable[..., Any])


def throttle(
    rate: str, *, key: Key = "address", scope: str | None = None, methods: tuple[str, ...] | None = None
) -> Callable[[V], V]:
    """Answer 429 with Retry-After beyond ``rate``, such as "10/m", in a sliding window that all workers share.

    ``key``: "address", "user" (the signed-in user, else the address), or a function (request) → text, or None for
    whom nothing is limited. ``scope``: views of one scope share the limit; by default each view has its own.
    ``methods``: count only these, such as ("POST",). In monitor mode it logs and lets pass. Sync and async views.

    Raises ImproperlyConfigured, at import, for a rate or key that is none.
    """

    def decorate(view: V) -> V:
        limit = Throttle(rate, key=key, scope=scope or f"{view.__module__}.{view.__qualname__}")

        def excess_of(request: HttpRequest) -> Excess | None:
            return limit.hit(request) if methods is None or request.method in methods else None

        if iscoroutinefunction(view):

            @wraps(view)
            async def throttled(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                # In a thread: the key may be the user, who may have to be fetched.
                excess = await sync_to_async(excess_of)(request)
                return await view(request, *args, **kwargs) if excess is None else _too_many(request, excess)

        else:

            @wraps(view)
            def throttled(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                excess = excess_of(request)
                return view(request, *args, **kwargs) if excess is None else _too_many(request, excess)

        return throttled  # type: ignore[return-value] # the view, with an answer more

    return decorate


def _too_many(request: HttpRequest, excess: Excess) -> HttpResponseBase:
    refusal = Refusal("rate", excess.episode.reference, excess.retry_after, status=429)
    return refuse(request, refusal, excess.episode)


def logs_data_access(resource: str, *, action: str = "read") -> Callable[[V], V]:
    """Log a data_access event whenever the view answered with success: who, what, and from where.

    ``resource``: what it is, such as "payroll". ``action``: read, create, update, delete, export or your own word.
    """

    def decorate(view: V) -> V:
        if iscoroutinefunction(view):

            @wraps(view)
            async def logged(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                response = await view(request, *args, **kwargs)
                await sync_to_async(note_access)(request, response, resource, action)
                return response

        else:

            @wraps(view)
            def logged(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                response = view(request, *args, **kwargs)
                note_access(request, response, resource, action)
                return response

        return logged  # type: ignore[return-value] # the view itself

    return decorate
