"""Whom an identifier stands for: its digests among the counters, and the user behind it, if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.contrib.auth import get_user_model

from secguard.detection import normalize_identifier
from secguard.detection.identity import DIGEST_SIZE
from secguard.logging import get_event_logger, identifier_in
from secguard.pipeline import are_anothers_too, may_hold

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


class Account(NamedTuple):
    """``digests``: in hexadecimal, first the one that a new lock takes. ``name``: what people read."""

    digests: tuple[str, ...]
    name: str


def account_of(text: str) -> Account:
    """The account of an identifier, or of the hexadecimal digits of its digest.

    Links of names are followed. Raises ValueError for what is neither, and the database's errors.
    """
    name = normalize_identifier(identifier_in({"username": text}))
    if name is None:
        raise ValueError(f"{text!r:.80} is no account: give a user name, a mail address or a digest.")
    if means_digest(name):
        return Account((name,), name)
    pipeline = get_event_logger().pipeline
    pipeline.findings(account=name)  # from the store's answer this process learns of links
    return Account(pipeline.detector.account_digests(name), name)


def is_digest(text: str) -> bool:
    """Could it be a digest, in hexadecimal?"""
    return len(text) == 2 * DIGEST_SIZE and set(text) <= set("0123456789abcdef")


def means_digest(name: str) -> bool:
    """Is it a digest, and not the name of a user who is called so? Raises the database's errors."""
    return is_digest(name) and find_user(name) is None


def find_user(identifier: str) -> AbstractBaseUser | None:
    """The user of this name, else the one of this mail address; None if there is none or nobody can tell which.

    ``identifier``: normalised. Raises the database's errors.
    """
    model = get_user_model()
    fields = {field.name: field for field in model._meta.get_fields()}
    for field in dict.fromkeys((model.USERNAME_FIELD, model.get_email_field_name())):
        if field not in fields or not may_hold(fields[field], identifier):
            continue
        found = list(model._default_manager.filter(**{f"{field}__iexact": identifier})[:2])
        exact = [user for user in found if getattr(user, field) == identifier]
        if found:
            return exact[0] if len(exact) == 1 else found[0] if len(found) == 1 else None
    return None


def names_of_owner(user: AbstractBaseUser) -> list[str]:
    """The identifiers of somebody who can read this user's mail: the canonical one first, then the address, each if
    it is nobody else's too."""
    names = [normalize_identifier(user.get_username()), normalize_identifier(mail_address(user))]
    own = dict.fromkeys(filter(None, names))
    return [name for name in own if not are_anothers_too([name], str(user.pk))]


def mail_address(user: AbstractBaseUser) -> str:
    """Where mails to this user go; empty if nowhere."""
    return str(getattr(user, user.get_email_field_name(), "") or "")
