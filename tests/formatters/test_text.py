"""What goes into a log line is bounded, readable as JSON, and holds no secret."""

from __future__ import annotations

import collections
import enum
import ipaddress
import json
import types
import uuid
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.formatters.text import clean, clean_context, clean_text, one_line, redact_queries
from tests.formatters.hostile import (
    HOSTILE,
    KEYS,
    NESTED,
    SCALARS,
    STRINGS,
    EndlessMapping,
    HostileDict,
    HostileMapping,
    HostileText,
    Lazy,
    Lying,
    Nameless,
    NotText,
    Raising,
    Recursing,
    circular_dict,
    circular_list,
    longest_text,
    through_json,
    wide,
)


def class_name(value: object) -> str:
    return type(value).__name__[:20]


class Event(str, enum.Enum):
    FAILED = "login_failed"


class Colour(enum.Enum):
    RED = 1


class Status(enum.IntEnum):
    FORBIDDEN = 403


# clean: what stays


@pytest.mark.parametrize("value", ["", "user@example.com", "Zoë", "😀", 0, -5, 2**63, 1.5, True, False, None])
def test_harmless_values_stay_as_they_are(value: object) -> None:
    assert clean(value) == value
    assert type(clean(value)) is type(value)


def test_text_of_the_limit_is_not_cut() -> None:
    assert clean("a" * 256) == "a" * 256


@pytest.mark.parametrize("char", ["a", "é", "😀"])
def test_longer_text_is_cut_to_the_limit_and_marked(char: str) -> None:
    assert clean(char * 1000, 10) == char * 9 + "…"


def test_a_text_that_is_one_too_long_is_cut() -> None:
    assert clean("a" * 257) == "a" * 255 + "…"


# clean: what changes


def test_lone_surrogates_are_replaced() -> None:
    assert clean("a\ud800b\udc80") == "a\ufffdb\ufffd"


def test_a_surrogate_pair_is_joined() -> None:
    assert clean("\ud83d\ude00") == "😀"


def test_bytes_are_decoded() -> None:
    assert clean("Zoë".encode()) == "Zoë"


def test_invalid_bytes_are_replaced() -> None:
    assert clean(b"a\xffb") == "a\ufffdb"


def test_long_bytes_are_cut_and_marked() -> None:
    assert clean("😀".encode() * 1000, 10) == "😀" * 9 + "…"


@pytest.mark.parametrize(
    ("value", "text"),
    [(float("nan"), "NaN"), (float("inf"), "Infinity"), (float("-inf"), "-Infinity")],
)
def test_numbers_that_json_lacks_are_named(value: float, text: str) -> None:
    assert clean(value) == text


def test_integers_beyond_64_bits_become_text() -> None:
    assert clean(2**65) == str(2**65)


def test_the_digits_of_a_huge_integer_are_not_computed() -> None:
    assert clean(10**5000) == "<int of 16610 bits>"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 2, 9, 12, 34, 56, tzinfo=timezone.utc), "2026-02-09T12:34:56+00:00"),
        (date(2026, 2, 9), "2026-02-09"),
        (timedelta(minutes=15), "0:15:00"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.50"), "1.50"),
        (Decimal("NaN"), "NaN"),
        (ipaddress.ip_address("2001:db8::1"), "2001:db8::1"),
        (ipaddress.ip_network("192.0.2.0/24"), "192.0.2.0/24"),
        (Lazy(), "translated"),
    ],
    ids=class_name,
)
def test_values_with_a_text_form_become_that_text(value: object, text: str) -> None:
    assert clean(value) == text
    assert type(clean(value)) is str


def test_a_text_with_methods_that_raise_is_still_read() -> None:
    assert clean(HostileText("text")) == "text"


def test_an_object_that_hides_its_class_is_still_read() -> None:
    assert clean(Lying()) == "liar"


def test_an_enum_of_texts_becomes_its_value() -> None:
    assert clean(Event.FAILED) == "login_failed"
    assert type(clean(Event.FAILED)) is str


def test_any_other_enum_becomes_its_name() -> None:
    assert clean(Colour.RED) == "RED"


