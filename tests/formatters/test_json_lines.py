"""Each record is one line of strict JSON of a promised shape and size, whatever is in it."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import re
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.formatters import SecurityJsonFormatter
from secguard.formatters.text import clean_context
from tests.formatters.hostile import (
    HOSTILE,
    KEYS,
    NESTED,
    STRINGS,
    HostileDict,
    Raising,
    refuse_constant,
    wide,
)

FEBRUARY = 1770640496.789
CORE = {
    "event_type": "login_failed",
    "category": "authentication",
    "severity": "medium",
    "event_id": "0193a1b2-7c1d-7e2f-9a3b-1c2d3e4f5a6b",
    "ip_address": "203.0.113.7",
    "rule": "brute_force",
    "subject": "user@example.com",
    "count": 5,
    "threshold": 5,
}
ATTRIBUTES = (
    *("msg", "args", "name", "levelname", "filename", "lineno", "funcName", "created"),
    *("exc_info", "exc_text", "stack_info"),
)
BREAKS = set("\n\r\x0b\x0c\x1b\x85\u2028\u2029")


def record(msg: Any = "Failed login attempt for %s", *args: object, **attributes: Any) -> logging.LogRecord:
    made = logging.LogRecord(
        "security.events", logging.WARNING, "/srv/app/logging.py", 245, msg, args, None, "log_login_failed"
    )
    made.created = FEBRUARY
    vars(made).update(attributes)
    return made


def event(context: dict[str, Any], **attributes: Any) -> logging.LogRecord:
    return record("An event", context=context, context_is_clean=True, **attributes)


def line_of(made: logging.LogRecord, **options: Any) -> str:
    return SecurityJsonFormatter(**options).format(made)


def parsed(made: logging.LogRecord, **options: Any) -> dict[str, Any]:
    line = line_of(made, **options)
    assert line.isascii()
    assert not BREAKS & set(line)
    assert len(line.encode()) <= 8192
    data = json.loads(line, parse_constant=refuse_constant)
    assert isinstance(data, dict)
    return data


def with_exception(error: BaseException, **attributes: Any) -> logging.LogRecord:
    try:
        raise error
    except BaseException:
        return record("Broken", exc_info=sys.exc_info(), **attributes)


# The shape


def test_a_line_has_exactly_the_promised_shape() -> None:
    made = record("Failed login attempt for %s", "user@example.com", context={"count": 1})
    assert line_of(made) == (
        '{"timestamp": "2026-02-09T12:34:56.789Z", "level": "WARNING", "logger": "security.events", '
        '"message": "Failed login attempt for user@example.com", '
        '"location": {"file": "logging.py", "line": 245, "function": "log_login_failed"}, '
        '"context": {"count": 1}}'
    )


def test_a_configuration_by_dict_writes_such_lines(capsys: pytest.CaptureFixture[str], restored_logging: None) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": "secguard.formatters.SecurityJsonFormatter"}},
            "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "json"}},
            "loggers": {"secguard.test": {"handlers": ["out"], "propagate": False}},
        }
    )
    logging.getLogger("secguard.test").warning("Hello", extra={"user_id": 7})
    data = json.loads(capsys.readouterr().err)
    assert data["message"] == "Hello"
    assert data["location"]["function"] == "test_a_configuration_by_dict_writes_such_lines"
    assert data["context"] == {"user_id": 7}


@pytest.fixture
def restored_logging() -> Iterator[None]:
    yield
    logger = logging.getLogger("secguard.test")
    logger.handlers.clear()
    logger.propagate = True


def test_the_location_names_the_file_without_its_folder() -> None:
    assert parsed(record("x", filename="/srv/app/views.py"))["location"]["file"] == "views.py"
    assert parsed(record("x", filename="C:\\app\\views.py"))["location"]["file"] == "views.py"


def test_a_record_that_does_not_know_its_function_leaves_it_empty() -> None:
    assert parsed(record("x", funcName=None))["location"]["function"] == ""


# The timestamp


@pytest.mark.parametrize(
    ("created", "timestamp"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (FEBRUARY, "2026-02-09T12:34:56.789Z"),
        (-0.5, "1969-12-31T23:59:59.500Z"),
        (-(10**10), "1653-02-10T06:13:20.000Z"),
        (0.9999, "1970-01-01T00:00:01.000Z"),
    ],
)
def test_the_time_is_utc_with_milliseconds(created: float, timestamp: str) -> None:
    assert parsed(record("x", created=created))["timestamp"] == timestamp


@pytest.mark.parametrize(
    "created", [float("nan"), float("inf"), 1e300, -1e300, pytest.param(10**5000, id="huge"), None, "now"]
)
def test_an_impossible_time_becomes_the_present(created: Any) -> None:
    timestamp = parsed(record("x", created=created))["timestamp"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timestamp)


def test_one_formatter_keeps_the_times_of_many_records_apart() -> None:
    formatter = SecurityJsonFormatter()
    times = [json.loads(formatter.format(record("x", created=second)))["timestamp"] for second in (5, 6, 5)]
    assert [time[17:19] for time in times] == ["05", "06", "05"]


def test_threads_share_a_formatter_without_mixing_their_times() -> None:
    formatter = SecurityJsonFormatter()
    wrong: list[str] = []

    def write(second: int) -> None:
        for _ in range(500):
            timestamp = json.loads(formatter.format(record("x", created=second)))["timestamp"]
            if timestamp != f"1970-01-01T00:00:{second:02d}.000Z":
                wrong.append(timestamp)

    threads = [threading.Thread(target=write, args=(second,)) for second in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# The context


def test_a_clean_context_is_written_as_it_is() -> None:
    assert parsed(event({"token": "kept", **CORE}))["context"] == {"token": "kept", **CORE}


def test_a_context_that_is_not_marked_clean_is_cleaned() -> None:
    made = record("x", context={"password": "hunter2", "path": "/x?token=abc"})
    assert parsed(made)["context"] == {"password": "[redacted]", "path": "/x?[redacted]"}


def test_the_extras_of_a_foreign_record_become_its_context() -> None:
    made = record("x", user_id=7, api_key="abc", request=Raising(), _private=1)
    assert parsed(made)["context"] == {
        "user_id": 7,
        "api_key": "[redacted]",
        "request": "<unprintable Raising>",
    }


def test_an_extra_called_context_that_is_no_dict_is_an_extra() -> None:
    assert parsed(record("x", context="checkout"))["context"] == {"context": "checkout"}


def test_a_record_without_extras_has_an_empty_context() -> None:
    assert parsed(record("x", taskName="Task-1"))["context"] == {}


def test_formatting_changes_neither_the_record_nor_its_context() -> None:
    context = {**CORE, "extra": "x" * 10_000}
    made = event(context)
    before = dict(vars(made))
    line_of(made)
    assert vars(made) == before
    assert context == {**CORE, "extra": "x" * 10_000}


# The message


def test_line_breaks_in_a_message_are_escaped() -> None:
    assert parsed(record("a %s", "b\nc\x1b[31m\u2028"))["message"] == r"a b\nc\x1b[31m\u2028"


def test_the_query_in_a_message_is_redacted() -> None:
    made = record('"GET %s HTTP/1.1" 200', "/x?token=abc")
    assert parsed(made)["message"] == '"GET /x?[redacted] HTTP/1.1" 200'


def test_the_secrets_in_a_dict_that_is_logged_as_a_message_are_redacted() -> None:
    assert "hunter2" not in line_of(record({"password": "hunter2"}))


def test_a_message_that_does_not_fit_its_arguments_is_shown_unformatted() -> None:
    assert parsed(record("count: %d", "many"))["message"] == "<TypeError in message> count: %d"


def test_a_message_without_text_is_shown_by_its_class() -> None:
    assert parsed(record(Raising()))["message"] == "<ValueError in message> <unprintable Raising>"


def test_a_long_message_is_cut() -> None:
    assert parsed(record("a" * 1_000_000))["message"] == "a" * 511 + "…"


# Exceptions


def test_an_exception_is_written_with_its_traceback() -> None:
    text = parsed(with_exception(ValueError("wrong")))["exception"]
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("ValueError: wrong")


def test_a_long_traceback_keeps_its_beginning_and_its_end() -> None:
    text = parsed(with_exception(ValueError("start " + "x" * 1_000_000 + " end")))["exception"]
    assert len(text) == 2000
    assert "ValueError: start" in text
    assert text.endswith(" end")


def test_no_cut_through_a_query_leaves_its_token() -> None:
    error = ValueError("x" * 5000 + " /x?" + "a" * 900 + "&token=hunter2" + "b" * 300)
    assert "hunter2" not in line_of(with_exception(error))


def test_an_exception_without_text_is_no_obstacle() -> None:
    class UnreadableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert "UnreadableError" in parsed(with_exception(UnreadableError()))["exception"]


@pytest.mark.parametrize("exc_info", [True, 5, (1, 2), ("a", "b", "c")])
def test_exception_information_of_the_wrong_kind_is_no_obstacle(exc_info: Any) -> None:
    assert isinstance(parsed(record("x", exc_info=exc_info))["exception"], str)


def test_the_text_of_an_exception_that_was_formatted_before_is_used() -> None:
    assert parsed(record("x", exc_text="Traceback: old"))["exception"] == "Traceback: old"


def test_a_stack_is_written_and_bounded() -> None:
    stack = parsed(record("x", stack_info="Stack:\n" + "y" * 100_000))["stack_info"]
    assert stack.startswith("Stack:\n")
    assert len(stack) == 2000


# The size


def test_a_line_that_fits_is_whole() -> None:
    context = {**CORE, "a": "x" * 7000}
    assert parsed(event(context))["context"] == context


def test_a_longer_line_loses_its_largest_values_first() -> None:
    context = {"large": "x" * 5000, "larger": "y" * 6000, "small": "z", **CORE}
    assert parsed(event(context))["context"] == {
        "large": "x" * 5000,
        "small": "z",
        **CORE,
        "truncated": True,
    }


def test_no_more_is_dropped_than_needed() -> None:
    context = {f"key{number}": "x" * 100 for number in range(100)}
    assert len(line_of(event({**context, **CORE}))) > 8192 - 150


def test_the_core_survives_a_thousand_large_values() -> None:
    context = {f"key{number}": "x" * 10_000 for number in range(1000)}
    kept = parsed(event({**context, **CORE}))["context"]
    assert kept.items() >= CORE.items()
    assert kept["truncated"] is True


def test_the_core_survives_in_part_when_it_is_itself_too_large() -> None:
    kept = parsed(event(dict.fromkeys(CORE, "😀" * 100_000)))["context"]
    assert kept.keys() >= CORE.keys()
    assert all(kept[key].startswith("😀") for key in CORE)


def test_tracebacks_are_shortened_before_the_core() -> None:
    made = with_exception(ValueError("😀" * 5000), stack_info="😀" * 5000)
    vars(made).update(context=CORE, context_is_clean=True)
    data = parsed(made)
    assert data["context"] == {**CORE, "truncated": True}
    assert data["exception"].startswith("Traceback")


@pytest.mark.parametrize("text", ["😀", "\x00", "\ud800", "\u2028", "a", '"', "?=", "%s"])
def test_a_record_that_is_large_everywhere_still_fits(text: str) -> None:
    big = text * 1_000_000
    made = record(big, name=big, levelname=big, filename=big, funcName=big, exc_text=big, stack_info=big, lineno=10**50)
    vars(made).update({"context": dict.fromkeys([*CORE, "extra", big], big)})
    assert parsed(made)["context"].keys() >= CORE.keys()


def test_core_values_that_are_containers_are_cut_to_text() -> None:
    kept = parsed(event({**CORE, "subject": ["x" * 300] * 30, "rule": {"a": "y" * 9000}}))["context"]
    assert kept["event_type"] == "login_failed"
    assert len(kept["subject"]) <= 32


# Anything


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_extras_become_a_valid_line(name: str) -> None:
    made = record("x", event_type="login_failed", hostile=HOSTILE[name], nested={"a": [HOSTILE[name]]})
    assert parsed(made)["context"]["event_type"] == "login_failed"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_values_in_a_context_called_clean_become_a_valid_line(name: str) -> None:
    context = {"event_type": "login_failed", "hostile": HOSTILE[name]}
    assert parsed(event(context))["context"]["event_type"] == "login_failed"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_context_becomes_a_valid_line(name: str) -> None:
    data = parsed(record("x", context=HOSTILE[name], context_is_clean=True))
    assert data["message"] == "x"


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_hostile_attributes_become_a_valid_line(attribute: str, name: str) -> None:
    made = record("x", event_type="login_failed")
    setattr(made, attribute, HOSTILE[name])
    assert set(parsed(made)) >= {"timestamp", "level", "logger", "message", "location", "context"}


def test_hostile_texts_in_every_field_become_a_valid_line() -> None:
    for text in STRINGS:
        made = record("%s", text, name=text, filename=text, funcName=text, user_agent=text)
        parsed(made)


@given(
    st.dictionaries(KEYS, NESTED, max_size=4),
    st.text(st.characters()),
    st.lists(NESTED, max_size=2),
    st.booleans(),
)
def test_anything_becomes_a_valid_line(context: Any, msg: str, args: list[object], clean: bool) -> None:
    # Set later: LogRecord itself looks into its arguments.
    parsed(record(msg, context=context, context_is_clean=clean, args=tuple(args)))


def test_extras_without_end_become_a_valid_line() -> None:
    assert parsed(record("x", event_type="login_failed", wide=wide(5)))["context"]["truncated"] is True


@given(st.dictionaries(st.text(st.characters()), NESTED))
def test_any_extras_become_a_valid_line(extras: dict[str, Any]) -> None:
    made = record("x")
    vars(made).update({**extras, **vars(made)})
    parsed(made)


def test_a_context_wrongly_called_clean_is_cleaned_and_the_reason_told() -> None:
    kept = parsed(event({**CORE, "ratio": float("nan")}))["context"]
    assert kept == {**CORE, "ratio": "NaN", "formatter_error": "ValueError"}


def test_a_dict_of_another_class_is_never_taken_for_clean() -> None:
    assert parsed(event(HostileDict(event_type="login_failed")))["context"] == {"event_type": "login_failed"}


def test_a_record_without_its_attributes_keeps_the_event_type() -> None:
    made = event({"event_type": "login_failed"})
    del made.filename
    data = parsed(made)
    assert list(data) == ["timestamp", "level", "logger", "message", "location", "context"]
    assert data["context"] == {"event_type": "login_failed", "formatter_error": "AttributeError"}


def test_a_line_is_written_at_any_depth_of_recursion() -> None:
    formatter = SecurityJsonFormatter()
    made = event({"event_type": "login_failed"})
    lines = []

    def descend() -> None:
        lines.append(formatter.format(made))
        descend()

    with pytest.raises(RecursionError):
        descend()
    assert all("context" in json.loads(line) for line in lines)


# Options of the parent


@pytest.mark.parametrize(
    "options",
    [
        {"fmt": "%(asctime)s %(message)s", "datefmt": "%Y"},
        {"fmt": "{message}", "style": "{"},
        {"json_indent": 4},
        {"json_ensure_ascii": False},
        {"rename_fields": {"message": "msg"}},
        {"static_fields": {"service": "web"}},
        {"timestamp": True},
        {"reserved_attrs": []},
        {"defaults": {"a": 1}},
    ],
    ids=str,
)
def test_other_options_of_the_parent_change_nothing(options: dict[str, Any]) -> None:
    made = event({**CORE, "name": "Zoë\n"})
    assert line_of(made, **options) == line_of(made)


def test_a_serializer_of_the_project_is_used() -> None:
    def compact(data: Any, **options: Any) -> str:
        return json.dumps(data, separators=(",", ":"))

    assert '"level":"WARNING"' in line_of(event(CORE), json_serializer=compact)


def test_a_default_function_of_the_project_is_used() -> None:
    made = event({"value": object()})
    assert parsed(made, json_default=lambda value: "by default")["context"] == {"value": "by default"}


def test_an_encoder_of_the_project_is_used() -> None:
    class Encoder(json.JSONEncoder):
        def default(self, o: object) -> str:
            return "by encoder"

    assert parsed(event({"value": object()}), json_encoder=Encoder)["context"] == {"value": "by encoder"}


def test_a_prefix_is_written_on_the_same_line() -> None:
    line = line_of(event(CORE), prefix="@cee:\n ")
    assert line.startswith(r"@cee:\n {")
    assert "\n" not in line


def test_a_hook_of_a_subclass_is_used() -> None:
    class Formatter(SecurityJsonFormatter):
        def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
            return {**log_data, "service": "web"}

    assert json.loads(Formatter().format(event(CORE)))["service"] == "web"


def test_a_serializer_that_breaks_the_line_is_replaced() -> None:
    def indented(data: Any, **options: Any) -> str:
        return json.dumps(data, indent=4)

    assert parsed(event(CORE), json_serializer=indented)["context"] == CORE


def test_a_serializer_that_lets_control_characters_through_is_replaced() -> None:
    def plain(data: Any, **options: Any) -> str:
        return json.dumps(data, ensure_ascii=False)

    context = {"name": "a\u2028b\u202e"}
    assert parsed(event(context), json_serializer=plain)["context"] == context


def test_a_serializer_that_writes_other_alphabets_is_bounded_in_bytes() -> None:
    def plain(data: Any, **options: Any) -> str:
        return json.dumps(data, ensure_ascii=False)

    line = line_of(event({**CORE, "name": "日" * 5000}), json_serializer=plain)
    assert len(line.encode()) <= 8192


def test_a_serializer_that_fails_is_replaced_and_the_reason_told() -> None:
    def failing(data: Any, **options: Any) -> str:
        raise OSError

    kept = parsed(event(CORE), json_serializer=failing)["context"]
    assert kept == {**CORE, "formatter_error": "OSError"}


@pytest.mark.parametrize("answer", [b"{}", None, 5, "x" * 10_000])
def test_a_serializer_that_answers_nonsense_is_replaced(answer: Any) -> None:
    kept = parsed(event(CORE), json_serializer=lambda data, **options: answer)["context"]
    assert kept.items() >= CORE.items()
    assert "formatter_error" in kept


def test_a_line_reaches_the_stream_of_a_handler() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(SecurityJsonFormatter())
    handler.handle(event(clean_context({"a": Raising()})))
    assert stream.getvalue().count("\n") == 1
    assert json.loads(stream.getvalue())["context"] == {"a": "<unprintable Raising>"}
