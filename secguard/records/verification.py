"""Reads the chain of events from one end to the other, and says where it is broken first. Changes nothing.

Raises the database's errors.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from django.db.models import Max

from secguard.models import ChainHead, EventRecord
from secguard.records.chain import (
    BLANK,
    HEAD,
    PERSONAL,
    STANDING,
    commitment_of,
    is_sealed,
    link_of,
    mark_of_erasure,
)
from secguard.records.database import database

#: Places looked at with one query.
BATCH = 1_000
#: How far on either side the place of a row is looked for that was moved.
_NEAR = 40
_FIELDS = ("sequence", "link", "commitment", "nonce", "erasure", *STANDING, *PERSONAL)


class Row(NamedTuple):
    """A row as the chain sees it."""

    sequence: int
    link: str
    commitment: str
    nonce: str
    erasure: str
    standing: tuple[Any, ...]
    personal: tuple[Any, ...]

    @property
    def event_id(self) -> str:
        return str(self.standing[0])

    @property
    def is_blank(self) -> bool:
        return self.personal == tuple(BLANK[name] for name in PERSONAL)


@dataclass(frozen=True, slots=True)
class Break:
    """The first place where the chain does not hold. ``kind``: changed, order, duplicate, missing, erased, added,
    truncated, head or expected. ``event_id``: of the row in which it shows, or empty."""

    kind: str
    sequence: int
    event_id: str
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """``checked``: rows whose links hold; ``erased``: of them, those without their personal fields. ``head``: the last
    place and its link, or empty without a chain. ``anchor``: what was pruned ends there. ``outside``: rows that are no
    part of the chain; ``outside_since``: of them, those from after it began. ``expected``: what became of the head
    that was expected: found, pruned or empty."""

    checked: int
    erased: int
    head: str
    anchor: int
    outside: int
    outside_since: int
    expected: str
    broken: Break | None


class Place(NamedTuple):
    """A head as ``verify`` printed it."""

    sequence: int
    link: str


def verify(*, expect: Place | None = None, progress: Callable[[int], None] = lambda done: None) -> Verification:
    """Look at every row of the chain, from the oldest that is left to the head as it is now, or to the first break."""
    return _Walk(database(), expect, progress).verification()


class BrokenChainError(Exception):
    """The chain does not hold here."""

    def __init__(self, kind: str, sequence: int, event_id: str, what: str) -> None:
        super().__init__(what)
        self.found = Break(kind, sequence, event_id, what)


class _Walk:
    def __init__(self, alias: str, expect: Place | None, progress: Callable[[int], None]) -> None:
        self._rows = EventRecord.objects.using(alias)
        self._heads = ChainHead.objects.using(alias).filter(pk=HEAD)
        self._expect, self._progress = expect, progress
        self._checked = self._erased = 0
        self._expected = ""

    def verification(self) -> Verification:
        head = self._heads.first()
        broken = None
        try:
            self._all(head)
        except BrokenChainError as error:
            broken = error.found
        first = self._rows.exclude(sequence=None).order_by("sequence").values_list("timestamp", flat=True).first()
        outside = self._rows.filter(sequence=None)
        return Verification(
            self._checked,
            self._erased,
            f"{head.sequence}:{head.link}" if head and head.link else "",
            head.anchor_sequence if head else 0,
            outside.count(),
            outside.filter(timestamp__gte=first).count() if first else 0,
            self._expected,
            broken,
        )

    def _all(self, head: ChainHead | None) -> None:
        if head is None:
            found = self._rows.exclude(sequence=None).order_by("sequence").first()
            if found is not None:
                raise BrokenChainError(
                    "head", found.sequence or 0, str(found.event_id), "the head of the chain is gone"
                )
            if self._expect is not None:
                raise BrokenChainError(
                    "expected", self._expect.sequence, "", "the chain is gone: there is not even a head"
                )
            return
        self._look_before(head)
        for row in linked_rows(self._rows, head, self._fresh):
            self._checked += 1
            self._erased += bool(row.erasure)
            self._compare(row.sequence, row.link, row.event_id)
            if not self._checked % BATCH:
                self._progress(self._checked)
        self._look_behind(head)

    def _fresh(self) -> ChainHead | None:
        return self._heads.first()

    def _look_before(self, head: ChainHead) -> None:
        early = self._rows.filter(sequence__lte=head.anchor_sequence).order_by("sequence").first()
        if early is not None:
            what = f"the row is older than place {head.anchor_sequence}, up to which all were pruned"
            raise BrokenChainError("added", early.sequence or 0, str(early.event_id), what)
        if self._expect is not None and self._expect.sequence < head.anchor_sequence:
            self._expected = "pruned"
        self._compare(head.anchor_sequence, head.anchor_link, "")

    def _look_behind(self, head: ChainHead) -> None:
        last = self._rows.aggregate(last=Max("sequence"))["last"] or 0
        now = self._fresh()  # after the rows: others write meanwhile
        if now is None or last > now.sequence:
            late = self._rows.filter(sequence__gt=now.sequence if now else head.sequence).order_by("sequence").first()
            what = "the row stands behind the end of the chain"
            raise BrokenChainError(
                "added", late.sequence or 0 if late else last, str(late.event_id) if late else "", what
            )
        if not is_sealed(head):
            what = (
                "the head was not written under this project's key: rows at the end may be missing. "
                "(Or HMAC_KEY, or the SECRET_KEY that it comes from, has changed.)"
            )
            raise BrokenChainError("head", head.sequence, "", what)
        if self._expect is not None and self._expect.sequence > head.sequence:
            what = f"the chain ends at place {head.sequence}, and had reached {self._expect.sequence}"
            raise BrokenChainError("expected", head.sequence, "", what)

    def _compare(self, sequence: int, link: str, event_id: str) -> None:
        expect = self._expect
        if expect is None or expect.sequence != sequence:
            return
        if not hmac.compare_digest(expect.link.encode(), link.encode()):
            what = "another link than expected: the chain up to here was written anew by somebody who has the key"
            raise BrokenChainError("expected", sequence, event_id, what)
        self._expected = "found"


def linked_rows(
    rows: Any, head: ChainHead, fresh: Callable[[], ChainHead | None], *, upto: int | None = None
) -> Iterator[Row]:
    """The rows between anchor and head whose links hold, in order. Raises BrokenChainError at the first that does not.

    ``fresh``: reads the head again; what is pruned meanwhile is passed over. ``upto``: the last place that is wanted.
    """
    at, link = head.anchor_sequence, head.anchor_link
    last = head.sequence if upto is None else upto
    while at < last:
        end = min(at + BATCH, last)
        batch = rows_between(rows, at, end)
        fits = True
        for number, row in enumerate(batch):
            fits = row.sequence == at + 1
            if not fits:
                break
            _look_at(row, link, batch[max(0, number - _NEAR) : number + _NEAR])
            yield row
            at, link = row.sequence, row.link
        if fits and at == end:
            continue
        now = fresh()
        if now is not None and now.anchor_sequence > at and is_sealed(now):
            at, link = now.anchor_sequence, now.anchor_link
            continue
        _tell_gap(rows, at, head, batch)
    if at == head.sequence and link != head.link:
        raise BrokenChainError("head", head.sequence, "", "the head names another link than its row has")


def rows_between(rows: Any, after: int, upto: int) -> list[Row]:
    """The rows of these places, of one the oldest first."""
    found = rows.filter(sequence__gt=after, sequence__lte=upto).order_by("sequence", "pk").values_list(*_FIELDS)
    personal = 5 + len(STANDING)
    return [Row._make((*values[:5], values[5:personal], values[personal:])) for values in found]


def _tell_gap(rows: Any, at: int, head: ChainHead, batch: list[Row]) -> None:
    double = next((row for one, row in pairwise(batch) if row.sequence == one.sequence == at), None)
    if double is not None:
        raise BrokenChainError("duplicate", at, double.event_id, "two rows have this place: one was put in")
    following = rows.filter(sequence__gt=at, sequence__lte=head.sequence).order_by("sequence", "pk").first()
    if following is None:
        count = head.sequence - at
        raise BrokenChainError(
            "truncated", at + 1, "", f"{count} rows are missing at the end: the head is at {head.sequence}"
        )
    count = following.sequence - at - 1
    what = f"{count} rows are missing before this one" if count > 1 else "a row is missing before this one"
    raise BrokenChainError("missing", at + 1, str(following.event_id), what)


def _look_at(row: Row, previous: str, near: list[Row]) -> None:
    if not hmac.compare_digest(link_of(previous, row.sequence, row.standing, row.commitment), row.link):
        _tell_link(row, previous, near)
    if row.erasure:
        if not hmac.compare_digest(mark_of_erasure(row.event_id), row.erasure):
            raise BrokenChainError("erased", row.sequence, row.event_id, "marked as erased, but not by secguard")
        if not row.is_blank or row.nonce:
            raise BrokenChainError("changed", row.sequence, row.event_id, "was erased, and has been filled in again")
    elif not hmac.compare_digest(commitment_of(row.nonce, row.personal), row.commitment):
        if row.is_blank:
            raise BrokenChainError("erased", row.sequence, row.event_id, "was emptied without a recorded erasure")
        raise BrokenChainError("changed", row.sequence, row.event_id, "its address, names or texts were changed")


def _tell_link(row: Row, previous: str, near: list[Row]) -> None:
    """Why the link does not hold: the row belongs elsewhere, or it is not what was written."""
    links = [previous, *(each.link for each in near)]
    for sequence in range(max(1, row.sequence - _NEAR), row.sequence + _NEAR):
        for link in links:
            if link_of(link, sequence, row.standing, row.commitment) == row.link:
                if sequence == row.sequence:
                    what = "follows another row than it was written after"
                else:
                    what = f"the order was changed: this row was written at place {sequence}"
                raise BrokenChainError("order", row.sequence, row.event_id, what)
    what = "its time, type or other fixed fields were changed, or it does not follow the row before it"
    raise BrokenChainError("changed", row.sequence, row.event_id, what)
