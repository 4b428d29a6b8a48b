"""What must hold, as functions that assert it: of a value, of the bytes of a fuzzer, of one hostile text.

``TARGETS`` names them. A target's ``take_bytes`` and ``take_text`` may be given anything and raise only where a
promise is broken.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from secguard.conf import KEYS, MODES, Settings, parse
from secguard.detection import Rule, normalize_identifier
from secguard.detection.catalogue import ALL_RULES, OPT_IN
from secguard.detection.identity import DIGEST_SIZE, keyed_digest
from secguard.exceptions import InvalidSetting
from secguard.formatters import SecurityJsonFormatter
from secguard.formatters.text import clean, clean_context, clean_text, one_line
from secguard.network import ClientAddress, ClientAddressResolver, parse_address
from tests.formatters.hostile import longest_text, refuse_constant, through_json
from tests.fuzzing import oracle
from tests.fuzzing.oracle import Peer
from tests.fuzzing.source import Source


class Target(NamedTuple):
    take_bytes: Callable[[bytes], None]
    take_text: Callable[[str], None]


# -- the client's address --------------------------------------------------------------------------------------

PROXY = "10.0.0.1"
CLIENT = "198.51.100.7"
SPOOFED = "203.0.113.66"
HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-IP")
TRUSTED = ((), ("10.0.0.0/8", "2001:db8:ffff::/48"), ("unix",), ("unix", "10.0.0.0/8"), ("192.0.2.1/32",))
REMOTE = (PROXY, CLIENT, "", None, "unix:", "127.0.0.1", "2001:db8:ffff::1", "::ffff:10.0.0.1", "10.0.0.1:443")
PROXIES = ("10.0.0.0/8", "2001:db8:ffff::/48")


def check_client(peer: Peer) -> None:
    """The oracle and the resolver name the same client, or both none; what is said of it fits together."""
    asked = []

    def headers(name: str) -> str | None:
        asked.append(name)
        return peer.value if name == peer.header else None

    found = resolver_of(peer).resolve(peer.remote_addr, headers)
    assert as_packed(found) == oracle.client_of(peer), f"{found} for {peer!r:.2000}"
    assert set(asked) <= {peer.header, *(() if peer.trusted else HEADERS)}
    check_description(found, peer.trusted)


def resolver_of(peer: Peer) -> ClientAddressResolver:
    return ClientAddressResolver(peer.trusted, hops=peer.hops, header=peer.header)


def as_packed(client: ClientAddress) -> bytes | None:
    return ip_address(client.text).packed if client.known else None


def check_description(client: ClientAddress, trusted: tuple[str, ...]) -> None:
    if not client.known:
        assert (client.text, client.subject, client.network, client.version) == ("", "", "", 0)
        assert client.exempt
        assert client.reason
        return
    address = ip_address(client.text)
    assert client.reason == ""
    assert client.text == str(address)
    assert (client.version, client.number) == (address.version, int(address))
    subject = ip_network(client.subject)
    assert str(subject).removesuffix("/32") == client.subject
    assert address in subject
    assert subject.prefixlen == (32 if address.version == 4 else 64)
    assert int(subject.network_address) == client.subject_number
    assert address in ip_network(client.network)
    assert client.trusted_proxy is client.exempt is oracle.within(address.packed, trusted)


def check_spoofing(sent: str, client: str, chain: list[str], header: str) -> None:
    """Whatever the client sends, the address that the first trusted proxy appended is the client's."""
    entries = [client, *chain]
    if header == "Forwarded":
        entries = [f'for="[{entry}]:443"' if ":" in entry else f"for={entry};proto=https" for entry in entries]
    value = ", ".join([sent, *entries])
    for hops in (None, len(entries)):
        peer = Peer(PROXY, value, header, PROXIES, hops)
        assert resolver_of(peer).resolve(PROXY, {header: value}.get).text == client
        check_client(peer)


def check_address(text: str) -> None:
    """One address is read as the oracle reads it, and its canonical spelling is itself."""
    found = parse_address(text)
    assert (None if found is None else found.packed) == oracle.address_in(text), repr(text[:200])
    if found is not None:
        assert parse_address(str(found)) == found


def peer_from(source: Source) -> Peer:
    remote_addr = source.pick(REMOTE) if source.yes() else source.text()
    trusted = source.pick(TRUSTED)
    header = source.pick(HEADERS)
    hops = 1 + source.number(64) if trusted and header != "X-Real-IP" and source.yes() else None
    times = source.pick((1, 1, 1, 70, 1_000))
    value = source.rest().decode("latin-1")
    # A header has 64 kB at most with every server.
    return Peer(remote_addr, (value * times)[:65_536] if value else None, header, trusted, hops)


