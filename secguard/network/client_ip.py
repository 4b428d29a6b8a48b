"""The client's address: the peer's own, or what trusted proxies say about it. Nothing else is believed.

The header is read from the right, since a proxy appends: only what trusted proxies wrote is looked at, and
whatever the client sent along stands to the left of it. Where nothing can be known for certain the answer is
``unknown``, which is never counted or blocked, rather than a guess that makes strangers share one counter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice
from socket import AF_INET, inet_ntop, inet_pton
from typing import Final, Literal, NamedTuple, TypeAlias

from secguard.network.ranges import Address, NetworkSet, unmapped

Headers: TypeAlias = Callable[[str], "str | None"]
Reason: TypeAlias = Literal[
    "no_remote_address",
    "untrusted_forwarding_private_peer",
    "malformed_header",
    "no_client_in_header",
]

MAX_ADDRESS_CHARACTERS: Final = 100
MAX_HEADER_CHARACTERS: Final = 4096
MAX_HEADER_ENTRIES: Final = 64
MAX_CACHED: Final = 20_000

UNIX_PEER: Final = "unix"

# Not ipaddress' is_private: that has the documentation ranges, and lacks carrier-grade NAT (RFC 6598).
PRIVATE_NETWORKS: Final = NetworkSet(
    [
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "100.64.0.0/10",
        "::1",
        "fc00::/7",
        "fe80::/10",
    ]
)

_FORWARDING_HEADERS: Final = ("X-Forwarded-For", "Forwarded", "X-Real-IP")
_CANONICAL_NAMES: Final = {name.lower(): name for name in _FORWARDING_HEADERS}

_PORT = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))"  # RFC 7239 section 6 allows an obfuscated port, "_x"
_IPV4_WITH_PORT = re.compile(rf"([0-9.]+){_PORT}")
_BRACKETED_IPV6 = re.compile(rf"\[([^\[\]]+)\]{_PORT}?")

# One "name=value" of RFC 7239 section 4, its value as lenient as proxies are: for=[::1]:80 without quotes is
# common. No two neighbouring parts match the same character: a hostile header cannot make it backtrack.
_PAIR = re.compile(r"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s";,\\]+)[ \t]*(?:;|\Z)""")
_ESCAPED = re.compile(r"\\.")

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")

_IPV6_NETWORK = 48


class ClientAddress(NamedTuple):
    """One client, as far as it is known; made by ``ClientAddressResolver`` and ``unknown``.

    ``text``            the address in canonical form, ``"192.0.2.1"`` or ``"2001:db8::1"``: no port, brackets
                        or zone id; IPv4-mapped IPv6 is IPv4; ``""`` if unknown
    ``subject``         what is counted and blocked: the IPv4 address, or the /64 of an IPv6 one,
                        ``"2001:db8::/64"``, since one host owns all of it (RFC 6177); ``""`` if unknown
    ``version``         4 or 6; 0 if unknown
    ``number``          the address as an integer
    ``subject_number``  the subject's first address as an integer
    ``exempt``          may never be blocked or refused: allowlisted, a trusted proxy, or unknown
    ``allowlisted``     inside the allowlist
    ``trusted_proxy``   is itself a trusted proxy
    ``known``           ``False`` only for the objects that ``unknown`` returns
    ``reason``          why nothing is known; ``""`` if known
    """

    text: str
    subject: str
    version: int
    number: int
    subject_number: int
    exempt: bool
    allowlisted: bool = False
    trusted_proxy: bool = False
    known: bool = True
    reason: str = ""

    @property
    def network(self) -> str:
        """What many subjects are raised to: ``"192.0.2.0/24"``, or an IPv6 /48; ``""`` if unknown."""
        if self.version == 4:  # without a calculation: asked of every failed login
            return self.text[: self.text.rindex(".")] + ".0/24"
        return self.network_of(_IPV6_NETWORK) if self.known else ""

    def network_of(self, prefix: int) -> str:
        """The network of this prefix length around a known address, in CIDR notation."""
        return f"{_first_address(self.version, self.number, prefix)}/{prefix}"

    def __str__(self) -> str:
        return self.text


_Cache: TypeAlias = "dict[str | None, ClientAddress]"


def _unknown(reason: Reason) -> ClientAddress:
    return ClientAddress("", "", 0, 0, 0, exempt=True, known=False, reason=reason)


_NO_REMOTE_ADDRESS: Final = _unknown("no_remote_address")
_UNTRUSTED_FORWARDING: Final = _unknown("untrusted_forwarding_private_peer")
_MALFORMED_HEADER: Final = _unknown("malformed_header")
_NO_CLIENT_IN_HEADER: Final = _unknown("no_client_in_header")
_UNKNOWN: Final = {
    address.reason: address
    for address in (_NO_REMOTE_ADDRESS, _UNTRUSTED_FORWARDING, _MALFORMED_HEADER, _NO_CLIENT_IN_HEADER)
}

