"""One security event, one line of strict JSON: bounded, in ASCII, whatever the record holds."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

from pythonjsonlogger.json import JsonEncoder, JsonFormatter

from secguard.formatters.text import clean, clean_context, clean_text, one_line, redact_queries

MAX_BYTES = 8192
MAX_MESSAGE = 512
MAX_TRACEBACK = 2000
MAX_PREFIX = 64

# What a reader of a truncated line must still find; every other key of the context may go.
CORE_KEYS = frozenset(
    (
        *("event_type", "category", "severity", "event_id", "ip_address"),
        *("rule", "subject", "count", "threshold", "formatter_error"),
    )
)

LAST_RESORT = '{"message": "<unprintable record>", "context": {"formatter_error": "RecursionError"}}'

LogData: TypeAlias = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_STANDARD_ATTRIBUTES = frozenset(
    # taskName: Python 3.12; the last two are ours.
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "context", "context_is_clean"}
) - {"context"}
_encode = json.JSONEncoder(allow_nan=False).encode


class SecurityJsonFormatter(JsonFormatter):
    """Write records as `{"timestamp", "level", "logger", "message", "location", "context"}`, in this order.

    A record whose `context` is a dict is an event of ours; with a true `context_is_clean` it is taken as
    already sanitised. Any other record's extra attributes are sanitised into the context. "exception" and
    "stack_info" follow when the record has them. A line is at most `MAX_BYTES` bytes long: a longer one
    loses context, largest values first and `CORE_KEYS` never, and says so by `"truncated": true` there.
    `format` raises nothing: what could not be written as asked says why by "formatter_error" there.

    Of JsonFormatter's options `json_default`, `json_encoder`, `json_serializer` and `prefix` are
    honoured. The others are accepted and change nothing, since the shape of a line is a promise.
    """

    #: The line where the recursion limit leaves no room to make one.
    last_resort = LAST_RESORT

    def __init__(self, *args: Any, **options: Any) -> None:
        """Take the arguments of JsonFormatter; raises ValueError, as it does, for an invalid `fmt`."""
        options.setdefault("json_serializer", _strict_dumps)
        super().__init__(*args, **options)
        self.json_indent = None
        self.json_ensure_ascii = True
        self.prefix = one_line(self.prefix, MAX_PREFIX)
        self._second = (0, "1970-01-01T00:00:00")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for `record`, without a line end."""
        try:
            data = self.process_log_record(self._log_data(record, trusting=True))
            return _bounded(data, self._serialize)
        except Exception as error:
            try:
                return self._rescued(record, error)
            except Exception:  # the recursion limit leaves no room for another call
                return self.last_resort

    def _serialize(self, data: LogData) -> str:
        line = self.serialize_log_record(data)
        # A serializer of the project's own may indent, or let control characters through.
        return line if line.isprintable() else self._serialize_strictly(data)

    def _serialize_strictly(self, data: LogData) -> str:
        return self.prefix + _encode(data)

    def _rescued(self, record: logging.LogRecord, error: Exception) -> str:
        try:
            data = self._log_data(record, trusting=False)
            data["context"]["formatter_error"] = clean_text(type(error).__name__, 64)
            return _bounded(data, self._serialize_strictly)
        except Exception:
            return self._minimal_line(record, error)

    def _minimal_line(self, record: logging.LogRecord, error: Exception) -> str:
        return _encode(self._minimal_data(record, error))

    def _minimal_data(self, record: logging.LogRecord, error: Exception) -> LogData:
        attributes = vars(record)
        return {
            "timestamp": self._timestamp(attributes.get("created", math.nan)),
            "level": clean_text(attributes.get("levelname", ""), 64),
            "logger": clean_text(attributes.get("name", ""), 128),
            "message": "<unprintable record>",
            "location": {"file": "", "line": 0, "function": ""},
            "context": {**_event_type(attributes), "formatter_error": clean_text(type(error).__name__, 64)},
        }

    def _log_data(self, record: logging.LogRecord, *, trusting: bool) -> LogData:
        data: LogData = {
            "timestamp": self._timestamp(record.created),
            "level": clean_text(record.levelname, 64),
            "logger": clean_text(record.name, 128),
            "message": _message(record),
            "location": _location(record),
            "context": _context(record, trusting=trusting),
        }
        if record.exc_info or record.exc_text:
            data["exception"] = self._exception(record)
        if record.stack_info:
            data["stack_info"] = _excerpt(record.stack_info)
        return data

    def _timestamp(self, created: float) -> str:
        """Return `created` (seconds since the epoch) in UTC; an impossible one becomes the present."""
        try:
            # float: a text times 1000 would be a huge text. Rounded: binary floats put some .789 just below.
            seconds, milliseconds = divmod(round(float(created) * 1000), 1000)
            return f"{self._date_and_time(seconds)}.{milliseconds:03d}Z"
        except Exception:
            now = datetime.now(timezone.utc).replace(tzinfo=None)
            return now.isoformat(timespec="milliseconds") + "Z"

    def _date_and_time(self, seconds: int) -> str:
        known, text = self._second
        if known != seconds:
            text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
            # One tuple, assigned whole: threads see the old pair or the new one.
            self._second = (seconds, text)
        return text

    def _exception(self, record: logging.LogRecord) -> str:
        try:
            text = record.exc_text or logging.Formatter.formatException(self, record.exc_info)  # type: ignore[arg-type]
            return _excerpt(text)
        except Exception as error:
            return f"<unprintable exception: {clean_text(type(error).__name__, 64)}>"


