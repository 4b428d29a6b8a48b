"""CSV whose first line names the columns."""

from __future__ import annotations

import csv

from secguard.replay.attempts import Attempt, attempt
from secguard.replay.readers.reading import Reading, outcome_of

_DELIMITERS = ",;\t|"


def _columns(line: str) -> list[str]:
    delimiter = max(_DELIMITERS, key=line.count)
    return [name.strip() for name in _cells(line, delimiter)]


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        raise ValueError(f"no CSV: {error}") from None


class CsvRows:
    """One row a line. The delimiter is the one that the first line has most of."""

    def __init__(self, source: str, reading: Reading, modified: float = 0) -> None:
        self._source, self._reading = source, reading
        self._places: dict[str, int] | None = None
        self._delimiter = ","

    @classmethod
    def recognises(cls, line: str, reading: Reading) -> bool:
        try:
            columns = _columns(line)
        except ValueError:
            return False
        return all(reading.names[name] in columns for name in ("ts", "outcome"))

    def read(self, first: int, lines: list[str]) -> list[Attempt]:
        found = []
        for number, line in enumerate(lines, first):
            if not line or line.isspace():
                continue
            try:
                if self._places is None:
                    self._begin(line)
                else:
                    found.append(self._attempt(_cells(line, self._delimiter), self._places))
            except ValueError as error:
                self._reading.notes.skip(self._source, number, line, str(error))
        return found

    def _begin(self, line: str) -> None:
        columns = _columns(line)
        names = self._reading.names
        missing = [names[name] for name in ("ts", "outcome") if names[name] not in columns]
        if missing:
            raise ValueError(f"the first line names no column {' and no '.join(missing)}")
        self._delimiter = max(_DELIMITERS, key=line.count)
        self._places = {name: columns.index(its) for name, its in names.items() if its in columns}

    def _attempt(self, cells: list[str], places: dict[str, int]) -> Attempt:
        if len(cells) <= max(places.values()):
            raise ValueError(f"{len(cells)} columns")
        values = {name: cells[at] for name, at in places.items()}
        people = self._reading.people
        at, failed = self._reading.times.iso(values["ts"]), outcome_of(values["outcome"])
        client, account = people.client(values.get("ip", "").strip()), people.account(values.get("username"))
        if client.subject is None and account is None:
            raise ValueError("neither an address nor an account")
        return attempt(at, failed, client, account)

    def end(self) -> list[Attempt]:
        return []