UNKNOWN: Final = _NO_REMOTE_ADDRESS
"""No address and nobody to name one. There are other reasons: test ``known``, not identity."""


def unknown(reason: str) -> ClientAddress:
    """A client of whom nothing is known, one object per reason; ``ValueError`` for another reason.

    ``no_remote_address``                  no REMOTE_ADDR, or none that is an address, and no trusted socket
    ``untrusted_forwarding_private_peer``  a private peer forwards, no proxy is trusted: a forgotten setting
    ``malformed_header``                   a trusted proxy sent what is no address, or too many entries
    ``no_client_in_header``                the trusted unix socket passed no header on
    """
    try:
        return _UNKNOWN[reason]
    except KeyError:
        raise ValueError(f"{reason!r} is no reason; expected one of {', '.join(_UNKNOWN)}") from None


def parse_address(text: str) -> Address | None:
    """Read one address as proxies and servers write it; ``None`` if it is none. Never raises for a ``str``.

    Takes ``1.2.3.4``, ``1.2.3.4:80``, ``::1``, ``[::1]``, ``[::1]:80`` and ``fe80::1%eth0``, each also within
    double quotes and between spaces. Port and zone id are dropped, IPv4-mapped IPv6 (``::ffff:1.2.3.4``) is
    IPv4. Text over 100 characters is no address.
    """
    if len(text) > MAX_ADDRESS_CHARACTERS:
        return None
    try:
        return unmapped(_bare_address(_without_quotes(text.strip(" \t"))))
    except ValueError:
        return None


