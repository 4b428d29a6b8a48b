"""What is known of the request at hand, wherever in its handling one stands.

The middleware binds a ``RequestContext`` to a ContextVar. That one wins over any request passed around,
which may be missing (token packages), a wrapper (REST framework) or made up (``force_login``).
"""

from __future__ import annotations

import os
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from django.core.handlers.asgi import ASGIRequest
from django.urls import resolve

from secguard.conf import get_settings, until_settings_change
from secguard.formatters.text import REDACTED, clean_text, names_a_secret
from secguard.network import UNKNOWN, ClientAddress, ClientAddressResolver

if TYPE_CHECKING:
    from django.http import HttpRequest

    from secguard.detection.detector import Attempt
    from secguard.detection.store import Pending

_MAX_REQUEST_ID = 128
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-/+=")
_current: ContextVar[RequestContext | None] = ContextVar("secguard_context", default=None)
#: For authenticate() outside the middleware, and without a request: one guess and its outcome.
_orphan: ContextVar[RequestContext | None] = ContextVar("secguard_orphan", default=None)


class RequestContext:
    """One request, or the lack of one. Cheap to make: everything else is found when it is asked for."""

    __slots__ = (
        "_request_id",
        "address",
        "attempts",
        "authenticated",
        "collects",
        "deferred",
        "denied",
        "device",
        "episode",
        "exempt",
        "finished",
        "hints",
        "notes",
        "pending",
        "refused",
        "request",
        "rows",
        "store_budget",
        "suspicion",
    )

    def __init__(self, request: HttpRequest | None, address: ClientAddress) -> None:
        self.request = request
        self.address = address
        self.attempts: list[Attempt] = []
        #: Writes whose replies are still to come, and the attempts they belong to.
        self.pending: list[tuple[Pending, Attempt]] = []
        #: What is to be saved once the view's transaction has ended: requests for blocks and locks, and changes to
        #: the counts of consecutive failures.
        self.rows: list[Any] = []
        #: The attempt that was refused, if the request made one, and whether another one got in.
        self.refused: Attempt | None = None
        #: The episode of refusals that ``refused`` belongs to: a room above knows what that is.
        self.episode: Any = None
        self.authenticated = False
        #: A refusal of this request has been told: by whichever layer saw it first.
        self.denied = False
        #: One that an event loop's thread noticed, to be told where asking the store holds up nobody.
        self.deferred: tuple[str, dict[str, Any]] | None = None
        #: What a layer knows of a refusal that another one will tell.
        self.hints: dict[str, Any] = {}
        #: Threats open on whoever asks, and seconds to come back after, if a permission refuses for them.
        self.suspicion: tuple[list[str], int] | None = None
        #: What doors note for each other, or told already, in this request.
        self.notes: set[str] = set()
        #: The request has ended. Under ASGI a view's thread may outlive it.
        self.finished = False
        #: Somebody calls ``Pipeline.finish`` at the end, in this thread: replies may wait until then.
        self.collects = False
        #: What the project's EXEMPT_WHEN said, once it was asked.
        self.exempt: bool | None = None
        #: What is known of the device: a room above knows what that is.
        self.device: Any = None
        #: How long the request has waited for the store so far: a room above knows how that is counted.
        self.store_budget: Any = None
        self._request_id = ""

    @property
    def request_id(self) -> str:
        """The id that the proxy gave the request, or one of our own."""
        if not self._request_id:
            given = header(self.request, get_settings().request_id_header) if self.request else None
            usable = given and len(given) <= _MAX_REQUEST_ID and _SAFE.issuperset(given)
            self._request_id = given if given and usable else os.urandom(8).hex()
        return self._request_id

    def fields(self) -> dict[str, Any]:
        """What rules may count of a request besides who made it."""
        if self.request is None:
            return {}
        return {"path": self.request.path, "user_agent": self.request.META.get("HTTP_USER_AGENT", "")}

    def describe(self, address: ClientAddress) -> dict[str, Any]:
        """What every event's line says of its request, sanitised. The path comes without its query, and without what
        its pattern calls a token or key: either may be a secret."""
        found: dict[str, Any] = {"ip_address": address.text or None}
        request = self.request
        if request is not None and request.META:
            found["user_agent"] = clean_text(request.META.get("HTTP_USER_AGENT", ""))
            found["request_id"] = self.request_id
            found["path"] = clean_text(_shown_path(request), 512)
            found["method"] = clean_text(request.method)
        return found

    def open_attempt(self, account: str | None = None) -> Attempt | None:
        """The attempt whose outcome is awaited: the latest in flight, of this account if one is named."""
        for attempt in reversed(self.attempts):
            if attempt.in_flight and (account is None or attempt.observation.account == account):
                return attempt
        return None

    def abandoned_attempt(self, account: str | None) -> Attempt | None:
        """One of this account that the request's end has settled as unknown, although its password is still being
        checked: the client left, and the thread that looks at it goes on."""
        if not self.finished:
            return None
        for attempt in reversed(self.attempts):
            if attempt.state == "unknown" and attempt.observation.account == account:
                return attempt
        return None


