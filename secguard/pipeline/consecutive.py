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


@dataclass(frozen=True, slots=True)
class Failure:
    """One more. ``digest``: the account's, in hexadecimal. ``account``: what people read."""

    digest: str
    account: str


@dataclass(frozen=True, slots=True)
class Clearance:
    """None any more: somebody got in. ``rebound``: or has a new password, which ends the lock too."""

    digests: tuple[str, ...]
    account: str
    rebound: bool = False


def note_failure(context: RequestContext, detector: Detector, account: str | None, alias: str | None) -> None:
    """A login failed. ``alias``: what is kept instead of the account's name."""
    if account and get_settings().max_consecutive_failures is not None:
        # What is typed is hostile: a database may refuse some characters, and the failure counts all the same.
        have_saved(Failure(detector.account_digest(account), one_line(alias or account, 254)), context)


def note_success(context: RequestContext, detector: Detector, own: list[str], names: Iterable[str]) -> None:
    """Somebody got in. ``own``: identifiers that surely are the user's. ``names``: what the profile says besides,
    under which the same request may have failed first."""
    if own and get_settings().max_consecutive_failures is not None:
        tried = set(_digests(detector, [*own, *names]))
        context.rows[:] = [row for row in context.rows if not (isinstance(row, Failure) and row.digest in tried)]
        have_saved(Clearance(_digests(detector, own), own[0]), context)


def note_rebinding(context: RequestContext, detector: Detector, own: list[str]) -> None:
    """Somebody proved by mail who he is, and has a new password."""
    if own and get_settings().max_consecutive_failures is not None:
        have_saved(Clearance(_digests(detector, own), own[0], rebound=True), context)


def _digests(detector: Detector, accounts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(digest for account in accounts for digest in detector.account_digests(account)))