def test_an_integer_enum_stays_a_number() -> None:
    assert clean(Status.FORBIDDEN) == 403
    assert type(clean(Status.FORBIDDEN)) is int


@pytest.mark.parametrize("kind", [Raising, Recursing, NotText])
def test_an_object_without_text_is_shown_by_its_class(kind: type) -> None:
    assert clean(kind()) == f"<unprintable {kind.__name__}>"


def test_a_class_without_a_name_is_no_obstacle() -> None:
    assert clean(Nameless()) == "<unprintable>"


# clean: containers


def test_mappings_get_text_keys() -> None:
    assert clean({1: "a", None: "b", b"c": "d"}) == {"1": "a", "None": "b", "c": "d"}


def test_any_mapping_is_shown_as_one() -> None:
    assert clean(types.MappingProxyType({"a": 1})) == {"a": 1}


def test_a_dict_that_refuses_its_items_is_still_read() -> None:
    assert clean(HostileDict(a=1)) == {"a": 1}


def test_a_mapping_that_refuses_its_items_is_shown_by_its_class() -> None:
    assert clean(HostileMapping(a=1)) == "<unprintable HostileMapping>"


def test_an_endless_mapping_ends() -> None:
    shown = clean(EndlessMapping())
    assert isinstance(shown, dict)
    assert len(shown) == 33


@pytest.mark.parametrize("kind", [list, tuple, collections.deque])
def test_sequences_become_lists(kind: Any) -> None:
    assert clean(kind(["a", 1])) == ["a", 1]


@pytest.mark.parametrize("kind", [set, frozenset])
def test_sets_become_sorted_lists(kind: Any) -> None:
    assert clean(kind([10, 9, 1])) == [1, 9, 10]


def test_sets_of_mixed_types_keep_a_stable_order() -> None:
    assert clean({"b", 2, None, "a"}) == ["a", "b", 2, None]


def test_long_lists_are_cut_and_marked() -> None:
    assert clean([0] * 1000) == [0] * 32 + ["…"]


def test_long_mappings_are_cut_and_marked() -> None:
    shown = clean({str(number): number for number in range(1000)})
    assert shown == {**{str(number): number for number in range(32)}, "…": "…"}


def test_four_levels_are_shown() -> None:
    assert clean({"a": [{"b": [{"c": 1}]}]}) == {"a": [{"b": ["…"]}]}


def test_a_circular_list_is_marked() -> None:
    assert clean(circular_list()) == [1, "<circular>"]


def test_a_circular_dict_is_marked() -> None:
    assert clean(circular_dict()) == {"a": 1, "self": {"again": "<circular>"}}


def test_the_same_value_twice_is_not_circular() -> None:
    shared = [1]
    assert clean([shared, shared]) == [[1], [1]]


def test_one_bad_item_spoils_no_other() -> None:
    assert clean([1, Raising(), 2]) == [1, "<unprintable Raising>", 2]


def test_the_values_shown_are_bounded_in_all() -> None:
    assert len(json.dumps(clean(wide(5)))) < 600_000


def test_the_text_of_a_container_is_bounded_and_without_secrets() -> None:
    assert len(clean_text(wide(5))) == 256
    assert clean_text({"token": "abc"}) == "{'token': '[redacted]'}"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_values_become_bounded_json(name: str) -> None:
    shown = clean(HOSTILE[name])
    assert through_json(shown) == shown
    assert longest_text(shown) <= 256


@given(NESTED, st.integers(1, 300))
def test_anything_becomes_bounded_json(value: object, limit: int) -> None:
    shown = clean(value, limit)
    assert through_json(shown) == shown
    assert longest_text(shown) <= max(limit, 128)


