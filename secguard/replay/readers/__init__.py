"""Logs → attempts. A module for each format; what a file is, its first lines tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain

from secguard.replay.attempts import Attempt
from secguard.replay.readers.access_log import AccessLog
from secguard.replay.readers.csv_rows import CsvRows
from secguard.replay.readers.files import Lines, LogFile
from secguard.replay.readers.json_lines import JsonLines, SecguardLines
from secguard.replay.readers.reading import Notes, Reader, Reading, Skipped, UnreadableError
from secguard.replay.readers.sshd import Sshd
from secguard.replay.readers.tables import SOURCES
from secguard.replay.readers.times import Times

__all__ = [
    "ALIASES",
    "FORMATS",
    "SOURCES",
    "Notes",
    "Reading",
    "Skipped",
    "Times",
    "UnreadableError",
    "Watch",
    "attempts_of",
]

#: In the order in which they are tried.
FORMATS: dict[str, type[Reader]] = {
    "secguard": SecguardLines,
    "json": JsonLines,
    "sshd": Sshd,
    "combined": AccessLog,
    "csv": CsvRows,
}
#: What they are called elsewhere.
ALIASES = {"jsonl": "json", "nginx": "combined", "apache": "combined", "ssh": "sshd", "auth": "sshd"}
#: Lines that are looked at to find out what a file is.
_LOOKED_AT = 1_000

Watch = Callable[[int, "float | None"], None]


def attempts_of(name: str, reading: Reading, format_: str, watch: Watch) -> Iterator[list[Attempt]]:
    """The attempts of a file, of the standard input (``-``), or of a table (one of ``SOURCES``).

    ``format_``: one of ``FORMATS``, or auto. ``watch``: is told the lines read so far, and the share of the file.
    Opens the file at once; raises UnreadableError, then or while it is read.
    """
    if name in SOURCES:
        return _watched_table(SOURCES[name](reading), reading, watch)
    return _attempts_in(LogFile(name), reading, format_, watch)


def _watched_table(batches: Iterator[list[Attempt]], reading: Reading, watch: Watch) -> Iterator[list[Attempt]]:
    for batch in batches:
        yield batch
        watch(reading.notes.lines, None)


def _attempts_in(file: LogFile, reading: Reading, format_: str, watch: Watch) -> Iterator[list[Attempt]]:
    batches = file.batches()
    begun = next(batches, None)
    if begun is None:
        return
    kind = FORMATS[format_] if format_ != "auto" else recognised(file.name, begun[1], reading)
    reader = kind(file.name, reading, file.modified)
    for first, lines in _all(begun, batches):
        yield reader.read(first, lines)
        reading.notes.lines += len(lines)
        watch(reading.notes.lines, file.read_share)
    yield reader.end()


def _all(begun: Lines, batches: Iterator[Lines]) -> Iterator[Lines]:
    return chain([begun], batches)


def recognised(name: str, lines: list[str], reading: Reading) -> type[Reader]:
    """The format of most of the first lines that any format knows; CSV by the line that names its columns."""
    written = [line for line in lines[:_LOOKED_AT] if line and not line.isspace()]
    kinds = [kind for kind in FORMATS.values() if kind is not CsvRows]
    votes = Counter(next((kind for kind in kinds if kind.recognises(line, reading)), None) for line in written)
    votes.pop(None, None)
    if votes:
        return votes.most_common(1)[0][0]  # type: ignore[return-value]
    if not written or CsvRows.recognises(written[0], reading):
        return CsvRows
    fields = ", ".join(reading.names.values())
    raise UnreadableError(
        f"{name}: none of its first {len(written):,} lines is one of a format that is known. Give --format, or for "
        f"JSON and CSV what the fields {fields} are called there, as in --map ts=time."
    )
