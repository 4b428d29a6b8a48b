"""django-otp: second factors right and wrong through its forms, and the first and last device of a user.

``django_otp.verify_token()`` and ``match_token()``, called by a project itself, send no signal: log what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.forms import AuthenticationForm
from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_save
from django_otp import device_classes, user_has_device
from django_otp.forms import OTPAuthenticationFormMixin, otp_verification_failed

from secguard.context import context_for
from secguard.doors.patching import harmless, observe
from secguard.events import EventType
from secguard.logging import get_event_logger, names_of

_WAS_CONFIRMED = "_secguard_was_confirmed"
_TOLD = "second_factor_verified"


def install() -> None:
    otp_verification_failed.connect(_on_failed, weak=False, dispatch_uid="secguard.otp.failed")
    observe(OTPAuthenticationFormMixin, "clean_otp", before=_on_first_step)
    observe(OTPAuthenticationFormMixin, "_verify_token", after=_on_verified)
    for model in device_classes():
        label = model._meta.label
        pre_save.connect(_on_saving, sender=model, weak=False, dispatch_uid=f"secguard.otp.saving.{label}")
        post_save.connect(_on_saved, sender=model, weak=False, dispatch_uid=f"secguard.otp.saved.{label}")
        post_delete.connect(_on_deleted, sender=model, weak=False, dispatch_uid=f"secguard.otp.deleted.{label}")


# -- verifying -------------------------------------------------------------------------------------------


@harmless
def _on_failed(sender: object, user: Any = None, **kwargs: Any) -> None:
    get_event_logger().log(EventType.TWO_FACTOR_FAILED, **names_of(user))


def _on_first_step(form: Any, user: Any) -> None:
    """Name and password were right a moment ago; the token may be missing still, or wrong."""
    if user is not None and isinstance(form, AuthenticationForm):
        first_step_passed(user)


def first_step_passed(user: Any) -> None:
    """The password was right, and a second factor is to come: nobody is logged in, and nothing was wrong."""
    if context_for().open_attempt() is not None:
        get_event_logger().attempt_passed(user=user)


def _on_verified(device: Any, form: Any, user: Any, *args: Any, **kwargs: Any) -> None:
    if device is not None:
        second_factor_passed(user)


def second_factor_passed(user: Any, request: Any = None) -> None:
    """Told once a request, and what was wrong before from this address is forgiven."""
    notes = context_for(request).notes
    if _TOLD not in notes:
        notes.add(_TOLD)
        logger = get_event_logger()
        logger.log(EventType.TWO_FACTOR_SUCCESS, request=request, **names_of(user))
        logger.forgive(EventType.TWO_FACTOR_FAILED, request=request, user=user)


# -- devices ---------------------------------------------------------------------------------------------


@harmless
def _on_saving(
    sender: Any, instance: Any, raw: bool = False, using: str | None = None, update_fields: Any = None, **kwargs: Any
) -> None:
    """A verification saves its device too: only what becomes confirmed, or unconfirmed, is an event."""
    instance.__dict__.pop(_WAS_CONFIRMED, None)
    if not raw and _writes_confirmed(update_fields):
        before = sender._base_manager.using(using).filter(pk=instance.pk).values_list("confirmed", flat=True)
        instance.__dict__[_WAS_CONFIRMED] = bool(instance.pk is not None and before.first())


def _writes_confirmed(update_fields: Collection[str] | None) -> bool:
    return update_fields is None or "confirmed" in update_fields


@harmless
def _on_saved(sender: Any, instance: Any, using: str | None = None, **kwargs: Any) -> None:
    was_confirmed = instance.__dict__.pop(_WAS_CONFIRMED, None)
    if was_confirmed is None or was_confirmed == instance.confirmed:
        return
    if instance.confirmed:
        _on_gained(instance, using)
    else:
        _on_lost(instance, using)


@harmless
def _on_deleted(sender: Any, instance: Any, using: str | None = None, origin: Any = None, **kwargs: Any) -> None:
    goes_with_user = issubclass(getattr(origin, "model", type(origin)), get_user_model())
    if instance.confirmed and not goes_with_user:
        _on_lost(instance, using)


def _on_gained(device: Any, using: str | None) -> None:
    logger = get_event_logger()
    further = partial(logger.log, EventType.TWO_FACTOR_DEVICE_ADDED)
    _changed(further if _has_another(device) else logger.log_2fa_enabled, device, using)


def _on_lost(device: Any, using: str | None) -> None:
    logger = get_event_logger()
    one_of_several = partial(logger.log, EventType.TWO_FACTOR_DEVICE_REMOVED)
    _changed(one_of_several if user_has_device(device.user) else logger.log_2fa_disabled, device, using)


def _has_another(device: Any) -> bool:
    mine = ((model, model.objects.devices_for_user(device.user, confirmed=True)) for model in device_classes())
    return any(
        found.exclude(pk=device.pk).exists() if isinstance(device, model) else found.exists() for model, found in mine
    )


def _changed(log: Callable[..., Any], device: Any, using: str | None) -> None:
    details = {**names_of(device.user), "factor": device.model_label()}
    transaction.on_commit(partial(log, **details), using=using, robust=True)