def test_hostile_texts_are_kept_but_for_surrogates_and_queries() -> None:
    for text in STRINGS:
        shown = clean(text, 100_000)
        assert shown == redact_queries(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def test_an_interrupt_passes_through() -> None:
    class Interrupting:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clean(Interrupting())


@given(SCALARS)
def test_clean_text_gives_bounded_text_for_anything(value: object) -> None:
    text = clean_text(value, 20)
    assert type(text) is str
    assert len(text) <= 20 or text.startswith("<unprintable")


# clean_context: secrets


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "PASSWORD",
        "new_password1",
        "passwd",
        "db_pwd",
        "client_secret",
        "access_token",
        "csrfmiddlewaretoken",
        "Authorization",
        "HTTP_AUTHORIZATION",
        "Set-Cookie",
        "api_key",
        "apiKey",
        "X-Api-Key",
        "credentials",
        "private_key",
        "session_key",
        "sessionid",
        "QUERY_STRING",
        "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44",
        "pa\u017f\u017fword",
        "password" + "x" * 1000,
        "x" * 100 + "_password",
        b"password",
    ],
)
def test_a_value_under_a_secret_name_is_redacted(key: Any) -> None:
    assert list(clean_context({key: "hunter2"}).values()) == ["[redacted]"]
    assert "hunter2" not in str(clean_context({"form": [{key: "hunter2"}]}))


def test_a_hostile_key_hides_no_secret() -> None:
    assert clean_context({HostileText("password"): "hunter2"}) == {"password": "[redacted]"}


@pytest.mark.parametrize("key", ["token_count", "password_limit", "username", "passenger", "subject"])
def test_a_value_under_a_harmless_name_is_kept(key: str) -> None:
    assert clean_context({key: 3}) == {key: 3}


def test_a_secret_of_any_type_is_redacted() -> None:
    assert clean_context({"token": {"a": [1, 2]}}) == {"token": "[redacted]"}


def test_a_container_is_redacted_without_its_neighbours() -> None:
    context = {"headers": {"Cookie": "sessionid=1", "Accept": "text/html"}}
    assert clean_context(context) == {"headers": {"Cookie": "[redacted]", "Accept": "text/html"}}


# URL queries


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/x?token=abc", "/x?[redacted]"),
        ("/x?a&token=abc", "/x?[redacted]"),
        ("/x?token%3Dabc", "/x?[redacted]"),
        ("/x??token=abc", "/x?[redacted]"),
        ("https://h/x?token=abc&b=c#d", "https://h/x?[redacted]"),
        ("GET /x?token=abc HTTP/1.1", "GET /x?[redacted] HTTP/1.1"),
        ('"/x?a=1" and "/y?b=2"', '"/x?[redacted]" and "/y?[redacted]"'),
        ("/é?token=ü", "/é?[redacted]"),
        ("/x?q=Ã\xa0&token=abc", "/x?[redacted]"),
        ("/x?q=\u3000\u2028\x85&token=abc y", "/x?[redacted] y"),
        ("/x?page", "/x?page"),
        ("what? a = b", "what? a = b"),
        ("?", "?"),
        ("a=b", "a=b"),
    ],
)
def test_the_query_of_a_url_is_redacted(text: str, shown: str) -> None:
    assert redact_queries(text) == shown
    assert clean_context({"path": text}) == {"path": shown}
    assert clean([text]) == [shown]


def test_the_query_is_redacted_in_the_text_of_an_object() -> None:
    class Request:
        def __repr__(self) -> str:
            return "<WSGIRequest: GET '/x?token=abc'>"

    assert "abc" not in str(clean_context({"request": Request()}))


def test_the_query_is_redacted_in_bytes_and_keys() -> None:
    assert clean_context({"/x?a=b": b"/x?a=b"}) == {"/x?[redacted]": "/x?[redacted]"}


def test_a_cut_does_not_save_the_query() -> None:
    shown = clean("/x?token=" + "abc" * 1000, 20)
    assert isinstance(shown, str)
    assert "abc" not in shown
    assert shown.endswith("…")


@pytest.mark.parametrize("part", ["?", "? ", "?a", "?a "])
def test_a_million_question_marks_are_read_in_one_pass(part: str) -> None:
    # A pass that looks ahead from each of them would not end within the hour.
    assert redact_queries(part * 1_000_000) == part * 1_000_000


# clean_context: limits