class ClientAddressResolver:
    """Finds the client's address; immutable in what it trusts, safe to share between threads.

    ``trusted_proxies``  addresses and CIDRs of the proxies whose header is believed. The entry ``"unix"``
                         trusts a peer without an address: the server listens on a unix socket, and only the
                         proxy can connect.
    ``hops``             how many proxies in front append to the header, if their addresses are not known: the
                         client is the entry that many places left of the peer, or the left-most. The peer
                         must still be in ``trusted_proxies``, and every request must pass all the hops:
                         whoever can reach an inner proxy directly can choose an address.
    ``header``           ``X-Forwarded-For``, ``Forwarded`` (RFC 7239), or a header of a single address such
                         as ``X-Real-IP`` or ``CF-Connecting-IP``. The latter is safe only if the trusted
                         proxy *overwrites* it: one that passes it on lets the client choose an address. No
                         other header is read.
    ``allowlist``        addresses and CIDRs that may never be blocked.
    ``no_proxies``       there surely is no proxy. Without it, and without ``trusted_proxies``, a private peer that
                         forwards may be one that was forgotten, and its clients are unknown; with it such a peer is
                         itself the client, whatever it sends.

    Raises ``ValueError`` for an entry that is no network, a name that is no header's, or hops that cannot be
    counted.
    """

    def __init__(
        self,
        trusted_proxies: Sequence[str] = (),
        *,
        hops: int | None = None,
        header: str = "X-Forwarded-For",
        allowlist: Sequence[str] = (),
        no_proxies: bool = False,
    ) -> None:
        entries = _listed(trusted_proxies)
        networks = [entry for entry in entries if not _is_unix_entry(entry)]
        self.trusted_proxies: Final = NetworkSet(networks)
        self.trusts_unix_peer: Final = len(networks) < len(entries)
        self.allowlist: Final = NetworkSet(allowlist)
        self.header: Final = _checked_header(header)
        self.hops: Final = _checked_hops(hops, self.header, has_proxies=bool(entries))
        self._may_lack_proxies = not entries and not no_proxies
        self._takes_peers_as_they_are = not entries and not self.allowlist
        # Two plain dicts, whose single operations are atomic: a lost race costs one more parse, never a wrong
        # answer. _peers has only peers whose headers are never read, so that a hit is the whole answer.
        self._peers: _Cache = {}
        self._addresses: _Cache = {}

    def resolve(self, remote_addr: str | None, headers: Headers) -> ClientAddress:
        """The client's address, never an exception. Only the peer and the configured header are believed.

        ``remote_addr``  REMOTE_ADDR as the server gives it; ``None`` or ``""`` on a unix socket
        ``headers``      returns the value of the header with the given name (``"X-Forwarded-For"``), several
                         lines joined with commas, or ``None``; called only where a header matters

        The peer is the client, unless it is a trusted proxy. X-Forwarded-For and Forwarded are walked from
        the right, past trusted proxies, to the first other address; if all are trusted, the left-most is the
        client. Looked at are the last 4,096 characters and 64 entries at most. A trusted peer without the
        header is the client itself.
        """
        known = self._peers.get(remote_addr)
        if known is not None:
            return known
        plain = _plain_public_ipv4(remote_addr) if self._takes_peers_as_they_are else None
        if plain is not None:
            return _remember(self._peers, remote_addr, plain)
        peer = self.address(remote_addr or "")
        if peer is None:
            return self._behind_unix_socket(remote_addr, headers)
        if peer.trusted_proxy:
            return self._forwarded(headers) or peer
        if self._may_lack_proxies and PRIVATE_NETWORKS.contains(peer.version, peer.number):
            return _UNTRUSTED_FORWARDING if self._forwards(headers) else peer
        _remember(self._peers, remote_addr, peer)
        return peer

    def address(self, text: str) -> ClientAddress | None:
        """The client with this address, in any spelling ``parse_address`` takes; ``None`` if it is none."""
        spelled = text.strip(" \t")
        known = self._addresses.get(spelled)
        if known is not None:
            return known
        number = _plain_ipv4(spelled)
        if number is not None:
            return _remember(self._addresses, spelled, self._classified(4, number, spelled))
        parsed = parse_address(spelled)
        if parsed is None:
            return None
        # Kept under the canonical spelling alone: with a port, one client would fill the cache.
        canonical = str(parsed)
        known = self._addresses.get(canonical)
        return known or _remember(self._addresses, canonical, self._classified(parsed.version, int(parsed), canonical))

    def _classified(self, version: int, number: int, text: str) -> ClientAddress:
        subject, subject_number = (text, number) if version == 4 else _ipv6_subject(number)
        trusted = self.trusted_proxies.contains(version, number)
        allowed = self.allowlist.contains(version, number)
        return ClientAddress(
            text=text,
            subject=subject,
            version=version,
            number=number,
            subject_number=subject_number,
            exempt=trusted or allowed,
            allowlisted=allowed,
            trusted_proxy=trusted,
        )

    def _behind_unix_socket(self, remote_addr: str | None, headers: Headers) -> ClientAddress:
        if not (self.trusts_unix_peer and is_unix_peer(remote_addr)):
            return _NO_REMOTE_ADDRESS
        return self._forwarded(headers) or _NO_CLIENT_IN_HEADER

    def _forwards(self, headers: Headers) -> bool:
        if any(headers(name) is not None for name in _FORWARDING_HEADERS):
            return True
        return self.header not in _FORWARDING_HEADERS and headers(self.header) is not None

    def _forwarded(self, headers: Headers) -> ClientAddress | None:
        """The client that a trusted peer names in the configured header; ``None`` without the header."""
        value = (headers(self.header) or "").strip(" \t")
        if not value:
            return None
        if not is_list(self.header):
            return self.address(value) or _MALFORMED_HEADER
        claims = claims_in(self.header, value)
        return self._first_untrusted(claims) if self.hops is None else self._at_hop(claims, self.hops)

    def _first_untrusted(self, claims: Iterator[str]) -> ClientAddress:
        address = _MALFORMED_HEADER
        for claim in claims:
            found = self.address(claim)
            if found is None:
                return _MALFORMED_HEADER
            address = found
            if not address.trusted_proxy:
                break
        return address

    def _at_hop(self, claims: Iterator[str], hops: int) -> ClientAddress:
        claim = list(islice(claims, hops))[-1]
        return self.address(claim) or _MALFORMED_HEADER


def _plain_public_ipv4(text: str | None) -> ClientAddress | None:
    """The client of a canonical IPv4 address outside every private network: the short way for nearly all peers."""
    try:
        packed = inet_pton(AF_INET, text)  # type: ignore[arg-type] # what is no text raises
        if packed[0] in _FIRST_OCTETS_OF_PRIVATE or inet_ntop(AF_INET, packed) != text:
            return None
    except (OSError, ValueError, TypeError):
        return None
    number = int.from_bytes(packed, "big")
    return ClientAddress(text, text, 4, number, number, False)


_FIRST_OCTETS_OF_PRIVATE = frozenset((10, 100, 127, 169, 172, 192))


def _plain_ipv4(text: str) -> int | None:
    """The number of an IPv4 address in its one canonical spelling, which nearly all peers have; else ``None``."""
    if not 7 <= len(text) <= 15:
        return None
    try:
        packed = inet_pton(AF_INET, text)
    except (OSError, ValueError):
        return None
    # Some C libraries are more lenient than others about leading zeros: only the canonical spelling passes.
    return int.from_bytes(packed, "big") if inet_ntop(AF_INET, packed) == text else None


def _remember(cache: _Cache, key: str | None, address: ClientAddress) -> ClientAddress:
    # Emptied rather than evicted one by one: an order of use would need a lock or a write on every hit, while
    # refilling costs microseconds per address. The bound is a few megabytes, whatever a botnet sends.
    if len(cache) >= MAX_CACHED:
        cache.clear()
    cache[key] = address
    return address


