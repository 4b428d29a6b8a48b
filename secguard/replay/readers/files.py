"""Files as batches of lines: plain or compressed, of any size, with lines of any length."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeAlias

from secguard.replay.readers.reading import UnreadableError

#: The number of the first line, and the lines.
Lines: TypeAlias = "tuple[int, list[str]]"
_CHUNK = 1 << 20
#: What is longer is cut, and so most likely skipped: no log has such lines.
MAX_LINE = 1 << 16
_OPENERS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}


class LogFile:
    """One file, or the standard input for ``-``. ``read_share``: how much of it was read, from 0 to 1, if that can be
    told. ``modified``: seconds since 1970.

    Raises UnreadableError.
    """

    def __init__(self, name: str) -> None:
        self.name = "standard input" if name == "-" else name
        self._raw: BinaryIO
        self._size, self.modified = 0, time.time()
        try:
            if name == "-":
                self._raw = getattr(sys.stdin, "buffer", None) or io.BytesIO(sys.stdin.read().encode())
            else:
                self._raw = open(name, "rb")  # noqa: SIM115 - closed by whoever reads it to its end
                status = os.fstat(self._raw.fileno())
                self._size, self.modified = status.st_size, status.st_mtime
        except OSError as error:
            raise UnreadableError(f"{name} cannot be read: {error.strerror or error}.") from None

    @property
    def read_share(self) -> float | None:
        return self._raw.tell() / self._size if self._size and not self._raw.closed else None

    def batches(self) -> Iterator[Lines]:
        """Its lines without their ends, about a megabyte at a time."""
        number = 1
        try:
            for lines in self._batches():
                yield number, lines
                number += len(lines)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            why = getattr(error, "strerror", None) or error
            raise UnreadableError(f"{self.name} cannot be read beyond line {number - 1:,}: {why}.") from None
        finally:
            if self._raw is not getattr(sys.stdin, "buffer", None):
                self._raw.close()

    def _batches(self) -> Iterator[list[str]]:
        file, rest, is_first = self._opened(), b"", True
        while True:
            chunk = file.read(_CHUNK)
            if is_first:
                chunk, is_first = chunk.removeprefix(b"\xef\xbb\xbf"), False
            if not chunk:
                break
            head, newline, rest_of_it = chunk.rpartition(b"\n")
            if not newline:
                rest = (rest + chunk)[:MAX_LINE]
                continue
            yield _lines(rest + head)
            rest = rest_of_it[:MAX_LINE]
        if rest:
            yield _lines(rest)

    def _opened(self) -> Any:
        """By what the file begins with, not by its name: the standard input has none."""
        buffered: Any = self._raw if hasattr(self._raw, "peek") else io.BufferedReader(self._raw)
        begin = buffered.peek(6)[:6]
        opener = next((opener for magic, opener in _OPENERS.items() if begin.startswith(magic)), None)
        return buffered if opener is None else opener(buffered)


def _lines(data: bytes) -> list[str]:
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").removesuffix(b"\r")
    lines = data.decode("utf-8", "replace").split("\n")
    return [line[:MAX_LINE] for line in lines] if len(data) > MAX_LINE and max(map(len, lines)) > MAX_LINE else lines