def _shown_path(request: HttpRequest) -> str:
    """A link that was mailed holds what opens an account: whoever reads the log must not be able to use it."""
    path = request.path
    try:
        # A request that got no further than the middleware has not been resolved.
        match = getattr(request, "resolver_match", None) or resolve(
            request.path_info, getattr(request, "urlconf", None)
        )
    except Exception:
        return path  # leads nowhere
    for name, value in match.kwargs.items():
        if isinstance(value, str) and value and (name == "key" or names_a_secret(name)):
            path = path.replace(value, REDACTED)
    return path


def header(request: HttpRequest, name: str) -> str | None:
    """A header's value, several lines joined by commas.

    Under ASGI the raw headers are read: META folds ``X_Forwarded_For``, which a client may send past a
    proxy, into ``X-Forwarded-For``.
    """
    if isinstance(request, ASGIRequest):
        wanted = name.lower().encode()
        found = [value for key, value in request.scope.get("headers", ()) if key.lower() == wanted]
        return b",".join(found).decode("latin-1") if found else None
    value = request.META.get("HTTP_" + name.upper().replace("-", "_"))
    return value if isinstance(value, str) else None


@until_settings_change
def get_resolver() -> ClientAddressResolver:
    settings = get_settings()
    proxies = settings.trusted_proxies
    return ClientAddressResolver(
        proxies.networks,
        hops=proxies.hops,
        header=settings.client_ip_header,
        allowlist=settings.allowlist,
        no_proxies=proxies.are_none,
    )


def context_of(request: HttpRequest) -> RequestContext:
    """A new context for a request, its client's address found."""
    context = RequestContext(request, UNKNOWN)
    remote = request.META.get("REMOTE_ADDR")
    context.address = get_resolver().resolve(remote, lambda name: header(request, name))
    return context


def bind(context: RequestContext) -> Token[RequestContext | None]:
    return _current.set(context)


def unbind(token: Token[RequestContext | None]) -> None:
    _current.reset(token)


def current() -> RequestContext | None:
    """The context of the request that is being handled, if the middleware is installed."""
    return _current.get()


def unwrapped(request: Any) -> HttpRequest | None:
    """Django's request inside a REST framework one."""
    plain: HttpRequest | None = getattr(request, "_request", request)
    return plain


def context_for(request: Any = None) -> RequestContext:
    """The context that an event belongs to: the bound one, the request's own, or the orphan's."""
    context = _current.get()
    if context is not None:
        return context
    plain = unwrapped(request)
    if plain is not None and hasattr(plain, "META"):
        own: RequestContext | None = getattr(plain, "_secguard_context", None)
        if own is None:
            own = plain._secguard_context = context_of(plain)  # type: ignore[attr-defined]
        return own
    orphan = _orphan.get()
    if orphan is None:
        orphan = RequestContext(None, UNKNOWN)
        _orphan.set(orphan)
    return orphan


def renew_orphan() -> None:
    """Start afresh where no request tells one guess from the next."""
    if _current.get() is None:
        _orphan.set(None)
