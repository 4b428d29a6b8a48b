"""REST framework: denials with what was asked and which permission said no, refused tokens, rates.

=========================== ==================================================================
exception_handler           for REST_FRAMEWORK["EXCEPTION_HANDLER"]: every view, by one setting
SecurityPermissionMixin     for views and viewsets, where that setting is somebody else's
LoggedPermissionMixin       for permission classes
IsNotSuspicious             a permission: refuses addresses with an open threat
SecurityThrottle            a throttle on the guard's own store, exact and shared by all workers
=========================== ==================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import getattr_static
from types import TracebackType
from typing import Any

from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.utils.module_loading import import_string
from django.utils.translation import gettext, gettext_lazy
from rest_framework import exceptions, status
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView
from rest_framework.views import exception_handler as rest_framework_handler

from secguard.conf import get_settings, until_settings_change
from secguard.context import RequestContext, context_for, current
from secguard.doors import denials, responses
from secguard.doors.throttle import Key, Throttle
from secguard.events import EventType
from secguard.failures import report_failure
from secguard.logging import get_event_logger
from secguard.network import ClientAddress
from secguard.pipeline import get_replica, is_exempt, report_suppressed

Handler = Callable[[Exception, dict[str, Any]], Response | None]


# -- the exception handler -----------------------------------------------------------------------------


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Log what REST framework refuses, then answer as the project does.

    The answer is that of SECGUARD["DRF_EXCEPTION_HANDLER"], or REST framework's own.
    """
    tell_of(exc, context.get("view"), context.get("request"))
    return _wrapped_handler()(exc, context)


@until_settings_change
def _wrapped_handler() -> Handler:
    given = get_settings().drf_exception_handler
    usual: Handler = rest_framework_handler
    try:
        found: Handler = import_string(given) if isinstance(given, str) else given or usual
    except ImportError:
        # The system checks name it. To raise here would turn every refusal into a 500.
        report_failure("SECGUARD['DRF_EXCEPTION_HANDLER'] cannot be imported; REST framework's own answers")
        return usual
    return usual if found is exception_handler else found


def tell_of(exc: Exception, view: Any, request: Any) -> None:
    """Make an event of an exception that left a view, if it is a refusal. Never raises."""
    try:
        found = _event_of(exc, context_for(request))
        if found is not None:
            details = _described(exc, view, request)
            denials.tell(found, request=request, user=_user_of(request), **details)
    except Exception:
        report_failure("a refusal by REST framework could not be logged")


def _event_of(exc: Exception, context: RequestContext) -> EventType | None:
    if isinstance(exc, DjangoPermissionDenied):
        limited = responses.is_rate_limited(context.request)
        return EventType.RATE_LIMIT_EXCEEDED if limited else EventType.PERMISSION_DENIED
    if isinstance(exc, exceptions.Throttled):
        return EventType.RATE_LIMIT_EXCEEDED
    if isinstance(exc, exceptions.NotAuthenticated):
        return EventType.AUTHENTICATION_REQUIRED
    if isinstance(exc, exceptions.PermissionDenied):
        return EventType.CSRF_FAILED if str(exc.detail).startswith("CSRF Failed") else EventType.PERMISSION_DENIED
    if isinstance(exc, exceptions.AuthenticationFailed):
        return _refused_token(exc, context)
    return None


#: What REST framework says, in the language of the request, to a header that holds no usable token.
_MALFORMED = (
    "Invalid token header. No credentials provided.",
    "Invalid token header. Token string should not contain spaces.",
    "Invalid token header. Token string should not contain invalid characters.",
    "Invalid basic header. No credentials provided.",
    "Invalid basic header. Credentials string should not contain spaces.",
    "Invalid basic header. Credentials not correctly base64 encoded.",
)


def _refused_token(exc: exceptions.AuthenticationFailed, context: RequestContext) -> EventType:
    code, text = responses.code_and_text(exc.detail if isinstance(exc.detail, Mapping) else {"detail": exc.detail})
    if text in map(gettext, _MALFORMED):
        return EventType.TOKEN_REJECTED
    if text == gettext("User inactive or deleted."):
        return EventType.TOKEN_REVOKED
    return responses.event_of_code(context, code or "authentication_failed", text, status.HTTP_401_UNAUTHORIZED)