def client_from_bytes(data: bytes) -> None:
    check_client(peer_from(Source(data)))
    text = data.decode("latin-1")
    check_address(text)
    check_spoofing(text, CLIENT, ["10.0.0.2"], "X-Forwarded-For")
    check_spoofing(text, "2001:db8::7", ["10.0.0.2"], "Forwarded")


def client_from_text(text: str) -> None:
    check_address(text)
    for header in HEADERS:
        check_client(Peer(text, CLIENT, header, ("unix", *PROXIES)))
        for value in (text, f'for="{text}"', f"for={CLIENT};host={text}", f"{CLIENT},{text}", f"{text * 1_000}"):
            check_client(Peer(PROXY, value[:65_536], header, PROXIES))
            check_client(Peer(CLIENT, value[:65_536], header, PROXIES))
    for header in HEADERS[:2]:
        check_spoofing(text, CLIENT, [], header)
        check_spoofing(f'for={SPOOFED};host="{text}', CLIENT, ["10.0.0.2", "2001:db8:ffff::2"], header)


# -- identifiers and digests -----------------------------------------------------------------------------------

_digest = keyed_digest(b"the key of this target")

#: Letters whose upper and lower case are no pair: Unicode folds the dotless i to nothing else, and the iota below a
#: Greek letter stands before or after its accents, depending on the case.
UNPAIRED = re.compile("[\u0131\u0345\u1f80-\u1fff]")


def check_identifier(value: object) -> None:
    """Anything has one spelling or none, which is its own, and a digest of the one length."""
    name = normalize_identifier(value)
    if name is None:
        return
    assert type(name) is str
    assert name == name.strip() != ""
    assert normalize_identifier(name) == name, ascii(name[:100])
    assert len(_digest("account", name)) == DIGEST_SIZE


def check_spellings(name: str) -> None:
    """Case, width and edge spaces make no other account."""
    expected = normalize_identifier(name)
    for spelling in (f" {name}\t", f"\u3000{name}\u00a0", " " * 2_000 + name, wide(name)):
        assert normalize_identifier(spelling) == expected, ascii(spelling[-100:])
    if not UNPAIRED.search(name):
        for spelling in (name.upper(), name.lower(), name.casefold()):
            assert normalize_identifier(spelling) == expected, ascii(spelling[:100])
    # Too long for normal forms: the case alone makes no other account.
    assert normalize_identifier(name[:20] * 1_100) == normalize_identifier(name[:20].casefold() * 1_100)


def wide(text: str) -> str:
    """Its ASCII letters and signs in the full width of East Asian typography."""
    return "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text)