def test_user_agents_are_cut_at_256_and_paths_at_512() -> None:
    context = clean_context({"user_agent": "a" * 65536, "path": "/" * 65536, "message": "b" * 65536})
    assert [len(str(value)) for value in context.values()] == [256, 512, 512]


def test_keys_are_cut_at_64() -> None:
    assert list(clean_context({"k" * 1000: 1})) == ["k" * 63 + "…"]


def test_a_context_of_64_keys_is_whole() -> None:
    context = {f"key{number}": number for number in range(64)}
    assert clean_context(context) == context


def test_a_larger_context_is_cut_to_64_keys_and_says_so() -> None:
    context = clean_context({f"key{number}": number for number in range(1000)})
    assert len(context) == 64
    assert context["truncated"] is True


def test_one_large_value_leaves_room_for_the_others() -> None:
    context = clean_context({"large": wide(4), "user_id": 7, "after": {"a": 1}})
    assert context["user_id"] == 7


def test_the_order_of_keys_is_kept() -> None:
    assert list(clean_context({"b": 1, "a": 2})) == ["b", "a"]


def test_the_given_context_is_not_changed() -> None:
    context = {"token": "abc", "list": ["a" * 1000]}
    clean_context(context)
    assert context == {"token": "abc", "list": ["a" * 1000]}


@pytest.mark.parametrize("context", [HostileMapping(a=1), 5, "text", [1], Raising()])
def test_a_context_that_is_no_mapping_is_shown_as_a_value(context: Any) -> None:
    assert clean_context(context) == {"context": clean(context)}


@given(st.dictionaries(KEYS, NESTED, max_size=5))
def test_any_context_becomes_bounded_json(context: Any) -> None:
    shown = clean_context(context)
    assert through_json(shown) == shown
    assert longest_text(shown) <= 512


# one_line


@pytest.mark.parametrize("text", ["", "Failed login attempt for user@example.com", "Zoë 😀 日本"])
def test_printable_text_stays_as_it_is(text: str) -> None:
    assert one_line(text) == text


@pytest.mark.parametrize(
    ("char", "escaped"),
    [
        ("\n", r"\n"),
        ("\r", r"\r"),
        ("\t", r"\t"),
        ("\x00", r"\x00"),
        ("\x1b", r"\x1b"),
        ("\x7f", r"\x7f"),
        ("\x85", r"\x85"),
        ("\x9b", r"\x9b"),
        ("\u2028", r"\u2028"),
        ("\u2029", r"\u2029"),
    ],
)
def test_control_characters_are_escaped(char: str, escaped: str) -> None:
    assert one_line(f"a{char}b") == f"a{escaped}b"


@pytest.mark.parametrize(
    "char", [*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)), "\u200e", "\u200f", "\u061c"]
)
def test_bidirectional_controls_are_escaped(char: str) -> None:
    assert one_line(f"a{char}b") == f"a\\u{ord(char):04x}b"


@pytest.mark.parametrize("char", ["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\U000e0041"])
def test_invisible_characters_are_escaped(char: str) -> None:
    shown = one_line(f"a{char}b")
    assert shown.isprintable()
    assert char not in shown


def test_surrogates_in_a_message_are_replaced() -> None:
    assert one_line("a\udcffb") == "a\ufffdb"


def test_a_long_message_is_cut_and_marked() -> None:
    assert one_line("a" * 1_000_000) == "a" * 511 + "…"


def test_escapes_count_towards_the_limit() -> None:
    assert len(one_line("\x1b" * 1000, 100)) == 100


def test_a_message_that_is_no_text_is_no_obstacle() -> None:
    assert one_line(HostileText("a\nb")) == r"a\nb"
    assert one_line(5) == "5"  # type: ignore[arg-type]


def test_hostile_texts_become_one_printable_line() -> None:
    for text in STRINGS:
        assert one_line(text).isprintable()


@given(st.text(st.characters()), st.integers(1, 600))
def test_any_message_is_one_printable_line_within_the_limit(text: str, limit: int) -> None:
    shown = one_line(text, limit)
    assert shown.isprintable()
    assert len(shown) <= limit
    assert len(shown.splitlines()) <= 1
