"""The targets of the fuzzers with as many examples as the suite has time for.

SECGUARD_FUZZ_EXAMPLES=20000 runs so many of each, other ones each time; without it they are always the same.
SECGUARD_HOSTILE_STRINGS may name a JSON file of texts, an object of lists, which are sent through every target.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard import conf
from secguard.conf import KEYS
from secguard.detection import Rule
from secguard.detection.catalogue import ALL_RULES
from secguard.network.ranges import NetworkSet
from tests.formatters.hostile import HOSTILE, SCALARS, STRINGS
from tests.formatters.hostile import KEYS as ODD_KEYS
from tests.fuzzing import targets
from tests.fuzzing.oracle import Peer
from tests.fuzzing.source import DEEP, FLOATS, NUMBERS, WORDS
from tests.fuzzing.targets import (
    CLIENT,
    HEADERS,
    PROXIES,
    PROXY,
    REMOTE,
    SPOOFED,
    TARGETS,
    TRUSTED,
    check_address,
    check_client,
    check_identifier,
    check_line,
    check_parts,
    check_secret,
    check_separators,
    check_setting,
    check_settings,
    check_shown,
    check_spellings,
    check_spoofing,
)
from tests.test_conf import GOOD

EXAMPLES = os.environ.get("SECGUARD_FUZZ_EXAMPLES")
# No deadline: no test depends on the time that something takes.
bounded = settings(max_examples=int(EXAMPLES or 150), derandomize=EXAMPLES is None, database=None, deadline=None)

# Letters whose cases, widths or normal forms have different lengths, halves of pairs, what nobody sees.
odd_text = st.text(
    st.sampled_from(
        "aZ ?=&é\u0130\u0390\u1fb3\ufdfa\uff21\u00df\u0301\u0345\u3000\u00a0\ud800\udfff\u2028\u202e\x00\x1b"
    )
)
any_text = st.text(st.characters(codec=None)) | odd_text
anything = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD_KEYS, inner, max_size=4) | st.tuples(inner, inner),
    max_leaves=8,
)


@pytest.mark.parametrize("name", TARGETS)
@bounded
@given(data=st.binary(max_size=400))
def test_every_promise_holds_for_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name].take_bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_every_promise_holds_for_hostile_texts(name: str) -> None:
    for text in STRINGS:
        TARGETS[name].take_text(text)


# -- the client's address --------------------------------------------------------------------------------------

addresses = (
    st.ip_addresses().map(str)
    | st.ip_addresses(network="10.0.0.0/8").map(str)
    | st.ip_addresses(v=4).map("::ffff:{}".format)
    | st.ip_addresses(v=6).map("{}%eth0".format)
    | st.ip_addresses(v=6).map(lambda address: address.exploded)
)
ports = st.sampled_from(["", ":", ":80", ":65536", ":123456", ":_x", ":_", ":-1", ":٣"])
spelled = st.builds("{}{}".format, addresses, ports) | st.builds("[{}]{}".format, addresses, ports)
noise = st.text(st.sampled_from('",;=\\[]:._%/ \t\n0123456789abcdefFOR'), max_size=40) | any_text
entries = spelled | spelled.map('"{}"'.format) | noise
quoted = st.lists(st.sampled_from([",", '\\"', "\\\\", "\\,", "a", "for=1.2.3.4", ";", "=", " "]), max_size=6).map(
    "".join
)
elements = (
    st.builds('for={};host="{}"'.format, spelled, quoted)
    | st.builds("for={};for={}".format, spelled, spelled)
    | entries.map("for={}".format)
    | entries.map('For="{}"'.format)
    | st.builds('for={};host="{}"'.format, spelled, noise)
    | st.builds("{};by=_x;for={}".format, noise, spelled)
)
headers = st.lists(entries | elements, max_size=8).map(",".join)
remote = st.none() | st.sampled_from(REMOTE) | entries


@bounded
@given(remote, st.none() | headers, st.sampled_from(HEADERS), st.sampled_from(TRUSTED), st.none() | st.integers(1, 64))
def test_the_client_is_whom_the_oracle_names(
    remote_addr: str | None, value: str | None, header: str, trusted: tuple[str, ...], hops: int | None
) -> None:
    countable = trusted and header != "X-Real-IP"
    check_client(Peer(remote_addr, value, header, trusted, hops if countable else None))


nodes = st.sampled_from([CLIENT, "10.0.0.2", "10.0.0.3:80", '"[2001:db8::7]:443"', '"[2001:db8:ffff::1]"', "unknown"])
well_formed = st.builds('for={};host="{}"'.format, nodes, quoted) | st.builds('host="{}"; for={}'.format, quoted, nodes)


@bounded
@given(st.lists(well_formed | well_formed | elements, max_size=4).map(", ".join), st.none() | st.integers(1, 4))
def test_the_client_of_a_forwarded_header_is_whom_the_oracle_names(value: str, hops: int | None) -> None:
    check_client(Peer(PROXY, value, "Forwarded", PROXIES, hops))


@bounded
@given(entries)
def test_an_address_is_what_the_oracle_reads(text: str) -> None:
    check_address(text)


@bounded
@given(
    headers,
    st.ip_addresses(network="198.51.100.0/24").map(str) | st.ip_addresses(network="2001:db8::/64").map(str),
    st.lists(st.ip_addresses(network="10.0.0.0/8").map(str), max_size=4),
    st.sampled_from(HEADERS[:2]),
)
def test_what_only_the_client_claims_is_never_its_address(
    sent: str, client: str, chain: list[str], header: str
) -> None:
    check_spoofing(sent, client, chain, header)


LONG = [
    "x",
    ",",
    '"',
    "\\",
    ";",
    "for=",
    f"{SPOOFED},",
    "for=10.0.0.2,",
    "10.0.0.2,",
    '";for=',
    "a=b;",
    ' ,"',
    "[::1]:",
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("part", LONG)
def test_64_kilobytes_and_a_thousand_entries_are_read_like_any_header(part: str, header: str) -> None:
    for value in ((part * 65_536)[:65_536], part * 1_000, f"{part * 1_000},{CLIENT}"):
        check_client(Peer(PROXY, value, header, PROXIES))
    for filler in (part * 1_000, f"{part:>99}" * 400):
        check_spoofing(filler, CLIENT, ["10.0.0.2"], header if header != "X-Real-IP" else "Forwarded")


@pytest.mark.parametrize("entry", ["{}", "for={}", 'for="{}"', 'for={};host="a,b"'])
def test_what_a_cap_cuts_in_two_is_read_by_nobody(entry: str) -> None:
    header = "X-Forwarded-For" if entry == "{}" else "Forwarded"
    for number in range(60, 70):
        check_client(
            Peer(PROXY, ",".join([entry.format(CLIENT), *[entry.format("10.0.0.2")] * number]), header, PROXIES)
        )
    trusted = f",{entry.format('10.0.0.2'):>98}" * 41
    for width in range(80):
        check_client(Peer(PROXY, f"{entry.format(SPOOFED)},{entry.format(CLIENT):<{width}}{trusted}", header, PROXIES))


# -- identifiers and digests -----------------------------------------------------------------------------------

long_texts = st.builds(lambda text, times: text * times, any_text, st.sampled_from([1, 2, 100, 2_000]))


@bounded
@given(long_texts | anything)
def test_anything_has_one_spelling_or_none(value: object) -> None:
    check_identifier(value)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_objects_have_one_spelling_or_none(name: str) -> None:
    check_identifier(HOSTILE[name])


@bounded
@given(any_text.map(lambda text: text[:300]))
def test_spellings_of_one_name_are_one_account(name: str) -> None:
    check_spellings(name)


parts = st.lists(any_text | st.text(st.sampled_from("0123:"), max_size=12), max_size=4).map(tuple)


@bounded
@given(parts, parts)
def test_no_choice_of_parts_has_the_digest_of_another(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    check_parts(one, other)
    check_separators(one)


# -- log lines -------------------------------------------------------------------------------------------------

names = st.sampled_from([*targets.ATTRIBUTES, "context", "exc_info", "user_agent"]) | ODD_KEYS
attributes = st.dictionaries(names, anything, max_size=4)
contexts = st.dictionaries(any_text, anything, max_size=4)


@bounded
@given(attributes, contexts | st.dictionaries(ODD_KEYS, anything, max_size=4), st.booleans())
def test_any_record_is_one_line_of_the_promised_shape(
    given_attributes: dict[Any, Any], context: dict[Any, Any], clean: bool
) -> None:
    check_line(given_attributes)
    check_line({**given_attributes, "context": context, "context_is_clean": clean})


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_objects_in_any_place_make_one_line(name: str) -> None:
    value = HOSTILE[name]
    for attribute in (*targets.ATTRIBUTES, "exc_info", "context", "hostile"):
        check_line({attribute: value})
    check_line({"context": {"hostile": value}, "context_is_clean": True})
    check_line({"context": {"hostile": [value], "event_type": {"a": value}}})


@pytest.mark.parametrize("unit", ["x", '"', "é", "😀", "\ud800"])
@pytest.mark.parametrize("clean", [True, False])
def test_a_line_about_as_long_as_allowed_keeps_to_it(unit: str, clean: bool) -> None:
    size = len(json.dumps(unit)) - 2
    for length in range(7_000 // size, 8_400 // size):
        values = [unit * 200] * (length // 200) + [unit * (length % 200)]
        context = {f"key{number}": value for number, value in enumerate(values)}
        check_line({"msg": "x", "context": context, "context_is_clean": clean})


@bounded
@given(any_text)
def test_no_secret_of_a_query_or_a_form_is_in_a_line(junk: str) -> None:
    check_secret(junk)


@bounded
@given(anything, st.integers(1, 600))
def test_anything_is_shown_within_its_bounds(value: object, limit: int) -> None:
    check_shown(value, limit)


# -- settings --------------------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | any_text | st.sampled_from([*WORDS, *STRINGS])
odd = st.sampled_from(["digits", *map(str, range(len(NUMBERS)))]).map(
    lambda name: DEEP if name == "digits" else NUMBERS[int(name)]
)
values = st.recursive(
    scalars | odd | st.sampled_from(FLOATS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(scalars, inner, max_size=4),
    max_leaves=12,
)
fields = st.sampled_from(["events", "subject", "threshold", "window", "distinct", "severity", "action", "technique"])
more_fields = fields | st.sampled_from(["block_duration", "max_per_value", "max_success_rate", "name"]) | any_text
rules = st.dictionaries(
    st.sampled_from([rule.name for rule in ALL_RULES]) | any_text,
    values | st.dictionaries(more_fields, st.integers(1, 1_000) | st.sampled_from(FLOATS) | values, max_size=4),
    max_size=3,
)


@pytest.mark.parametrize("key", KEYS)
@settings(bounded, max_examples=max(10, bounded.max_examples // 8))
@given(value=values)
def test_any_value_of_a_key_is_taken_or_told_by_its_key(key: str, value: object) -> None:
    check_setting(key, value)


@pytest.mark.parametrize("field", [item.name for item in dataclasses.fields(Rule)])
def test_any_value_of_a_field_of_a_rule_is_taken_or_told(field: str) -> None:
    for value in (*NUMBERS, *FLOATS, *WORDS, DEEP, None, True, [], {}, [float("nan")]):
        check_setting("RULES", {"brute_force": {field: value}})


@bounded
@given(st.lists(st.sampled_from([(key, value) for key, value, _ in GOOD]), max_size=8).map(dict))
def test_good_settings_are_taken_or_contradict_each_other(raw: dict[str, Any]) -> None:
    check_settings(raw)


@bounded
@given(rules)
def test_any_rules_are_taken_or_told(given_rules: dict[str, Any]) -> None:
    check_setting("RULES", given_rules)


@bounded
@given(values | st.dictionaries(st.sampled_from(sorted(KEYS)) | scalars, values | rules, max_size=6))
def test_any_settings_are_taken_or_told_by_their_keys(raw: object) -> None:
    check_settings(raw)


# -- the targets themselves ------------------------------------------------------------------------------------


def _trusts_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NetworkSet, "contains", lambda *_: True)


def _keeps_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "normalize_identifier", lambda value: value)


def _keeps_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secguard.formatters.text.redact_queries", lambda text: text)


def _raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(conf.KEYS, "MODE", KEYS["MODE"]._replace(parse={}.__getitem__))


@pytest.mark.parametrize(
    ("name", "spoil"),
    [("client", _trusts_everybody), ("identifier", _keeps_case), ("line", _keeps_queries), ("settings", _raises)],
)
def test_a_target_notices_a_broken_promise(
    name: str, spoil: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch)
    with pytest.raises((AssertionError, KeyError)):
        TARGETS[name].take_text("Anna")
