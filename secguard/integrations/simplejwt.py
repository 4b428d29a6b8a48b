"""djangorestframework-simplejwt: a token handed out is a login, and refused tokens are told apart.

It sends no signals, and folds expired and forged tokens into one exception: so its serializers and the decoding
itself are observed. A token is *forged* if its signature is wrong, or nobody can read it; *expired* if its signature
is right; *revoked* if it is blacklisted, or its user is gone; *rejected* if it is right and of no use here.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from jwt import exceptions as jwt_exceptions
from rest_framework_simplejwt import serializers, tokens
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.settings import api_settings

from secguard.context import RequestContext, context_for
from secguard.doors import responses
from secguard.doors.patching import observe
from secguard.events import EventType
from secguard.logging import get_event_logger, names_of

_FORGED, _EXPIRED, _REVOKED, _READ = "jwt_forged", "jwt_expired", "jwt_revoked", "jwt_read"
#: What has gone wrong before a signature could be right. Every other error is about the claims of a signed token.
_UNSIGNED = (
    jwt_exceptions.DecodeError,
    jwt_exceptions.InvalidAlgorithmError,
    jwt_exceptions.InvalidKeyError,
    jwt_exceptions.PyJWKClientError,
)


def install() -> None:
    observe(serializers.TokenObtainSerializer, "validate", after=_on_obtained)
    observe(serializers.TokenRefreshSerializer, "validate", after=_on_refreshed)
    observe(serializers.TokenRefreshSlidingSerializer, "validate", after=_on_refreshed)
    observe(TokenBackend, "decode", after=_on_read, failed=_on_unreadable)
    observe(tokens.Token, "check_exp", failed=_on_expired)
    if hasattr(tokens.BlacklistMixin, "check_blacklist"):  # the blacklist is an app of its own
        observe(tokens.BlacklistMixin, "check_blacklist", failed=_on_blacklisted)
    if verdict not in responses.TOKEN_VERDICTS:
        responses.TOKEN_VERDICTS.append(verdict)


def _on_obtained(result: object, serializer: Any, attrs: object) -> None:
    """Nobody calls login() for a token: this is where somebody got in."""
    request = serializer.context.get("request")
    get_event_logger().log_login_success(request=request, reason="token", **names_of(serializer.user))


def _on_refreshed(result: object, serializer: Any, attrs: dict[str, Any]) -> None:
    given = attrs.get("refresh") or attrs.get("token")
    user_id = _user_id(serializer.token_class, given)
    user = get_user_model()._default_manager.filter(**{api_settings.USER_ID_FIELD: user_id}).first()
    names = names_of(user) or {"user_id": user_id}
    get_event_logger().log(EventType.TOKEN_REFRESHED, request=serializer.context.get("request"), **names)


def _user_id(token_class: Any, encoded: object) -> Any:
    """Whose token it is. It has been verified a moment ago, and may be blacklisted by now."""
    return token_class(encoded, verify=False).get(api_settings.USER_ID_CLAIM)


# -- refused tokens --------------------------------------------------------------------------------------


def _on_read(result: object, *args: object, **kwargs: object) -> None:
    context_for().notes.add(_READ)


def _on_unreadable(error: Exception, *args: object, **kwargs: object) -> None:
    cause = error.__cause__
    notes = context_for().notes
    if isinstance(cause, jwt_exceptions.ExpiredSignatureError):
        notes.add(_EXPIRED)
    elif isinstance(cause, jwt_exceptions.InvalidTokenError) and not isinstance(cause, _UNSIGNED):
        notes.add(_READ)  # signed by us, but for another audience, too early, …
    else:
        notes.add(_FORGED)


def _on_expired(error: Exception, token: Any, claim: str = "exp", *args: object, **kwargs: object) -> None:
    if claim in token.payload:
        context_for().notes.add(_EXPIRED)


def _on_blacklisted(error: Exception, *args: object, **kwargs: object) -> None:
    context_for().notes.add(_REVOKED)


def verdict(context: RequestContext) -> EventType | None:
    """What a refused token of this request was; None if none was decoded, or its user is the matter."""
    notes = context.notes
    if _REVOKED in notes:
        return EventType.TOKEN_REVOKED
    if _EXPIRED in notes:
        return EventType.TOKEN_EXPIRED
    if _FORGED in notes:
        return EventType.TOKEN_FORGED
    return None
