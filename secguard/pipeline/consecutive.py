"""Failures in a row, however long they take: what changes the durable count of an account (MAX_CONSECUTIVE_FAILURES).

Only notes are made here. They are saved like blocks, once the view's transaction has ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from secguard.conf import get_settings
from secguard.context import RequestContext
from secguard.detection import Detector
from secguard.formatters.text import one_line
from secguard.pipeline.decisions import have_saved
from secguard.pipeline.names import are_anothers_too


@dataclass(frozen=True, slots=True)
class Failure:
    """One more. ``digest``: the account's, in hexadecimal. ``account``: what people read."""

    digest: str
    account: str


@dataclass(frozen=True, slots=True)
class Clearance:
    """None any more: somebody got in. ``rebound``: or has a new password, which ends the lock too.

    ``names``: the identifiers that the digests are of. ``user``: whose they are, as the text of the primary key.
    """

    digests: tuple[str, ...]
    account: str
    rebound: bool = False
    names: tuple[str, ...] = ()
    user: str | None = None


def note_failure(context: RequestContext, detector: Detector, account: str | None, alias: str | None) -> None:
    """A login failed. ``alias``: what is kept instead of the account's name."""
    if account and get_settings().max_consecutive_failures is not None:
        # What is typed is hostile: a database may refuse some characters, and the failure counts all the same.
        have_saved(Failure(detector.account_digest(account), one_line(alias or account, 254)), context)


def note_success(
    context: RequestContext, detector: Detector, own: list[str], names: Iterable[str], user: str | None = None
) -> None:
    """Somebody got in. ``own``: identifiers that were typed, or are the user's. ``names``: what the profile says
    besides, under which the same request may have failed first."""
    if not own or get_settings().max_consecutive_failures is None:
        return
    names = [*own, *names]
    tried = set(_digests(detector, names))
    forgiven = [row for row in context.rows if isinstance(row, Failure) and row.digest in tried]
    if forgiven and not are_anothers_too(names, user):
        context.rows[:] = [row for row in context.rows if row not in forgiven]
    have_saved(Clearance(_digests(detector, own), own[0], names=tuple(own), user=user), context)


def note_rebinding(context: RequestContext, detector: Detector, own: list[str], user: str | None = None) -> None:
    """Somebody proved by mail who he is, and has a new password."""
    if own and get_settings().max_consecutive_failures is not None:
        have_saved(Clearance(_digests(detector, own), own[0], rebound=True, names=tuple(own), user=user), context)


def _digests(detector: Detector, accounts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(digest for account in accounts for digest in detector.account_digests(account)))
