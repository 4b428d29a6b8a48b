"""Changes of users → events, once they are committed: a change that is rolled back did not happen.

Seen are saves and deletions of instances. ``QuerySet.update()``, bulk operations and raw SQL send no signals.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import identify_hasher, is_password_usable
from django.contrib.auth.views import PasswordResetConfirmView
from django.db import models, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save

from secguard.context import RequestContext, context_for, current
from secguard.doors.denials import known_user, view_class_of
from secguard.doors.patching import harmless
from secguard.events import EventType
from secguard.logging import get_event_logger, names_of
from secguard.pipeline import note_rebinding
from secguard.records import names_of_owner, remember_owner

#: Views that a mailed link leads to, where a new password is set. Doors add theirs.
RESET_VIEWS: set[type] = {PasswordResetConfirmView}
#: Where what the database held before a save waits for its end.
_BEFORE = "_secguard_before"
_PRIVILEGES = ("is_staff", "is_superuser")


@lru_cache(maxsize=32)
def _fields_of(model: Any) -> tuple[str, ...]:
    """The fields of a user whose changes are events."""
    existing = {field.name for field in model._meta.concrete_fields}
    return tuple(name for name in ("password", "is_active", *_PRIVILEGES, _email_field(model)) if name in existing)


def _watched(model: Any, update_fields: Collection[str] | None) -> list[str]:
    """Those of them that this save writes: none where a login notes when it was."""
    return [name for name in _fields_of(model) if update_fields is None or name in update_fields]


def _email_field(model: Any) -> str:
    return str(model.get_email_field_name()) if hasattr(model, "get_email_field_name") else ""


@harmless
def on_user_saving(
    sender: Any, instance: Any, raw: bool = False, using: str | None = None, update_fields: Any = None, **kwargs: Any
) -> None:
    """One look at what there was: the instance may be stale, or made by hand."""
    instance.__dict__.pop(_BEFORE, None)
    fields = _watched(sender, update_fields)
    if raw or instance.pk is None or not fields:
        return
    instance.__dict__[_BEFORE] = sender._base_manager.using(using).filter(pk=instance.pk).values(*fields).first()


@harmless
def on_user_saved(
    sender: Any,
    instance: Any,
    created: bool = False,
    raw: bool = False,
    using: str | None = None,
    update_fields: Any = None,
    **kwargs: Any,
) -> None:
    before = instance.__dict__.pop(_BEFORE, None)
    if raw or not (created or before):
        return
    context = context_for()
    if created:
        context.notes.add("user_created")
        granted = [name for name in _PRIVILEGES if getattr(instance, name, False)]
        _on_commit(using, EventType.USER_CREATED, instance, context, **({"granted": granted} if granted else {}))
    else:
        for event_type, details in _changes(before, instance, update_fields):
            _on_commit(using, event_type, instance, context, **details)


def _changes(
    before: Mapping[str, Any], user: Any, update_fields: Collection[str] | None
) -> Iterator[tuple[EventType, dict[str, Any]]]:
    """What a save changed, as events."""
    changed = {name: getattr(user, name) for name, old in before.items() if getattr(user, name) != old}
    if "password" in changed:
        yield from _password_changes(before["password"], user, update_fields)
    if "is_active" in changed:
        yield (EventType.USER_REACTIVATED if user.is_active else EventType.USER_DEACTIVATED), {}
    privileges = {name: bool(changed[name]) for name in _PRIVILEGES if name in changed}
    if privileges:
        yield EventType.PRIVILEGES_CHANGED, _granted_and_revoked(privileges)
    email = _email_field(type(user))
    if email in changed and (before[email] or changed[email]):
        yield EventType.EMAIL_CHANGED, {"old_email": before[email]}


def _granted_and_revoked(privileges: Mapping[str, bool]) -> dict[str, Any]:
    granted = [name for name, given in privileges.items() if given]
    revoked = [name for name, given in privileges.items() if not given]
    return {**({"granted": granted} if granted else {}), **({"revoked": revoked} if revoked else {})}


def _password_changes(
    old: str, user: Any, update_fields: Collection[str] | None
) -> Iterator[tuple[EventType, dict[str, Any]]]:
    if not is_password_usable(user.password):
        if is_password_usable(old):
            yield EventType.PASSWORD_DISABLED, {}
    elif not _is_hash_upgrade(old, user, update_fields):
        yield EventType.PASSWORD_CHANGED, {"reason": "password_reset" if _is_password_reset() else "password_change"}


def _is_hash_upgrade(old: str, user: Any, update_fields: Collection[str] | None) -> bool:
    """Did check_password() store the same password under today's parameters? It leaves ``_password`` None."""
    if set(update_fields or ()) != {"password"} or user.__dict__.get("_password", "") is not None:
        return False
    return bool(_parameters(old) != _parameters(user.password))


def _parameters(encoded: str) -> Any:
    """The algorithm of a hash and its costs; the whole hash where nobody can tell."""
    try:
        hasher = identify_hasher(encoded)
        decoded = hasher.decode(encoded)
    except (ValueError, NotImplementedError, AssertionError):
        return encoded
    return {name: value for name, value in decoded.items() if name not in ("hash", "salt", "checksum")} | {
        "salt_length": len(str(decoded.get("salt", "")))
    }


