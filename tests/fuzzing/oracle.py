"""Who the client is, found a second time: by simpler and slower means than ``secguard.network``, and none of its code.

Addresses are read by the C library's ``inet_pton`` instead of ``ipaddress`` and regular expressions, networks are
compared as texts of bits, and a header is taken apart one character at a time.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple

ADDRESS_CHARACTERS = 100
HEADER_CHARACTERS = 4096
HEADER_ENTRIES = 64
DIGITS = "0123456789"
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
TOKEN = DIGITS + LETTERS + "!#$%&'*+.^_`|~-"
PRIVATE = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10"),
    *("::1/128", "fc00::/7", "fe80::/10"),
)


class Peer(NamedTuple):
    """A request as far as it says who sent it, and whom the site trusts."""

    remote_addr: str | None
    value: str | None
    header: str = "X-Forwarded-For"
    trusted: tuple[str, ...] = ()
    hops: int | None = None


def client_of(peer: Peer) -> bytes | None:
    """The packed address of the client; None where nobody can know it."""
    address = address_in(peer.remote_addr or "")
    if address is None:
        trusted = "unix" in peer.trusted and is_socket(peer.remote_addr)
        if not trusted:
            return None
    elif not within(address, peer.trusted):
        forgotten = not peer.trusted and within(address, PRIVATE) and peer.value is not None
        return None if forgotten else address
    value = (peer.value or "").strip(" \t")
    if not value:
        return address
    if peer.header not in ("X-Forwarded-For", "Forwarded"):
        return address_in(value)
    claims = list(claims_in(peer.header, value))
    if peer.hops is not None:
        return address_in(claims[: peer.hops][-1])
    for claim in claims:
        found = address_in(claim)
        if found is None or not within(found, peer.trusted):
            return found
    return found


def is_socket(remote_addr: str | None) -> bool:
    return not (remote_addr or "").strip() or str(remote_addr).startswith("unix:")


def address_in(text: str) -> bytes | None:
    """The packed address, 4 or 16 bytes: without quotes, brackets, port and zone, IPv4-mapped IPv6 as IPv4."""
    if len(text) > ADDRESS_CHARACTERS:
        return None
    text = text.strip(" \t")
    if len(text) > 1 and text[0] == '"' and text[-1] == '"':
        text = text[1:-1]
    if text.startswith("["):
        inner, bracket, port = text[1:].partition("]")
        return ipv6(inner) if bracket and (not port or is_port(port)) else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return packed(socket.AF_INET, host) if is_port(":" + port) else None
    return packed(socket.AF_INET, text) or ipv6(text)


def is_port(text: str) -> bool:
    number, name = text[1:], text[2:]
    if text[:1] != ":" or not number:
        return False
    if number.startswith("_"):
        return name != "" and all(each in LETTERS + DIGITS + "._-" for each in name)
    return len(number) <= 5 and all(each in DIGITS for each in number)


def ipv6(text: str) -> bytes | None:
    host, percent, zone = text.partition("%")
    if percent and (not zone or "%" in zone or "/" in zone):
        return None
    address = packed(socket.AF_INET6, host)
    if address is not None and address.startswith(bytes(10) + b"\xff\xff"):
        return address[12:]
    return address


def packed(family: socket.AddressFamily, text: str) -> bytes | None:
    try:
        return socket.inet_pton(family, text)
    except (OSError, ValueError):
        return None


def within(address: bytes, networks: tuple[str, ...]) -> bool:
    for network in networks:
        text, _, prefix = network.partition("/")
        first = address_in(text)
        if first is None or len(first) != len(address):
            continue
        length = int(prefix) if prefix else 8 * len(first)
        if bits(address)[:length] == bits(first)[:length]:
            return True
    return False


def bits(address: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in address)


def claims_in(header: str, value: str) -> Iterator[str]:
    """What each entry of a list claims, the last one first. What is beyond the caps is one entry nobody can read."""
    entries = value[-HEADER_CHARACTERS:].split(",")
    if len(value) > HEADER_CHARACTERS:
        entries[0] = ""
    if len(entries) > HEADER_ENTRIES:
        entries = ["", *entries[-HEADER_ENTRIES:]]
    if header == "X-Forwarded-For":
        yield from reversed(entries)
        return
    while entries:
        element = entries.pop()
        # A comma that the proxy quoted leaves a quote open on its right.
        while entries and has_open_quote(element):
            element = f"{entries.pop()},{element}"
        yield "" if has_open_quote(element) else for_in(element)


def has_open_quote(text: str) -> bool:
    is_open = escaped = False
    for char in text:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"':
            is_open = not is_open
    return is_open


def for_in(element: str) -> str:
    """The value of the only ``for`` in ``name=value;name="value"``; "" where there is none, or anything else."""
    found = []
    rest = element
    while rest:
        pair = next_pair(rest)
        if pair is None:
            return ""
        name, value, rest = pair
        if name.lower() == "for":
            found.append(value)
    return found[0] if len(found) == 1 else ""


def next_pair(text: str) -> tuple[str, str, str] | None:
    name, text = taken(text.lstrip(" \t"), lambda char: char in TOKEN)
    if not name or not text.startswith("="):
        return None
    text = text[1:]
    if text.startswith('"'):
        end = end_of_quoted(text)
        if end is None:
            return None
        value, text = text[:end], text[end:]
    else:
        value, text = taken(text, lambda char: not char.isspace() and char not in '";,\\')
        if not value:
            return None
    text = text.lstrip(" \t")
    if text and not text.startswith(";"):
        return None
    return name, value, text[1:]


def taken(text: str, wanted: Callable[[str], bool]) -> tuple[str, str]:
    length = next((at for at, char in enumerate(text) if not wanted(char)), len(text))
    return text[:length], text[length:]


def end_of_quoted(text: str) -> int | None:
    """Where the quoted string that the text begins with is over."""
    at = 1
    while at < len(text):
        if text[at] == '"':
            return at + 1
        at += 2 if text[at] == "\\" else 1
    return None