def check_parts(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """The digests of two lists of parts are equal only where the lists are."""
    assert (_digest(*one) == _digest(*other)) is (one == other), f"{one!a:.500} {other!a:.500}"
    assert len(_digest(*one)) == DIGEST_SIZE


def check_separators(parts: tuple[str, ...]) -> None:
    """No choice of parts has the digest of one that joins, cuts, fills up or re-encodes them."""
    for separator in ("", ":", "\0", ",", "1:"):
        joined = separator.join(parts)
        check_parts(parts, (joined,))
        for at in range(min(len(joined), 20)):
            check_parts(parts, (joined[:at], joined[at:]))
    check_parts(parts, (*parts, ""))
    check_parts(parts, ("", *parts))
    check_parts(parts, ("".join(f"{len(part.encode('utf-8', 'replace'))}:{part}" for part in parts),))
    for errors in ("replace", "ignore", "backslashreplace"):
        check_parts(parts, tuple(part.encode("utf-8", errors).decode() for part in parts))


def identifier_from_bytes(data: bytes) -> None:
    source = Source(data)
    parts = tuple(source.text() for _ in range(source.number(4)))
    check_parts(parts, tuple(source.text() for _ in range(source.number(4))))
    check_separators(parts)
    check_identifier(source.anything())
    identifier_from_text(source.rest().decode("utf-8", "surrogateescape"))


def identifier_from_text(text: str) -> None:
    check_identifier(text)
    check_identifier(text.encode("utf-8", "surrogatepass"))
    check_identifier(text * 100)
    # Over a thousand characters once it is normalised, and a letter whose cases are of different lengths.
    check_identifier(f"{chr(0xFDFA) * 100}{text}{chr(0x390)}")
    check_spellings(text)
    check_separators((text,))
    check_separators((text, text))


# -- log lines -------------------------------------------------------------------------------------------------

MAX_LINE = 8192
REQUIRED = ["timestamp", "level", "logger", "message", "location", "context"]
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
#: Occurs in nothing that a fuzzer makes up.
SECRET = "hunter2-0d7f1c"
#: Ends a URL in running text.
AFTER_URL = re.compile(r'[ \t\n\r\f\v"<>]')

_formatter = SecurityJsonFormatter()


def check_line(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """A record with these attributes is one line of strict JSON in ASCII, of the promised shape and size."""
    line = _formatter.format(record_of(attributes))
    assert line.isascii()
    assert line.isprintable()
    assert line.splitlines() == [line]
    assert len(line.encode()) <= MAX_LINE
    data = json.loads(line, parse_constant=refuse_constant)
    assert list(data)[: len(REQUIRED)] == REQUIRED
    assert TIMESTAMP.fullmatch(data["timestamp"])
    assert {type(data[key]) for key in ("level", "logger", "message")} == {str}
    assert list(data["location"]) == ["file", "line", "function"]
    assert type(data["context"]) is dict
    assert data["message"].isprintable()
    if attributes.get("context_is_clean") is not True:
        check_cleaned(line)
    return dict(data)


def record_of(attributes: Mapping[Any, Any]) -> logging.LogRecord:
    record = logging.makeLogRecord({"name": "security.events", "levelname": "WARNING", "created": 1_770_640_496.789})
    # Set here and not by LogRecord, which looks into its arguments itself.
    vars(record).update(attributes)
    return record


def check_cleaned(line: str) -> None:
    """No key twice, and no half of a surrogate pair, which strict parsers refuse."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    json.dumps(json.loads(line, object_pairs_hook=unique), ensure_ascii=False).encode()


def check_secret(junk: str) -> None:
    """What stands in the query of a URL, or under the name of a secret, is in no line, wherever it was put."""
    url = f"https://example.com/x?{AFTER_URL.sub('', junk)}&token={SECRET}"
    form = {"password": f"{junk}{SECRET}", f"{junk[:100]}Token": [SECRET], "X-Api-Key": SECRET.encode()}
    # So long that a cut takes the beginning of the query and leaves its end.
    cut = f"{'x' * 5_000} https://example.com/x?{'a' * 900}{AFTER_URL.sub('', junk)}&token={SECRET}{'b' * 300}"
    places: list[dict[Any, Any]] = [
        {"msg": cut, "exc_text": cut, "stack_info": cut, "cut": cut},
        {"msg": f"GET {url} HTTP/1.1", "name": url, "levelname": url, "funcName": url, "exc_text": url},
        {"msg": '"%s" %s', "args": (url, 200), "stack_info": f"{junk * 50} {url} {junk * 50}"},
        {"msg": {"url": url, **form}, "exc_info": error_of(url)},
        {"context": {"path": url, "more": [url, {"deep": (url.encode("utf-8", "replace"), ValueError(url))}], url: 1}},
        {"referer": url, junk[:50]: url, "form": form, **form},
    ]
    for attributes in places:
        line = _formatter.format(record_of({key: value for key, value in attributes.items() if key != "message"}))
        assert SECRET not in line, line
    assert SECRET not in clean_text(url, 100_000)
    assert SECRET not in str(clean({"form": form, "url": url}, 100_000))


def error_of(text: str) -> Any:
    try:
        raise ValueError(text)
    except ValueError:
        return sys.exc_info()


def check_shown(value: object, limit: int) -> None:
    """Anything becomes bounded data for JSON, bounded text, and one bounded line in which nothing is hidden."""
    longest = max(limit, 128)
    shown = clean(value, limit)
    assert through_json(shown) == shown
    assert longest_text(shown) <= longest
    text = clean_text(value, limit)
    assert type(text) is str
    assert len(text) <= longest
    line = one_line(text, limit)
    assert line.isprintable()
    assert len(line) <= limit
    context: Any = value
    cleaned = clean_context(context)
    assert through_json(cleaned) == cleaned
    assert len(cleaned) <= 64
    assert all(len(key) <= 64 or key.startswith("<unprintable") for key in cleaned)


ATTRIBUTES = ("msg", "args", "name", "levelname", "filename", "lineno", "funcName", "created", "exc_text", "stack_info")


def line_from_bytes(data: bytes) -> None:
    source = Source(data)
    attributes: dict[Any, Any] = {}
    for _ in range(source.number(4)):
        attributes[source.pick(ATTRIBUTES)] = source.anything()
    for _ in range(source.number(4)):
        attributes[source.text()] = source.anything()
    if source.yes():
        attributes["context"] = {source.key(): source.anything() for _ in range(source.number(8))}
        attributes["context_is_clean"] = source.yes()
    check_line(attributes)
    check_shown(source.anything(), 1 + source.number(600))
    check_secret(source.rest().decode("utf-8", "surrogateescape"))


def line_from_text(text: str) -> None:
    check_line({"msg": text, "args": (text,), "name": text, "filename": text, "exc_text": text, text: text})
    check_line(
        {"msg": "%s", "args": (text * 1_000,), "context": {text: {text: [text, text.encode("utf-8", "replace")]}}}
    )
    check_line({"context": {"user_agent": text, text[:80]: text * 100}, "context_is_clean": True})
    for limit in (1, 20, 256):
        check_shown({text: text}, limit)
        check_shown(text, limit)
    check_secret(text)


# -- settings --------------------------------------------------------------------------------------------------

#: More than any message needs, and little enough to be read on a console.
MAX_PROBLEM = 2_000


def check_settings(raw: object) -> None:
    """Either settings that fit together, or errors that name their keys; never another exception."""
    settings, problems = parse(raw, {})
    assert (settings is None) is bool(problems)
    for problem in problems:
        check_problem(problem, raw)
    if settings is not None:
        check_valid(settings)
        assert parse(raw, {}) == (settings, [])
        check_rules_switched_on(raw, settings)


def check_problem(problem: InvalidSetting, raw: object) -> None:
    text = str(problem)
    assert type(problem) is InvalidSetting
    assert problem.problem
    assert problem.hint
    assert text.startswith(f"SECGUARD[{problem.setting!r}] ")
    assert len(text) <= MAX_PROBLEM, text
    assert text.isprintable(), ascii(text)
    if not isinstance(raw, Mapping):
        assert problem.setting == ""
    elif problem.setting not in KEYS:
        assert any(key not in KEYS and problem.setting == unknown_key(key) for key in raw)


def unknown_key(key: object) -> str:
    try:
        return str(key)[:80]
    except ValueError:  # a number of more digits than Python writes
        return f"<{type(key).__name__}>"


def check_valid(settings: Settings) -> None:
    assert settings.mode in MODES
    for name in ("offence_memory", "lock_duration", "device_cookie_age", "sync_interval", "store_timeout"):
        assert math.isfinite(getattr(settings, name))
    if not callable(settings.block_duration):
        assert settings.block_duration
        assert all(type(seconds) is float and seconds >= 1 for seconds in settings.block_duration)
    assert len(settings.hmac_key) >= 16
    assert all(type(rule) is Rule for rule in settings.rules)
    assert len({rule.name for rule in settings.rules}) == len(settings.rules) == len(set(settings.rules))
    for rule in settings.rules:
        assert math.isfinite(rule.window_ms)
        assert type(rule.technique) is str
        assert rule.technique.isprintable()
    proxies = settings.trusted_proxies
    ClientAddressResolver(
        proxies.networks, hops=proxies.hops, header=settings.client_ip_header, allowlist=settings.allowlist
    )
    for path in (*settings.exempt_paths, *settings.trap_paths):
        assert path.strip("/")
    keyed_digest(settings.hmac_key)("account", "anna")


def check_rules_switched_on(raw: Any, settings: Settings) -> None:
    """To switch on what is on, and nobody mentioned, changes nothing."""
    mentioned = raw.get("RULES", {})
    more = {rule.name: True for rule in ALL_RULES if rule.name not in OPT_IN and rule.name not in mentioned}
    again, _ = parse({**raw, "RULES": {**mentioned, **more}}, {})
    assert again is not None
    assert set(again.rules) == set(settings.rules)


def settings_from_bytes(data: bytes) -> None:
    source = Source(data)
    check_settings(source.settings())
    check_settings(source.json_like())
    key = source.pick(list(KEYS))
    check_setting(key, source.json_like())


def check_setting(key: str, value: object) -> None:
    """A value that is wrong by itself is told of the key it was given for, and of no other."""
    raw = {key: value}
    check_settings(raw)
    assert {problem.setting for problem in parse(raw, {})[1]} <= {key}


def settings_from_text(text: str) -> None:
    for value in (text, [text], {text: text}, [[text]], {"default": text, text: {text: text}}):
        check_settings(dict.fromkeys(KEYS, value))
    check_settings(text)
    check_settings({text: text})
    check_settings({"RULES": {text: {"events": text, "subject": text, "threshold": 1, "window": 1}}})
    for field in ("events", "subject", "threshold", "window", "distinct", "severity", "action", "technique", text):
        check_setting("RULES", {"brute_force": {field: text}})
    for key in ("HMAC_KEY", "UNLOCK_BASE_URL"):
        check_setting(key, f"https://{text}/0123456789abcdef")
    for path in (f"secguard.conf.{text}", f"secguard.{text}.conf"):
        check_setting("EXEMPT_WHEN", path)


TARGETS = {
    "client": Target(client_from_bytes, client_from_text),
    "identifier": Target(identifier_from_bytes, identifier_from_text),
    "line": Target(line_from_bytes, line_from_text),
    "settings": Target(settings_from_bytes, settings_from_text),
}