def _described(exc: Exception, view: Any, request: Any) -> dict[str, Any]:
    """What a denial was about: the view, its action, the permission that said no, the object if there is one."""
    detail = getattr(exc, "detail", None)
    reason = detail.get("detail") if isinstance(detail, Mapping) else detail
    found: dict[str, Any] = {
        "reason": str(reason or str(exc) or type(exc).__name__),
        "view": type(view).__name__ if view is not None else denials.view_of(request),
        "action": getattr(view, "action", None) or getattr(request, "method", None),
    }
    if isinstance(exc, exceptions.Throttled):
        return {"retry_after": exc.wait, "scope": getattr(view, "throttle_scope", None) or found["view"]}
    permission, obj = _culprit(exc.__traceback__)
    if permission is not None:
        found["permission"] = _name_of(permission)
    target = _object_name(obj) if obj is not None else denials.object_of(getattr(request, "_request", request))
    if target:
        found["object"] = target
    return found


_CHECKS = (APIView.check_permissions.__code__, APIView.check_object_permissions.__code__)


def _culprit(traceback: TracebackType | None) -> tuple[Any, Any]:
    """The permission that said no, and the object: REST framework's own check, which raised, still holds them.

    Asking the permissions again would cost their queries again, and might be answered differently.
    """
    while traceback is not None:
        if traceback.tb_frame.f_code in _CHECKS:
            found = traceback.tb_frame.f_locals
            return found.get("permission"), found.get("obj")
        traceback = traceback.tb_next
    return None, None


def _name_of(permission: Any) -> str:
    """The class's name; of composed permissions all names."""
    sign = {"AND": " & ", "OR": " | "}.get(type(permission).__name__)
    if sign is not None:
        return f"({_name_of(permission.op1)}{sign}{_name_of(permission.op2)})"
    if type(permission).__name__ == "NOT":
        return f"~{_name_of(permission.op1)}"
    return type(permission).__name__


def _object_name(obj: Any) -> str:
    meta, key = getattr(obj, "_meta", None), getattr(obj, "pk", None)
    return f"{meta.label}:{key}" if meta is not None else f"{type(obj).__name__}:{key if key is not None else obj}"


def _user_of(request: Any) -> Any:
    """The user that REST framework found, without asking its authenticators again."""
    user = getattr(request, "_user", None)
    return user if getattr(user, "is_authenticated", False) else None


# -- mixins ----------------------------------------------------------------------------------------------


class SecurityPermissionMixin:
    """For views and viewsets: each refusal is an event, with user, view, action, permission and object."""

    def handle_exception(self, exc: Exception) -> Response:
        tell_of(exc, self, getattr(self, "request", None))
        response: Response = super().handle_exception(exc)  # type: ignore[misc] # the view's
        return response


