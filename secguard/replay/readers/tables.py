"""Tables of the project's database: those of django-axes, and secguard's own events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet

from secguard.detection import normalize_identifier
from secguard.events import EventType
from secguard.replay.attempts import AT, Attempt, attempt, moment_of
from secguard.replay.readers.reading import Reading, UnreadableError

_BATCH = 2_000
_MOST_FAILURES = 10_000


def attempts_of_axes(reading: Reading) -> Iterator[list[Attempt]]:
    """Failures from AccessFailureLog, where django-axes keeps each of them (AXES_ENABLE_ACCESS_FAILURE_LOG); else from
    AccessAttempt, which knows how many there were and when the last was: they count as if all had been then. Successes
    from AccessLog.

    Raises UnreadableError where django-axes is not installed.
    """
    failures, attempts, logins = (_model("axes", name) for name in ("AccessFailureLog", "AccessAttempt", "AccessLog"))
    columns = ("attempt_time", "ip_address", "username")
    if failures._default_manager.exists():
        failed = _rows(reading, "AccessFailureLog", failures._default_manager.all(), columns, True)
    else:
        columns_and_count = (*columns, "failures_since_start")
        failed = _rows(reading, "AccessAttempt", attempts._default_manager.all(), columns_and_count, True)
    passed = _rows(reading, "AccessLog", logins._default_manager.all(), columns, False)
    return _batched(merge(failed, passed, key=lambda each: each[AT]))


def attempts_of_events(reading: Reading) -> Iterator[list[Attempt]]:
    """Logins from secguard's own EventRecord, as far as PERSIST_EVENTS had them stored: failed ones with "all" alone.

    Raises UnreadableError where there is no such table.
    """
    model = _model("secguard", "EventRecord")
    kinds = {EventType.LOGIN_FAILED.value: True, EventType.LOGIN_SUCCESS.value: False}
    rows = model._default_manager.filter(event_type__in=kinds)
    streams = [
        _rows(reading, "EventRecord", rows.filter(event_type=kind), ("timestamp", "ip_address", "account"), failed)
        for kind, failed in kinds.items()
    ]
    return _batched(merge(*streams, key=lambda each: each[AT]))


SOURCES: dict[str, Callable[[Reading], Iterator[list[Attempt]]]] = {
    "db:axes": attempts_of_axes,
    "db:events": attempts_of_events,
}


def _model(app: str, name: str) -> type[Model]:
    try:
        return apps.get_model(app, name)
    except LookupError:
        raise UnreadableError(f"There is no table {name} of the app {app!r}: is it in INSTALLED_APPS?") from None


def _rows(
    reading: Reading, source: str, rows: QuerySet[Any], columns: tuple[str, ...], failed: bool
) -> Iterator[Attempt]:
    """In the order of their times, the first of the columns."""
    ordered = rows.order_by(columns[0], "pk").values_list("pk", *columns)
    for key, time, address, name, *count in ordered.iterator(chunk_size=_BATCH):
        reading.notes.lines += 1
        try:
            made = _made(reading, time, address, name, failed)
        except ValueError as error:
            reading.notes.skip(source, key if isinstance(key, int) else 0, str(key), str(error))
            continue
        for _ in range(min(count[0], _MOST_FAILURES) if count else 1):
            yield made


def _made(reading: Reading, time: datetime, address: str | None, name: str | None, failed: bool) -> Attempt:
    client, account = reading.people.client(address), reading.people.account(normalize_identifier(name))
    if client.subject is None and account is None:
        raise ValueError("neither an address nor an account")
    return attempt(moment_of(time if time.tzinfo else time.astimezone()), failed, client, account)


def _batched(attempts: Iterator[Attempt]) -> Iterator[list[Attempt]]:
    while batch := list(islice(attempts, _BATCH)):
        yield batch
