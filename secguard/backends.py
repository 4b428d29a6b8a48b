"""Authentication backends that count first and let the password be checked after.

======================== ======================================================================
SecurityGuardBackend     put first in AUTHENTICATION_BACKENDS, before any others
GuardedModelBackend      instead of ModelBackend, alone: ``login(request, user)`` without a
                         backend and ``with_perm()`` work as before
GuardedBackendMixin      the same for a backend of your own
======================== ======================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeVar

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.utils.module_loading import import_string

from secguard.conf import get_settings
from secguard.context import RequestContext, context_for, renew_orphan
from secguard.detection import normalize_identifier
from secguard.detection.detector import Attempt, Procedure
from secguard.failures import report_failure
from secguard.logging import get_event_logger, identifier_in
from secguard.pipeline import Pipeline

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.http import HttpRequest

F = TypeVar("F", bound=Callable[..., Any])

#: What Django's own backend for a server's REMOTE_USER is called with: nothing to guess there.
_NO_SECRET = frozenset({"remote_user"})
#: The guarded backend whose check is under way in a coroutine. BaseBackend.aauthenticate comes back to
#: ``self.authenticate``, which would take it for another guess.
_checking: ContextVar[object] = ContextVar("secguard_checking", default=None)


def _with_signature(function: F) -> F:
    """Keep the signature with the function: Django asks for it in each login, and making it costs 30 µs."""
    function.__signature__ = signature(function)  # type: ignore[attr-defined]
    return function


class AttemptRefused(PermissionDenied):
    """Too many guesses: no backend may look at this one's password. The middleware answers the request."""


class SecurityGuardBackend:
    """Reserves each attempt before the other backends look at it, and knows no user itself.

    It has no more than this on purpose: with ``get_user`` Django's ``force_login`` would pick it.
    """

    @staticmethod
    @_with_signature
    def authenticate(request: HttpRequest | None, **credentials: Any) -> None:
        _reserve(request, credentials, SecurityGuardBackend)

    async def aauthenticate(self, request: HttpRequest | None, **credentials: Any) -> None:
        await _areserve(request, credentials, SecurityGuardBackend)


class GuardedBackendMixin:
    """Reserves each attempt before this backend checks it, and settles a right one at once.

    Put it before the backend's class: ``class MyBackend(GuardedBackendMixin, ModelBackend)``. Because it sees
    the outcome, it is more exact than ``SecurityGuardBackend`` where nobody calls ``login()`` after
    ``authenticate()``: HTTP Basic, tokens handed out, passwords asked for again.
    """

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> AbstractBaseUser | None:
        check = super().authenticate  # type: ignore[misc]
        if not _accepts(check, request, credentials):
            return None
        is_reserved = _checking.get() is self
        if not is_reserved:
            _reserve(request, credentials, type(self))
        user: AbstractBaseUser | None = check(request, **credentials)
        if user is not None and not is_reserved:
            _passed(request, user)
        return user

    async def aauthenticate(self, request: HttpRequest | None, **credentials: Any) -> AbstractBaseUser | None:
        plain = super().authenticate  # type: ignore[misc]
        if not _accepts(plain, request, credentials):
            return None
        await _areserve(request, credentials, type(self))
        check = getattr(super(), "aauthenticate", None) or sync_to_async(plain)  # Django 5.1 has none
        token = _checking.set(self)
        try:
            user: AbstractBaseUser | None = await check(request, **credentials)
        finally:
            _checking.reset(token)
        if user is not None:
            await sync_to_async(_passed)(request, user)
        return user


class GuardedModelBackend(GuardedBackendMixin, ModelBackend):  # type: ignore[misc] # the mixin takes any credentials
    """Django's ModelBackend, guarded. Replacing ModelBackend ends the sessions that name it, once."""


def reserves_attempts() -> bool:
    """Does any backend of the site reserve attempts?"""
    guards = (SecurityGuardBackend, GuardedBackendMixin)
    return any(issubclass(import_string(path), guards) for path in django_settings.AUTHENTICATION_BACKENDS)


def _accepts(authenticate: Callable[..., Any], request: object, credentials: dict[str, Any]) -> bool:
    """Django asks a backend's signature before it calls it; the mixin's own would accept anything."""
    try:
        signature(authenticate).bind(request, **credentials)
    except TypeError:
        return False
    return True


def _reserve(request: HttpRequest | None, credentials: dict[str, Any], owner: type) -> None:
    begun = _begin(request, credentials, owner)
    if begun is not None:
        pipeline, attempt, procedure = begun
        try:
            pipeline.run(procedure)
        except Exception:
            report_failure("an attempt could not be reserved; its password is checked all the same")
        _raise_if_refused(attempt)


async def _areserve(request: HttpRequest | None, credentials: dict[str, Any], owner: type) -> None:
    begun = _begin(request, credentials, owner)
    if begun is not None:
        pipeline, attempt, procedure = begun
        # An async view under WSGI: its event loop ends with it, and would leave a connection open for each login.
        run = sync_to_async(pipeline.run) if context_for(request).collects else pipeline.arun
        try:
            await run(procedure)
        except Exception:
            report_failure("an attempt could not be reserved; its password is checked all the same")
        _raise_if_refused(attempt)


def _begin(
    request: HttpRequest | None, credentials: dict[str, Any], owner: type
) -> tuple[Pipeline, Attempt, Procedure[None]] | None:
    """A new attempt and how to reserve it, or None where there is nothing to reserve."""
    if get_settings().mode == "off" or _NO_SECRET.issuperset(credentials):
        return None
    if request is None:
        renew_orphan()
    context = context_for(request)
    account = normalize_identifier(identifier_in(credentials))
    if context.attempts and _reserved_by_another(context, account, owner):
        return None
    pipeline = get_event_logger().pipeline
    attempt, procedure = pipeline.begin(context, account)
    attempt.owner = owner
    return pipeline, attempt, procedure


def _reserved_by_another(context: RequestContext, account: str | None, owner: type) -> bool:
    """Two guarded backends in one authenticate() make one attempt; the same one again is another guess."""
    attempt = context.open_attempt(account)
    return attempt is not None and attempt.owner is not owner


def _raise_if_refused(attempt: Attempt) -> None:
    if attempt.state == "refused":
        raise AttemptRefused("Too many attempts.")


def _passed(request: HttpRequest | None, user: AbstractBaseUser) -> None:
    try:
        get_event_logger().attempt_passed(request=request, user=user)
    except Exception:
        report_failure("a right password could not be settled; its attempt counts until its lease ends")
