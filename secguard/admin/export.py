"""The filtered events as a file, row by row, and no more of them than a file is good for."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from secguard.models import EventRecord

#: Rows in one file: the latest.
MOST_EXPORTED = 50_000
#: Rows in one piece that is sent.
_PIECE = 500
FIELDS = tuple(field.name for field in EventRecord._meta.fields if field.name != "id")
FORMATS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
#: What a spreadsheet takes for a formula: the plain signs, and those of full width that some of them equal with these,
#: also behind what cannot be seen.
_FORMULA = r"[\s\ufeff\u200b\x00]*[=+\-@＝＋－＠]"  # noqa: RUF001
_BEGINS = re.compile(rf"[\t\r\n]|{_FORMULA}")
#: Where another separator is usual, what follows it is a cell of its own.
_SEPARATOR = re.compile(rf"([;\t])(?={_FORMULA})")


def exported(
    request: HttpRequest, events: QuerySet[EventRecord], form: str, since: datetime | None = None
) -> StreamingHttpResponse:
    """A response that streams the latest of these events in one of ``FORMATS``. ``since``: older ones are not among
    them, whether there are any or not, and the file says so."""
    pieces = _csv(events, since) if form == "csv" else _json(events, since)
    body: Any = _asynchronous(pieces) if isinstance(request, ASGIRequest) else pieces
    response = StreamingHttpResponse(body, content_type=FORMATS[form])
    name = f"security-events-{timezone.now():%Y%m%d-%H%M%S}.{form}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def safe_cell(value: object) -> str:
    """A cell's text that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    text = _SEPARATOR.sub(r"\1'", text)
    return f"'{text}" if _BEGINS.match(text) else text


class _Echo:
    """Where the writer writes: it hands back what it was given."""

    def write(self, text: str) -> str:
        return text


def _csv(events: QuerySet[EventRecord], since: datetime | None) -> Iterator[str]:
    write = csv.writer(_Echo()).writerow
    yield write(FIELDS)
    lines: list[str] = []
    for number, row in enumerate(_rows(events)):
        if number == MOST_EXPORTED:
            lines.append(write([_("[more than %d events: choose fewer]") % MOST_EXPORTED]))
            break
        cells = (_as_text(getattr(row, name)) for name in FIELDS)
        lines.append(write([safe_cell(cell) for cell in cells]))
        if len(lines) == _PIECE:
            yield "".join(lines)
            lines = []
    if since is not None:
        lines.append(write([_("[nothing before %s was looked at: choose fewer filters]") % since.isoformat()]))
    yield "".join(lines)


def _as_text(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False) if value else ""
    return value.isoformat() if hasattr(value, "isoformat") else value


def _json(events: QuerySet[EventRecord], since: datetime | None) -> Iterator[str]:
    """One object: ``events``, and whether there may be more (``truncated``)."""
    piece, truncated, between = ['{"events": ['], since is not None, "\n"
    for number, row in enumerate(_rows(events)):
        if number == MOST_EXPORTED:
            truncated = True
            break
        facts = {name: getattr(row, name) for name in FIELDS}
        piece.append(between + json.dumps(facts, cls=DjangoJSONEncoder))
        between = ",\n"
        if len(piece) == _PIECE:
            yield "".join(piece)
            piece = []
    yield "".join(piece) + f'\n], "truncated": {json.dumps(truncated)}}}\n'


def _rows(events: QuerySet[EventRecord]) -> Iterator[EventRecord]:
    return events[: MOST_EXPORTED + 1].iterator(chunk_size=_PIECE)


async def _asynchronous(pieces: Iterator[str]) -> AsyncIterator[str]:
    """The database is read in a thread, between pieces."""
    following = sync_to_async(lambda: next(pieces, None))
    while (piece := await following()) is not None:
        yield piece
