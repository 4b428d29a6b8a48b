"""Times how long it takes to find the client's address, in the middleware's place: before anything is counted."""

from __future__ import annotations

import time
from collections.abc import Iterable
from statistics import median

from secguard.network import ClientAddressResolver

#: What a lenient server lets through; gunicorn by default an eighth of it.
HEADER_CHARACTERS = 65_536
PROXY = "203.0.113.1"
TRUSTED = [PROXY, "2001:db8::/32"]
CALLS = 100
ROUNDS = 20

#: REMOTE_ADDR and the value of X-Forwarded-For.
Request = tuple[str, str | None]


def print_times() -> None:
    """A table of medians over all rounds."""
    print(f"\n{'the client is':<70}{'µs':>8}")
    for described, requests, seen_before in _cases():
        times = []
        for _ in range(ROUNDS):
            # A new one each time: it knows no address yet.
            resolver = ClientAddressResolver(TRUSTED)
            if seen_before:
                _time(resolver, requests)
            times.append(_time(resolver, requests))
        print(f"{described:<70}{median(times):>8.1f}")


def _cases() -> list[tuple[str, list[Request], bool]]:
    peers: list[Request] = [(_client(number), None) for number in range(CALLS)]
    single: list[Request] = [(PROXY, _client(number)) for number in range(CALLS)]
    claims = _header(map(_client, range(HEADER_CHARACTERS)))
    claimed: list[Request] = [(PROXY, f"{claims}, {_client(number)}") for number in range(CALLS)]
    walked: list[Request] = [(PROXY, _header(_proxies(number))) for number in range(CALLS)]
    return [
        ("the peer, seen before", peers, True),
        ("the peer, new", peers, False),
        ("behind a trusted proxy, new", single, False),
        (f"behind a trusted proxy, new, right of {_size(claims)} of its own", claimed, False),
        (f"unknown: all of {_size(walked[0][1] or '')} are trusted proxies, new", walked, False),
    ]


def _time(resolver: ClientAddressResolver, requests: list[Request]) -> float:
    """µs for one request."""
    prepared = [(peer, {"X-Forwarded-For": value}.get) for peer, value in requests]
    began = time.perf_counter_ns()
    for peer, headers in prepared:
        resolver.resolve(peer, headers)
    return (time.perf_counter_ns() - began) / len(prepared) / 1000


def _client(number: int) -> str:
    return f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def _proxies(first: int) -> Iterable[str]:
    """The spelling that takes longest to read, and no two alike, so that none is known."""
    return (f"[2001:db8:{first + 1:x}:ffff:ffff:ffff:ffff:{number:x}]:65535" for number in range(HEADER_CHARACTERS))


def _header(entries: Iterable[str]) -> str:
    """The longest one of whole entries that is not too long."""
    found, length = [], -2
    for entry in entries:
        length += len(entry) + 2
        if length > HEADER_CHARACTERS:
            break
        found.append(entry)
    return ", ".join(found)


def _size(header: str) -> str:
    return f"{header.count(',') + 1:,} entries ({len(header) / 1024:.0f} kB)"