def claims_in(header: str, value: str) -> Iterator[str]:
    """What the entries claim to be addresses, the right-most first."""
    entries = _entries_from_the_right(value)
    if header == "Forwarded":
        return map(_for_parameter, _elements(entries))
    return iter(entries)


def _entries_from_the_right(value: str) -> list[str]:
    """The last entries of a list header; all that lies beyond the caps is one unreadable entry, ``""``."""
    entries = value[-MAX_HEADER_CHARACTERS:].rsplit(",", MAX_HEADER_ENTRIES)
    if len(value) > MAX_HEADER_CHARACTERS or len(entries) > MAX_HEADER_ENTRIES:
        # It may be the rest of an entry that was cut in two: "11.2.3.4" must not become "1.2.3.4".
        entries[0] = ""
    entries.reverse()
    return entries


def _elements(entries: list[str]) -> Iterator[str]:
    """The elements of a Forwarded header, the right-most first, from its entries split at every comma.

    The split does not honour quotes, on purpose: read from the left, as RFC 7239 has it, a quote that the
    client left open would swallow the element that the trusted proxy appended. A comma inside a proxy's own
    quoted value, as in ``for=192.0.2.1;host="a,b"``, leaves a quote open on its right, and is joined again
    with what stands on its left.
    """
    element, is_open = "", False
    for entry in entries:
        element = f"{entry},{element}" if is_open else entry
        is_open ^= _has_odd_quotes(entry)
        if not is_open:
            yield element
    if is_open:
        yield ""


def _has_odd_quotes(text: str) -> bool:
    return '"' in text and _ESCAPED.sub("", text).count('"') % 2 == 1


def _for_parameter(element: str) -> str:
    """The one ``for`` of a Forwarded element; ``""``, no address, if it is missing, doubled or broken."""
    found, position = [], 0
    while position < len(element):
        pair = _PAIR.match(element, position)
        if pair is None:
            return ""
        if pair[1].lower() == "for":
            found.append(pair[2])
        position = pair.end()
    return found[0] if len(found) == 1 else ""


def _bare_address(text: str) -> Address:
    bracketed = _BRACKETED_IPV6.fullmatch(text)
    if bracketed:
        return IPv6Address(bracketed[1])
    with_port = _IPV4_WITH_PORT.fullmatch(text)
    return IPv4Address(with_port[1]) if with_port else ip_address(text)


def _without_quotes(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _ipv6_subject(number: int) -> tuple[str, int]:
    # Written by hand, as str(IPv6Address) is slow: 64 entries must stay under 1 ms. The longest run of
    # zeros, which RFC 5952 shortens, is always at the end: half of the address and the zeros before it.
    prefix = number >> 64
    groups = [prefix >> 48, prefix >> 32 & 0xFFFF, prefix >> 16 & 0xFFFF, prefix & 0xFFFF]
    while groups and not groups[-1]:
        groups.pop()
    return ":".join([f"{group:x}" for group in groups]) + "::/64", prefix << 64


def _first_address(version: int, number: int, prefix: int) -> Address:
    shift = (32 if version == 4 else 128) - prefix
    first = number >> shift << shift
    return IPv4Address(first) if version == 4 else IPv6Address(first)


def is_list(header: str) -> bool:
    return header in ("X-Forwarded-For", "Forwarded")


def _is_unix_entry(entry: object) -> bool:
    return isinstance(entry, str) and entry.strip().lower() == UNIX_PEER


def is_unix_peer(remote_addr: str | None) -> bool:
    # nginx itself names a client that came over a unix socket "unix:".
    return not remote_addr or not remote_addr.strip() or remote_addr.startswith("unix:")


def _listed(entries: Sequence[str]) -> tuple[str, ...]:
    if isinstance(entries, str):
        raise ValueError(f"expected a list of networks, found the text {entries[:MAX_ADDRESS_CHARACTERS]!r}")
    return tuple(entries)


def _checked_header(header: object) -> str:
    name = header.strip() if isinstance(header, str) else ""
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{header!r} is no header's name: write it as sent, 'X-Forwarded-For', not as in META")
    return _CANONICAL_NAMES.get(name.lower(), name)


def _checked_hops(hops: int | None, header: str, *, has_proxies: bool) -> int | None:
    if hops is None:
        return None
    if type(hops) is not int or not 1 <= hops <= MAX_HEADER_ENTRIES:
        raise ValueError(f"hops must be a number from 1 to {MAX_HEADER_ENTRIES}, found {hops!r}")
    if not has_proxies:
        raise ValueError("hops needs trusted_proxies: the networks of the peers whose header is believed")
    if not is_list(header):
        raise ValueError(f"hops cannot be counted in {header}, which holds one address; leave hops out")
    return hops
