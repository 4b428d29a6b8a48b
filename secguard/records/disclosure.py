"""Everything that is held of somebody, for whoever has to tell him (GDPR, Article 15). Reads alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import QuerySet

from secguard import emit
from secguard.events import EventType, new_event_id
from secguard.pipeline import get_store, make_event
from secguard.records.database import database
from secguard.records.readings import read
from secguard.records.recorder import get_recorder
from secguard.records.subjects import Subject, account_subject, decisions_of, events_of, network_subject
from secguard.records.synchroniser import get_synchroniser

#: Rows in memory at one time.
CHUNK = 500
#: What is held elsewhere, or cannot be found by a name or an address.
NOT_COVERED = (
    "log files and whatever collects them",
    "backups of the database and of the store",
    "counters of rules over pairs or over subjects of the project's own, which end with their windows",
    "events in which somebody is named by a text alone, or truncated as PRIVACY has it",
    "the project's own tables, such as its users and sessions",
)
_INTERNAL = {"id", "counter", "nonce", "commitment"}


@dataclass(frozen=True, slots=True)
class Disclosure:
    """``counts``: how many rows each section has. ``counters_known``: are the counters those of all processes?"""

    subject: Subject
    counts: dict[str, int]
    counters: list[dict[str, Any]]
    counters_known: bool
    alias: str

    def sections(self) -> Iterator[tuple[str, Iterable[dict[str, Any]]]]:
        """Each kind of rows, which are read while they are looped over."""
        yield "counters", self.counters
        for name, rows in decisions_of(self.subject, self.alias).items():
            yield name, _read(rows)
        yield "events", (row for rows in events_of(self.subject, self.alias) for row in _read(rows))


def disclose_account(account: str, *, by: str = "") -> Disclosure:
    """What is held of an account. An event says who asked, not for whom. Raises ValueError for what is no account."""
    return _disclose(account_subject(account), by)


def disclose_network(network: str, *, by: str = "") -> Disclosure:
    """What is held of an address or network. Raises ValueError for what is none."""
    return _disclose(network_subject(network), by)


def _disclose(subject: Subject, by: str) -> Disclosure:
    get_synchroniser().save_waiting()
    get_recorder().save_waiting()
    alias, store = database(), get_store()
    counts = {name: rows.count() for name, rows in decisions_of(subject, alias).items()}
    counts["events"] = sum(rows.count() for rows in events_of(subject, alias))
    counters = [_reading(each) for each in read(subject.observation) if each.count and _is_own(each.kind, subject)]
    found = Disclosure(subject, counts, counters, not store.degraded, alias)
    details = {"subject_type": subject.kind, **counts, "counters_known": found.counters_known, "by": by}
    message = f"Exported the data of an {subject.kind}"
    emit.emit(make_event(EventType.DATA_EXPORTED, message, {**details, "event_id": new_event_id()}))
    return found


def _is_own(kind: str, subject: Subject) -> bool:
    """Is a counter of this kind the subject's own, and not of an address beside it?"""
    return subject.kind != "account" or kind not in ("address", "network")


def _reading(reading: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(reading).items() if name != "key"}


def _read(rows: QuerySet[Any]) -> Iterator[dict[str, Any]]:
    fields = [field.name for field in rows.model._meta.concrete_fields if field.name not in _INTERNAL]
    yield from rows.order_by("pk").values(*fields).iterator(chunk_size=CHUNK)