class LoggedPermissionMixin:
    """For permission classes: a refusal's event names them, whatever view they stand in.

    That a permission says no is no denial yet: in ``A | B`` the other one may say yes, and REST framework asks
    permissions also to decide which forms to show. So behind the middleware it is noted, and told if the request
    ends as refused; without the middleware it is told at once.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in ("has_permission", "has_object_permission"):
            if name in vars(cls):
                setattr(cls, name, _watched(vars(cls)[name]))

    def has_permission(self, request: Request, view: Any) -> bool:
        answer: bool = super().has_permission(request, view)  # type: ignore[misc] # the permission's
        _note(self, answer, request, view, None)
        return answer

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        answer: bool = super().has_object_permission(request, view, obj)  # type: ignore[misc] # the permission's
        _note(self, answer, request, view, obj)
        return answer


def _watched(check: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(check)
    def watched(self: Any, request: Any, view: Any, obj: Any = None) -> Any:
        answer = check(self, request, view) if obj is None else check(self, request, view, obj)
        _note(self, answer, request, view, obj)
        return answer

    return watched


def _note(permission: Any, answer: Any, request: Any, view: Any, obj: Any) -> None:
    if answer or _is_only_asking(request, view):
        return
    try:
        context = context_for(request)
        hints = {"permission": type(permission).__name__, "view": type(view).__name__}
        hints["action"] = getattr(view, "action", None) or request.method
        if obj is not None:
            hints["object"] = _object_name(obj)
        if current() is None:
            denials.tell(EventType.PERMISSION_DENIED, request=request, user=_user_of(request), **hints)
        elif not context.denied:
            context.hints = {**context.hints, **hints}  # in A | B the last one asked may not be asked about the object
    except Exception:
        report_failure("a permission's refusal could not be noted")


def _is_only_asking(request: Any, view: Any) -> bool:
    """Does REST framework ask on behalf of its forms and OPTIONS? Then with another method, or after the view."""
    plain = getattr(request, "_request", request)
    return request.method != plain.method or hasattr(view, "response")


# -- refusing whoever is suspicious ----------------------------------------------------------------------


class IsNotSuspicious(BasePermission):  # type: ignore[misc] # without types
    """Refuses addresses with an open threat, also of rules that block nobody.

    ``accounts``: refuse the users of accounts with an open threat, too. Off by default, since ten addresses could
    otherwise shut anybody out. Asks the store once a request; while it is away, everybody passes.
    """

    message = gettext_lazy("This request was refused.")
    code = "refused"
    accounts = False

    def has_permission(self, request: Request, view: Any) -> bool:
        if _is_only_asking(request, view):
            return True
        try:
            context = context_for(request)
            context.suspicion = self._suspicion(context, request)
            return context.suspicion is None
        except Exception:
            report_failure("IsNotSuspicious could not ask the store; the request passes")
            return True

    def _suspicion(self, context: RequestContext, request: Request) -> tuple[list[str], int] | None:
        """The rules whose threats are open and seconds to come back after; None for whom nothing is refused."""
        if get_settings().mode == "off":
            return None
        logger = get_event_logger()
        name = request.user.get_username() if self.accounts and request.user.is_authenticated else None
        address = context.address if context.address.known else None
        if address is None and name is None:
            return None
        rules = logger.open_threats(address=address, account=name)
        if not rules:
            return None
        reason = _pardon(context, context.address)
        if reason:
            report_suppressed(context.address.subject or "unknown", reason, context, rule=rules[0])
            return None
        return rules, logger.pipeline.detector.rules[rules[0]].window_ms // 1_000


def _pardon(context: RequestContext, address: ClientAddress) -> str:
    """Why somebody suspicious is served all the same; empty if he is not."""
    if address.allowlisted:
        return "allowlist"
    if address.trusted_proxy:
        return "trusted_proxy"
    if address.known and get_replica().is_allowed(address):
        return "allowed"
    if is_exempt(context):
        return "exempt"
    return "" if get_settings().enforces else "monitor"


# -- rates -----------------------------------------------------------------------------------------------


class SecurityThrottle(BaseThrottle):  # type: ignore[misc] # without types
    """A throttle on the guard's store: sliding, exact, shared by all workers, by the address that the guard found.

    ``rate``: such as "10/m"; or else that of ``scope`` (or the view's ``throttle_scope``) in
    REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"]. ``key``: "user" (the user, else the address), "address", or a function
    (request) → text. In monitor mode it logs and lets pass. Raises ImproperlyConfigured for a wrong rate.
    """

    rate: str | None = None
    scope: str | None = None
    key: Key = "user"

    def allow_request(self, request: Request, view: Any) -> bool:
        limit = self._limit(view)
        self._excess = limit.hit(request) if limit is not None else None
        return self._excess is None

    def wait(self) -> float | None:
        return self._excess.retry_after if self._excess is not None else None

    def _limit(self, view: Any) -> Throttle | None:
        scope = self.scope or getattr(view, "throttle_scope", None)
        rate = self.rate or api_settings.DEFAULT_THROTTLE_RATES.get(scope)
        if rate is None:
            return None
        key = getattr_static(self, "key")  # a function is no method of the throttle
        key = key.__func__ if isinstance(key, staticmethod) else key
        return Throttle(rate, key=key, scope=f"{type(self).__name__}.{scope or type(view).__name__}")
