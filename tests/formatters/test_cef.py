"""Lines in CEF, read by a parser that is written by the book and knows nothing of ours."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest

from secguard import __version__
from secguard.formatters import CefFormatter
from secguard.formatters.vocabulary import TERMS
from tests.formatters.samples import EVENT_ID, FEBRUARY, TYPES, hostile_records, record, record_of

#: Keys of the book's extension dictionary that we use, and how long their values may be.
DICTIONARY = {
    "act": 63,
    "c6a2": 128,
    "c6a2Label": 1023,
    "cat": 1023,
    "cn1": 32,
    "cn1Label": 1023,
    "cn2": 32,
    "cn2Label": 1023,
    "cnt": 32,
    "externalId": 40,
    "msg": 1023,
    "outcome": 63,
    "reason": 1023,
    "request": 1023,
    "requestClientApplication": 1023,
    "requestMethod": 1023,
    "rt": 32,
    "sourceServiceName": 1023,
    "src": 15,
    "suid": 1023,
    "suser": 1023,
    **{f"cs{number}": 4000 for number in range(1, 7)},
    **{f"cs{number}Label": 1023 for number in range(1, 7)},
}


class Cef(NamedTuple):
    """One parsed line."""

    vendor: str
    product: str
    version: str
    signature: str
    name: str
    severity: int
    extension: dict[str, str]


def parse(line: str) -> Cef:
    """By the book: pipes part the header, in which backslash and pipe are escaped by a backslash; in the extension
    backslash, equals sign and line ends are, and a key is what stands before an unescaped equals sign."""
    assert "\n" not in line
    assert line.startswith("CEF:0|")
    parts, rest = [], line.removeprefix("CEF:0|")
    for _ in range(6):
        match = re.match(r"((?:[^\\|]|\\[\\|])*)\|", rest)
        assert match is not None, rest
        parts.append(re.sub(r"\\([\\|])", r"\1", match[1]))
        rest = rest[match.end() :]
    return Cef(*parts[:5], int(parts[5]), _extension(rest))


def _extension(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    starts = [*re.finditer(r"(?:^| )([A-Za-z0-9_]+)=", text)]
    # A key begins after a blank; an equals sign inside of a value is escaped, so that nothing else matches.
    for match, following in zip(starts, [*starts[1:], None], strict=True):
        raw = text[match.end() : following.start() if following else len(text)]
        assert re.fullmatch(r"(?:[^\\=]|\\[\\=nr])*", raw), raw
        assert match[1] not in found, match[1]
        found[match[1]] = re.sub(r"\\(.)", lambda each: {"n": "\n", "r": "\r"}.get(each[1], each[1]), raw)
    if text:
        assert starts, text
        assert starts[0].start() == 0
    return found


def parsed(made: Any, **options: Any) -> Cef:
    line = CefFormatter(**options).format(made)
    assert line.isprintable()
    assert len(line.encode()) <= 8192
    found = parse(line)
    assert (found.vendor, found.product, found.version) == ("secguard", "django-secguard", __version__)
    assert 0 <= found.severity <= 10
    for key, value in found.extension.items():
        assert key.startswith("secguard") or len(value) <= DICTIONARY[key], key
    return found


@pytest.mark.parametrize("event_type", TYPES)
def test_every_event_is_a_line_that_a_parser_reads(event_type: str) -> None:
    found = parsed(record_of(event_type))
    assert (found.signature, found.name) == (event_type, TERMS[event_type].name)
    assert found.extension["externalId"] == EVENT_ID
    assert found.extension["rt"] == str(int(FEBRUARY * 1000))
    assert found.extension["src"] == "203.0.113.7"
    assert found.extension["outcome"] == TERMS[event_type].outcome


def test_hostile_values_stay_values() -> None:
    for name, made in hostile_records():
        try:
            parsed(made, service="shop")
        except Exception as error:
            raise AssertionError(name) from error


@pytest.mark.parametrize(
    "name",
    ["a=b", "a|b", "a\\b", "a\\=b", "a src=198.51.100.1", "a\nCEF:0|x|y|1|z|w|10|", "é", "a\\nb", " =", "a\r\nb", "\\"],
)
def test_a_name_comes_back_as_it_was_typed(name: str) -> None:
    found = parsed(record_of("login_failed", username=name)).extension
    assert found["suser"] == name.replace("\r\n", "\n")
    assert found["src"] == "203.0.113.7"


def test_what_hides_is_shown() -> None:
    assert parsed(record_of("login_failed", username="a\x1b[2J\u202e")).extension["suser"] == "a\\x1b[2J\\u202e"


def test_the_header_is_escaped_like_a_header() -> None:
    found = parsed(record_of("login_failed", event_type="a|b\\c=d\ne"))
    assert found.signature == "a|b\\c=d\\ne"


def test_a_threat_has_its_figures_under_labels() -> None:
    found = parsed(record_of("suspicious_activity"))
    assert found.severity == 10
    extension = found.extension
    assert (extension["cs1Label"], extension["cs1"]) == ("Rule", "brute_force")
    assert (extension["cn1Label"], extension["cn1"], extension["cnt"]) == ("Threshold", "5", "5")
    assert extension["secguardSubjectType"] == "address"


def test_an_address_of_version_6_has_its_own_key() -> None:
    extension = parsed(record_of("login_failed", ip_address="2001:db8::1")).extension
    assert (extension["c6a2"], extension["c6a2Label"]) == ("2001:db8::1", "Source IPv6 Address")
    assert "src" not in extension


def test_what_is_no_address_is_a_field_of_our_own() -> None:
    extension = parsed(record_of("login_failed", ip_address="unix:")).extension
    assert extension["secguardIpAddress"] == "unix:"
    assert "src" not in extension


def test_a_mail_address_names_the_user_where_nothing_else_does() -> None:
    extension = parsed(record_of("login_failed", username=None), service="shop").extension
    assert (extension["suser"], extension["cs6"]) == ("alice@example.com", "alice@example.com")
    assert extension["sourceServiceName"] == "shop"


def test_a_record_of_another_logger_is_a_line_too() -> None:
    found = parsed(record(None, message="Hello", note=["a", {"b": 1}], exc_text="Traceback\n  no"))
    assert (found.signature, found.extension["msg"]) == ("log_record", "Hello")
    assert found.extension["secguardNote"] == '["a", {"b": 1}]'
    assert found.extension["secguardException"] == "Traceback\n  no"