def _is_password_reset() -> bool:
    context = current()
    view_class = view_class_of(context.request) if context else None
    return view_class is not None and issubclass(view_class, tuple(RESET_VIEWS))


@harmless
def on_user_deleted(sender: Any, instance: Any, using: str | None = None, **kwargs: Any) -> None:
    names = names_of(instance)  # the key is gone once it is deleted
    _on_commit(using, EventType.USER_DELETED, None, context_for(), **names)


# -- groups and permissions --------------------------------------------------------------------------------


@harmless
def on_privileges_changed(
    sender: Any,
    instance: Any,
    action: str = "",
    reverse: bool = False,
    model: Any = None,
    pk_set: Collection[Any] | None = None,
    using: str | None = None,
    **kwargs: Any,
) -> None:
    """Users and groups, users and permissions, groups and permissions, from either side."""
    if action == "pre_clear":
        pk_set = _linked(sender, instance, model, using)
    elif action not in ("post_add", "post_remove"):
        return
    if not pk_set:
        return
    kind = "granted" if action == "post_add" else "revoked"
    others = list(model._base_manager.using(using).filter(pk__in=pk_set))
    context = context_for()
    if isinstance(instance, get_user_model()):
        _on_commit(using, EventType.PRIVILEGES_CHANGED, instance, context, **{kind: [_label(each) for each in others]})
    elif issubclass(model, get_user_model()):
        for user in others:
            _on_commit(using, EventType.PRIVILEGES_CHANGED, user, context, **{kind: [_label(instance)]})
    else:  # a group and its permissions: they concern whoever is in the group
        group, permissions = (others, [instance]) if reverse else ([instance], others)
        for each in group:
            details = {"group": str(each), kind: [_label(permission) for permission in permissions]}
            _on_commit(
                using, EventType.PRIVILEGES_CHANGED, None, context, message="Privileges of a group changed", **details
            )


def _linked(through: Any, instance: Any, model: Any, using: str | None) -> set[Any]:
    """What is about to be cleared."""
    mine = [field for field in through._meta.fields if field.remote_field and isinstance(instance, field.related_model)]
    other = [field for field in through._meta.fields if field.remote_field and issubclass(field.related_model, model)]
    rows = through._base_manager.using(using).filter(**{mine[0].name: instance.pk})
    return set(rows.values_list(f"{other[0].name}_id", flat=True))


def _label(thing: Any) -> str:
    """A group's name, or "app.codename" of a permission."""
    codename = getattr(thing, "codename", None)
    return f"{thing.content_type.app_label}.{codename}" if codename else f"group {thing}"


# -- telling -----------------------------------------------------------------------------------------------


def _on_commit(using: str | None, event_type: EventType, user: Any, context: RequestContext, **details: Any) -> None:
    details = {**names_of(user), **_by(user, context), **details}
    transaction.on_commit(partial(_tell, event_type, user, context, details), using=using, robust=True)


def _by(user: Any, context: RequestContext) -> dict[str, Any]:
    """Who changed it, if that was somebody else."""
    actor = known_user(context.request)
    if actor is None or (user is not None and actor.pk == user.pk):
        return {}
    return {"by": actor.get_username()}


def _tell(event_type: EventType, user: Any, context: RequestContext, details: dict[str, Any]) -> None:
    logger = get_event_logger()
    if event_type == EventType.PASSWORD_CHANGED:
        logger.log_password_changed(request=context.request, **details)
    else:
        logger.log(event_type, request=context.request, **details)
    if event_type == EventType.PASSWORD_CHANGED and details.get("reason") == "password_reset":
        # Who reads the account's mail is its owner: the device is known, and failures begin at nought.
        names = names_of_owner(user)
        remember_owner(context, names)
        note_rebinding(context, logger.pipeline.detector, names, str(user.pk))


def _models() -> Iterator[type[models.Model]]:
    """The user's model, and proxies and children of it: each sends signals under its own name."""
    user_model = get_user_model()
    return (model for model in apps.get_models() if issubclass(model, user_model))


def connect() -> None:
    for model in _models():
        label = model._meta.label
        pre_save.connect(on_user_saving, sender=model, weak=False, dispatch_uid=f"secguard.on_user_saving.{label}")
        post_save.connect(on_user_saved, sender=model, weak=False, dispatch_uid=f"secguard.on_user_saved.{label}")
        post_delete.connect(on_user_deleted, sender=model, weak=False, dispatch_uid=f"secguard.on_deleted.{label}")
    user_model: Any = get_user_model()
    groups = getattr(user_model, "groups", None)
    owners = [groups, getattr(user_model, "user_permissions", None)]
    if groups is not None:
        owners.append(getattr(groups.rel.model, "permissions", None))
    for relation in filter(None, owners):
        m2m_changed.connect(
            on_privileges_changed, sender=relation.through, weak=False, dispatch_uid=f"secguard.{relation.through!r}"
        )
