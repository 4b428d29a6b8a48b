"""The door: binds the request's context, refuses blocked addresses, and settles what the view left open."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import ceil
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import HttpRequest, HttpResponseBase

from secguard import emit, geo, signals
from secguard.blocking import devices
from secguard.blocking.refusals import Episode
from secguard.blocking.replica import FOREVER, BlockEntry
from secguard.blocking.response import Refusal, refuse, rewrite
from secguard.conf import get_settings, is_at_or_below
from secguard.context import RequestContext, bind, context_of, current, unbind
from secguard.doors import denials, responses
from secguard.events import EventType
from secguard.failures import report_failure
from secguard.logging import get_event_logger
from secguard.network import ClientAddress
from secguard.pipeline import get_replica, get_store, is_exempt, note_blocked, report_address_unknown, report_suppressed
from secguard.records import get_rollups, get_synchroniser, is_due, keep_up, mail_after, save

GetResponse = Callable[[HttpRequest], Any]
#: Where nobody can say when a slot falls free: seconds.
_RETRY_SOON = 5


class SecurityGuardMiddleware:
    """Put it after SecurityMiddleware and CORS, before the session: a refusal then costs neither.

    Raises ImproperlyConfigured or InvalidRule at start if SECGUARD is wrong.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        # What is wrong shows here, at start, and not in a request.
        get_store()
        _ = get_event_logger().pipeline
        geo.prepare()

    # -- the two entry points: they differ by await ----------------------------------------------------

    def __call__(self, request: HttpRequest) -> Any:
        if self.is_async:
            return self.__acall__(request)
        context = _enter(request)
        if context is None:
            return self.get_response(request)
        if get_synchroniser().due():
            _poll(context)
        refusal = _look_up(context)
        if refusal is not None:
            return refusal
        if get_settings().trap_paths and is_trap(request.path):
            _spring(context)
            refusal = _look_up(context)
            if refusal is not None:
                return refusal
        context.collects = True
        token = bind(context)
        try:
            try:
                response = self.get_response(request)
            finally:
                if context.attempts or context.pending or context.rows:
                    _finish(context)
                context.finished = True
            if responses.tells_something(context, response):
                responses.tell_of(context, response)
        finally:
            unbind(token)
        return _answer(context, response)

    async def __acall__(self, request: HttpRequest) -> Any:
        context = _enter(request)
        if context is None:
            return await self.get_response(request)
        if get_synchroniser().due():
            await _apoll(context)
        refusal = _look_up(context)
        if refusal is not None:
            return refusal
        if get_settings().trap_paths and is_trap(request.path):
            await sync_to_async(_spring)(context)
            refusal = _look_up(context)
            if refusal is not None:
                return refusal
        token = bind(context)
        try:
            try:
                response = await self.get_response(request)
            finally:
                context.finished = True
                if context.attempts or context.pending or context.rows:
                    await _afinish(context)
            if responses.tells_something(context, response):
                await sync_to_async(responses.tell_of)(context, response)
        finally:
            unbind(token)
        return _answer(context, response)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """A view refused: said at once, since the transaction it ran in is rolled back."""
        if get_settings().mode == "off":
            return
        view = denials.view_of(request)
        if isinstance(exception, SuspiciousOperation):
            denials.tell_suspicious(type(exception).__name__, str(exception), request, view=view)
        elif isinstance(exception, PermissionDenied) and not responses.is_rate_limited(request):
            emit.send(
                signals.permission_denied,
                request=request,
                user=getattr(request, "user", None),
                reason=str(exception) or "permission_denied",
                view=view,
                **responses.about(EventType.PERMISSION_DENIED, request),
            )


def _enter(request: HttpRequest) -> RequestContext | None:
    """The request's context, or None where the guard has nothing to do (or has done it: it is there twice)."""
    settings = get_settings()
    bound = current()
    if settings.mode == "off" or (bound is not None and bound.request is request):
        return None
    context = context_of(request)
    # For what runs in a thread that the ContextVar does not reach.
    request._secguard_context = context  # type: ignore[attr-defined]
    if not context.address.known:
        report_address_unknown(context)
    return context


def _poll(context: RequestContext) -> None:
    """Look for news of blocks. Bound, because the request's time for the store counts from here."""
    token = bind(context)
    try:
        get_synchroniser().poll()
        keep_up()
        _save_at_once(context)
    finally:
        unbind(token)