def _strict_dumps(data: LogData, **options: Any) -> str:
    if options.get("cls") is JsonEncoder and options.get("default") is None:
        # Nobody asked for an encoder: the ready one, which is twice as quick as one made for each line.
        try:
            return _encode(data)
        except TypeError:
            pass  # the slower one knows more types
    return json.dumps(data, allow_nan=False, **options)


def _message(record: logging.LogRecord) -> str:
    try:
        # The parent accepts a dict for a message; str() of it would show the secrets in it.
        text: object = record.msg if isinstance(record.msg, dict) else record.getMessage()
    except Exception as error:
        text = f"<{clean_text(type(error).__name__, 64)} in message> {clean_text(record.msg)}"
    return one_line(clean_text(text, MAX_MESSAGE), MAX_MESSAGE)


def _location(record: logging.LogRecord) -> LogData:
    file = record.filename
    if type(file) is not str:
        file = clean_text(file)
    line = record.lineno
    return {
        "file": clean_text(file[-256:].replace("\\", "/").rpartition("/")[2], 128),
        "line": clean(line) if type(line) is int else 0,
        "function": clean_text(record.funcName or "", 128),
    }


def _context(record: logging.LogRecord, *, trusting: bool) -> LogData:
    attributes = vars(record)
    context: Any = attributes.get("context")
    # A plain dict alone is trusted: a subclass may lie, or never end.
    if trusting and type(context) is dict and attributes.get("context_is_clean") is True:
        return context
    if issubclass(type(context), dict):
        return clean_context(context)
    return clean_context(_extras(attributes))


def _extras(attributes: LogData) -> LogData:
    return {
        name: value
        for name, value in attributes.items()
        if name not in _STANDARD_ATTRIBUTES and not (type(name) is str and name.startswith("_"))
    }


def _excerpt(text: object) -> str:
    """Return at most `MAX_TRACEBACK` characters: where it began and, after the cut, what went wrong."""
    # Redacted whole: a cut might take the "?" and leave the token.
    shown = redact_queries(text) if type(text) is str else clean_text(text, MAX_TRACEBACK)
    if len(shown) > MAX_TRACEBACK:
        half = MAX_TRACEBACK // 2
        shown = f"{shown[: half - 3]}\n…\n{shown[-half:]}"
    return clean_text(shown, MAX_TRACEBACK)


def _bounded(data: LogData, serialize: Callable[[LogData], str]) -> str:
    """Return the first line that fits: of `data`, or of `data` with ever more taken away.

    Raises ValueError when not even the shortest fits, which takes a serializer that adds to it.
    """
    line = serialize(data)
    if _fits(line):
        return line
    for factor, shorten in _SHORTENERS:
        data = shorten(data, factor * (_size(line) - MAX_BYTES))
        line = serialize(data)
        if _fits(line):
            return line
    raise ValueError("the line cannot be made short enough")


def _size(line: str) -> int:
    return len(line) if line.isascii() else len(line.encode())


def _fits(line: str) -> bool:
    return _size(line) <= MAX_BYTES


def _without_largest_extras(data: LogData, excess: int) -> LogData:
    context = data["context"]
    sizes = {key: _encoded_size(key) + _encoded_size(context[key]) for key in context if key not in CORE_KEYS}
    dropped = set()
    left = excess + len(', "truncated": true')
    for key in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if left <= 0:
            break
        dropped.add(key)
        left -= sizes[key] + len(": , ")
    kept = {key: value for key, value in context.items() if key not in dropped}
    return {**data, "context": {**kept, "truncated": True}}


def _without_extras(data: LogData, excess: int) -> LogData:
    kept = {key: value for key, value in data["context"].items() if key in CORE_KEYS}
    return {**data, "context": {**kept, "truncated": True}}


def _without_tracebacks(data: LogData, excess: int) -> LogData:
    present = [key for key in ("exception", "stack_info") if key in data]
    return {**data, **{key: clean_text(data[key], 300) for key in present}}


def _core(data: LogData, excess: int) -> LogData:
    return {
        **{key: _brief(data.get(key, "")) for key in ("timestamp", "level", "logger", "message")},
        "location": {key: _brief(value) for key, value in data.get("location", {}).items()},
        "context": {key: _brief(value) for key, value in data["context"].items()},
    }


# The sizes of values are those in JSON. Elsewhere they take less, of a letter down to a third: then more have to go.
_SHORTENERS: tuple[tuple[int, Callable[[LogData, int], LogData]], ...] = (
    *((factor, _without_largest_extras) for factor in (1, 2, 3)),
    (1, _without_extras),
    (1, _without_tracebacks),
    (1, _core),
)


def _brief(value: object) -> object:
    """Return a number as it is, anything else as a text of at most 64 characters and about 400 bytes."""
    cleaned = clean(value, 64)
    if isinstance(cleaned, (list, dict)):
        return clean_text(str(cleaned), 32)
    return cleaned if _encoded_size(cleaned) <= 400 else clean_text(cleaned, 32)


def _encoded_size(value: object) -> int:
    return len(_encode(value))


def _event_type(attributes: LogData) -> LogData:
    try:
        return {"event_type": clean_text(attributes["context"]["event_type"], 64)}
    except Exception:
        return {}
