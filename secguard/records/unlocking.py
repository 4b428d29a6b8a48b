"""The owner's way out of a lock: a link by mail, which lifts it once. Only where UNLOCK_BASE_URL is set."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.mail import EmailMessage
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpResponseBase
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation

from secguard import emit
from secguard.blocking.devices import get_devices
from secguard.blocking.policy import LockRequest
from secguard.conf import get_settings
from secguard.context import RequestContext
from secguard.events import EventType, new_event_id
from secguard.failures import report_failure
from secguard.logging import get_event_logger
from secguard.models import AccountLock
from secguard.pipeline import are_anothers_too, make_event
from secguard.records.accounts import find_user, mail_address, names_of_owner
from secguard.records.database import database, database_now
from secguard.records.locks import CONSECUTIVE_FAILURES, in_force, lift, report_unlocked, reset_account

#: How long a link is good, in seconds, if the lock lasts as long.
LINK_AGE = 24 * 3600
#: The name of the page that a link leads to, in ``secguard.urls``.
URL_NAME = "secguard:unlock"
SUBJECT_TEMPLATE, MAIL_TEMPLATE = "secguard/unlock_subject.txt", "secguard/unlock_mail.txt"
_SALT = "secguard.unlock"
_MAX_TOKEN = 200


def mail_after(rows: Iterable[Any], response: HttpResponseBase) -> None:
    """Mail links for the locks among these rows once the response has been sent: nobody waits for a mail server,
    nor can tell by the time whether there is somebody to mail to."""
    if get_settings().unlock_base_url is None:
        return
    locks = [row for row in rows if isinstance(row, LockRequest) and _has_link(row.rule)]
    if locks:
        # What Django itself calls when it closes the response, before it closes the database's connections.
        response._resource_closers.append(partial(mail_links, locks))  # type: ignore[attr-defined]


def _has_link(rule: str) -> bool:
    """After too many consecutive failures only a new password helps; what an operator locks he unlocks."""
    return rule not in ("", CONSECUTIVE_FAILURES)


def mail_links(locks: Iterable[LockRequest]) -> None:
    """Mail the owners of these accounts, if they exist and have an address. Never raises."""
    for lock in locks:
        try:
            _mail_link(lock)
        except Exception:
            report_failure("no unlock link could be mailed for the lock %s", lock.reference)


def _mail_link(lock: LockRequest) -> None:
    user = find_user(lock.account)
    if user is None or not user.is_active or not mail_address(user) or _are_enough(lock.digest):
        return
    if are_anothers_too([lock.account], str(user.pk)):
        return  # whose account it is that was guessed at nobody can tell
    with translation.override(django_settings.LANGUAGE_CODE):  # the request was a stranger's
        subject, body = _render(lock, user)
    EmailMessage(subject, body, to=[mail_address(user)]).send()
    details = {"username": user.get_username(), "reference": lock.reference, "event_id": new_event_id()}
    message = "Mailed an unlock link to the owner of {}"
    emit.emit(make_event(EventType.UNLOCK_MAIL_SENT, message, details, name=str(user.get_username())))


def _render(lock: LockRequest, user: object) -> tuple[str, str]:
    base = get_settings().unlock_base_url or ""
    context = {
        "link": base + reverse(URL_NAME, args=[token_for(lock.reference)], urlconf=django_settings.ROOT_URLCONF),
        "host": urlsplit(base).netloc,
        "hours": LINK_AGE // 3600,
        "user": user,
    }
    # As a safe template of Django's own mails: what is rendered is no HTML, and a subject is one line.
    subject = "".join(render_to_string(SUBJECT_TEMPLATE, context).splitlines()).strip()
    return subject, render_to_string(MAIL_TEMPLATE, context)


def _are_enough(digest: str) -> bool:
    """Was this account mailed about as often as it may be? Each lock of a rule is one mail at most."""
    alias = database()
    since = database_now(alias) - timedelta(hours=1)
    rows = AccountLock.objects.using(alias).filter(digest=digest, created_at__gt=since)
    return rows.exclude(rule__in=["", CONSECUTIVE_FAILURES]).count() > get_settings().unlock_mails_per_hour


# -- the link ------------------------------------------------------------------------------------------


def token_for(reference: str) -> str:
    return TimestampSigner(salt=_SALT).sign(uuid.UUID(reference).hex)


def find_locked(token: str) -> AccountLock | None:
    """The lock that this link lifts; None if there is none, or not any more. Raises the database's errors."""
    if len(token) > _MAX_TOKEN or not token.isascii():
        return None
    try:
        reference = uuid.UUID(TimestampSigner(salt=_SALT).unsign(token, max_age=LINK_AGE))
    except (BadSignature, ValueError):
        return None
    row = in_force(database()).filter(reference=reference).first()
    return row if row is not None and _has_link(row.rule) else None


def unlock_by_link(token: str, context: RequestContext) -> bool:
    """Lift the lock, and what else rules locked of this account, and know this device. → whether it was the first
    time. Raises the database's errors."""
    row = find_locked(token)
    if row is None:
        return False
    alias = database()
    why = {"reason": "the link by mail", "by": "owner"}
    # Its own row first: of two that use a link at once one is told that it is spent.
    lifted = lift([row], alias, **why)
    if not lifted:
        return False
    lifted += lift(
        [other for other in in_force(alias).filter(digest=row.digest) if _has_link(other.rule)], alias, **why
    )
    reset_account([row.digest], [row.counter])
    report_unlocked(row.account, lifted, **why)
    user = find_user(row.account)
    if user is not None:
        remember_owner(context, names_of_owner(user))
    return True


def remember_owner(context: RequestContext, names: list[str]) -> None:
    """The device is known for the account with these identifiers from now on; the first is the canonical one."""
    if names:
        get_devices().remember(context, names, get_event_logger().pipeline.detector.account_digest(names[0]))