async def _apoll(context: RequestContext) -> None:
    token = bind(context)
    try:
        await get_synchroniser().apoll()
        if is_due():
            await sync_to_async(keep_up)()
        if context.rows:
            await sync_to_async(_save_at_once)(context)
    finally:
        unbind(token)


def _save(context: RequestContext) -> None:
    """Save what was decided and told, and then what saving itself told: that the database is away."""
    rows = list(context.rows)
    save(rows)
    if later := context.rows[len(rows) :]:
        save(later)


def _save_at_once(context: RequestContext) -> None:
    """Save what the poll itself left: the request may be refused, and then nobody looks after it."""
    if context.rows:
        _save(context)
        context.rows = []


def _is_exempt(path: str) -> bool:
    return any(is_at_or_below(path, each) for each in get_settings().exempt_paths)


def is_trap(path: str) -> bool:
    """Is it a path of TRAP_PATHS, below one, or with such an ending?"""
    return any(
        path.endswith(trap[1:]) if trap[0] == "*" else is_at_or_below(path, trap) for trap in get_settings().trap_paths
    )


def _spring(context: RequestContext) -> None:
    """Somebody asked for what nobody honest asks for: an event, and what the rules make of it."""
    try:
        get_event_logger().log(EventType.TRAP_HIT, message="Trap path requested", request=context.request)
    except Exception:
        report_failure("a hit of a trap path could not be counted")


def _look_up(context: RequestContext) -> HttpResponseBase | None:
    """One look into memory. → the answer for a blocked address, or None for everybody else."""
    entry = get_replica().find(context.address)
    if entry is None or (context.request and _is_exempt(context.request.path)):
        return None
    return _blocked(context, entry)


def _blocked(context: RequestContext, entry: BlockEntry) -> HttpResponseBase | None:
    address = context.address
    reason = _pardon(context, address)
    if reason:
        report_suppressed(entry.network, reason, context)
        return None
    left = None if entry.expires == FOREVER else max(1, ceil(entry.expires - get_replica().clock()))
    return _refuse(context, note_blocked(context, entry), "blocked", left)


def _pardon(context: RequestContext, address: ClientAddress) -> str:
    """Why a blocked address is served all the same; empty if it is not."""
    if address.allowlisted:
        return "allowlist"
    if address.trusted_proxy:
        return "trusted_proxy"
    if get_replica().is_allowed(address):
        return "allowed"
    if is_exempt(context):
        return "exempt"
    return "" if get_settings().enforces else "monitor"


def _refuse(context: RequestContext, episode: Episode, kind: str, retry_after: int | None) -> HttpResponseBase:
    assert context.request is not None  # noqa: S101 - the middleware made it from one
    return refuse(context.request, Refusal(kind, episode.reference, retry_after), episode)


def _finish(context: RequestContext) -> None:
    """The view's transaction has ended: settle, and save what was decided."""
    try:
        pipeline = get_event_logger().pipeline
        if context.pending:
            pipeline.collect(context)
        if context.open_attempt():
            pipeline.run(pipeline.finish(context))
        if context.rows:
            _save(context)
        if get_rollups().due:
            get_rollups().flush()
    except Exception:
        report_failure("what a request left open could not be settled")


async def _afinish(context: RequestContext) -> None:
    try:
        pipeline = get_event_logger().pipeline
        await pipeline.arun(pipeline.finish(context))
        if context.rows:
            await sync_to_async(_save)(context)
        if get_rollups().due:
            await sync_to_async(get_rollups().flush)()
    except Exception:
        report_failure("what a request left open could not be settled")


def _answer(context: RequestContext, response: HttpResponseBase) -> HttpResponseBase:
    """A refused attempt gets a blocked address's answer: a form would say "wrong password" to a right one."""
    refused = context.refused
    if refused is not None and not context.authenticated:
        response = _replaced(context, response, "attempt", refused.retry_after or _RETRY_SOON)
    elif context.suspicion is not None and context.denied and context.episode is not None:
        response = _replaced(context, response, "suspicious", context.suspicion[1])
    elif context.device is not None:
        devices.deliver(context, response)
    if context.rows:
        mail_after(context.rows, response)
    return response


def _replaced(context: RequestContext, response: HttpResponseBase, kind: str, retry_after: int) -> HttpResponseBase:
    refusal = Refusal(kind, context.episode.reference, retry_after)
    if rewrite(response, refusal):
        return response
    for close in getattr(response, "_resource_closers", ()):
        # Not response.close(): that would end the request for Django before it has.
        with suppress(Exception):
            close()
    return _refuse(context, context.episode, kind, retry_after)
