"""django-allauth's second factors: added and removed, right and wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from allauth.mfa import signals
from allauth.mfa.models import Authenticator
from django.db import transaction

from secguard.doors.patching import harmless
from secguard.events import EventType
from secguard.logging import get_event_logger, names_of

_RECOVERY = Authenticator.Type.RECOVERY_CODES


def install() -> None:
    for signal, receiver in (
        (signals.authenticator_added, _on_added),
        (signals.authenticator_removed, _on_removed),
        (signals.authenticator_reset, _on_reset),
        (signals.authenticator_used, _on_used),
        (signals.authentication_failed, _on_failed),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"secguard.allauth_mfa.{receiver.__name__}")


def _others(user: Any, authenticator: Any) -> bool:
    """Has the user another second factor? Recovery codes stand in for one, and are none."""
    mine = Authenticator.objects.filter(user_id=user.pk).exclude(type=_RECOVERY)
    return bool(mine.exclude(pk=authenticator.pk).exists())


@harmless
def _on_added(sender: object, request: Any = None, user: Any = None, authenticator: Any = None, **kwargs: Any) -> None:
    if authenticator.type == _RECOVERY:
        return
    logger = get_event_logger()
    further = partial(logger.log, EventType.TWO_FACTOR_DEVICE_ADDED)
    _changed(further if _others(user, authenticator) else logger.log_2fa_enabled, request, user, authenticator)


@harmless
def _on_removed(
    sender: object, request: Any = None, user: Any = None, authenticator: Any = None, **kwargs: Any
) -> None:
    if authenticator.type == _RECOVERY:
        return  # with the last factor its recovery codes go, too
    logger = get_event_logger()
    one_of_several = partial(logger.log, EventType.TWO_FACTOR_DEVICE_REMOVED)
    _changed(one_of_several if _others(user, authenticator) else logger.log_2fa_disabled, request, user, authenticator)


@harmless
def _on_reset(sender: object, request: Any = None, user: Any = None, authenticator: Any = None, **kwargs: Any) -> None:
    _changed(partial(get_event_logger().log, EventType.TWO_FACTOR_RESET), request, user, authenticator)


def _changed(log: Callable[..., Any], request: Any, user: Any, authenticator: Any) -> None:
    told = partial(log, request=request, factor=str(authenticator.type), **names_of(user))
    transaction.on_commit(told, using=authenticator._state.db, robust=True)


@harmless
def _on_used(sender: object, request: Any = None, user: Any = None, authenticator: Any = None, **kwargs: Any) -> None:
    logger = get_event_logger()
    logger.log(EventType.TWO_FACTOR_SUCCESS, request=request, factor=str(authenticator.type), **names_of(user))
    logger.forgive(EventType.TWO_FACTOR_FAILED, request=request, user=user)


@harmless
def _on_failed(sender: object, request: Any = None, user: Any = None, authenticator: Any = None, **kwargs: Any) -> None:
    again = bool(kwargs.get("reauthentication"))
    details: dict[str, Any] = {"factor": str(authenticator.type), "reauthentication": again}
    get_event_logger().log(EventType.TWO_FACTOR_FAILED, request=request, **details, **names_of(user))
