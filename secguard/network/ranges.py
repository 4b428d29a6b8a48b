"""Networks in CIDR notation, and a set of them that is asked once per request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = "IPv4Address | IPv6Address"
Network: TypeAlias = "IPv4Network | IPv6Network"

WIDEST_IPV4_PREFIX = 8
WIDEST_IPV6_PREFIX = 16

_MAPPED_PREFIX = 96  # ::ffff:0:0/96, RFC 4291 section 2.5.5.2
_SHOWN_CHARACTERS = 100

# ip_network() also takes "10.0.0.0/0.255.255.255" (a host mask) and "fe80::%eth0/64"; neither says clearly
# what it means.
_CIDR = re.compile(r"[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?")


def parse_network(value: str) -> Network:
    """Read one network in CIDR notation, or one address as a network of its own.

    ``"192.0.2.0/24"``, ``"2001:db8::/32"``; ``"192.0.2.1"`` is a /32 and ``"2001:db8::1"`` a /128. An
    IPv4-mapped IPv6 network (``"::ffff:192.0.2.0/120"``) is returned as the IPv4 network. Spaces at the edges
    are ignored.

    Raises ``ValueError``, with the right spelling where one can be guessed, for anything else: host bits that
    are set, net masks instead of a prefix length, zone ids, host names, values that are no ``str``.
    """
    text = _stripped(value)
    if not _CIDR.fullmatch(text):
        raise ValueError(_not_a_network(value))
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(_not_a_network(value)) from None
    _refuse_host_bits(text, network)
    return _unmapped_network(network)


#: What one client is counted by, by the version of IP: an IPv4 address, or the /64 of an IPv6 one.
SUBJECT_PREFIXES = {4: 32, 6: 64}


def is_one_client(network: Network) -> bool:
    """Is it what one client is counted by, and no wider or narrower network?"""
    return network.prefixlen == SUBJECT_PREFIXES[network.version]


def canonical_network(text: str) -> str:
    """The one spelling of a network: an IPv4 address, else CIDR; a single IPv6 address is its /64.

    Raises ValueError, which says what was found.
    """
    network = parse_network(text)
    if network.prefixlen == network.max_prefixlen:
        if network.version == 4:
            return str(network.network_address)
        if "/" not in text:
            return str(network.supernet(new_prefix=64))
    return str(network)


def describe_too_wide(network: Network) -> str | None:
    """Say what is wrong with a network too wide to be trusted or allowed; ``None`` if it is narrow enough.

    The widest accepted are an IPv4 /8 (10.0.0.0/8) and an IPv6 /16: beyond that an entry covers a good part
    of the internet, as 0.0.0.0/0, ::/0 and 0.0.0.0/1 do, and trusting it lets strangers choose their own
    address.
    """
    widest = WIDEST_IPV4_PREFIX if network.version == 4 else WIDEST_IPV6_PREFIX
    if network.prefixlen >= widest:
        return None
    return (
        f"{network} is too wide: the widest IPv{network.version} network accepted here is a /{widest}. "
        "List the networks that you mean, one by one."
    )


class NetworkSet:
    """An immutable set of networks that answers "does one of them cover this address?".

    Takes networks as text (see ``parse_network``) or as ``ipaddress`` objects; raises ``ValueError`` for
    anything else. One look-up costs one hash probe per *distinct prefix length*, however many networks there
    are.
    """

    __slots__ = ("_networks", "_prefixes")

    def __init__(self, networks: Iterable[str | Network] = ()) -> None:
        if isinstance(networks, str):
            raise ValueError(f"expected a list of networks, found the text {_shown(networks)}")
        self._networks: tuple[Network, ...] = tuple(dict.fromkeys(map(_as_network, networks)))
        self._prefixes: dict[int, tuple[tuple[int, frozenset[int]], ...]] = {
            version: _by_prefix_length(network for network in self._networks if network.version == version)
            for version in (4, 6)
        }

    def contains(self, version: int, number: int) -> bool:
        """Whether a network of this IP version (4 or 6) covers the address with this integer value."""
        # A plain loop: any() over a generator costs five times as much, and this is asked for every request.
        for shift, prefixes in self._prefixes[version]:  # noqa: SIM110
            if number >> shift in prefixes:
                return True
        return False

    def __contains__(self, address: object) -> bool:
        """Whether a network covers this address: text or an ``ipaddress`` object; else ``False``."""
        if not isinstance(address, (str, IPv4Address, IPv6Address)):
            return False
        try:
            found = unmapped(ip_address(address.strip() if isinstance(address, str) else address))
        except ValueError:
            return False
        return self.contains(found.version, int(found))

    def __len__(self) -> int:
        return len(self._networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __iter__(self) -> Iterator[Network]:
        return iter(self._networks)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NetworkSet):
            return NotImplemented
        return set(self._networks) == set(other._networks)

    def __hash__(self) -> int:
        return hash(frozenset(self._networks))

    def __repr__(self) -> str:
        return f"NetworkSet({[str(network) for network in self._networks]!r})"


def unmapped(address: Address) -> Address:
    """The IPv4 address inside an IPv4-mapped IPv6 one, and an IPv6 address without its zone id."""
    if isinstance(address, IPv4Address):
        return address
    bare = address if address.scope_id is None else IPv6Address(int(address))
    return bare.ipv4_mapped or bare


def _stripped(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""  # settings hold anything


def _unmapped_network(network: Network) -> Network:
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_PREFIX:
        return network
    return IPv4Network((int(mapped), network.prefixlen - _MAPPED_PREFIX))


def _as_network(entry: str | Network) -> Network:
    if isinstance(entry, (IPv4Network, IPv6Network)):
        return _unmapped_network(entry)
    return parse_network(entry)


def _by_prefix_length(networks: Iterable[Network]) -> tuple[tuple[int, frozenset[int]], ...]:
    """For each distinct prefix length: how far to shift an address, and the shifted networks."""
    found: dict[int, set[int]] = {}
    for network in networks:
        shift = network.max_prefixlen - network.prefixlen
        found.setdefault(shift, set()).add(int(network.network_address) >> shift)
    return tuple((shift, frozenset(prefixes)) for shift, prefixes in sorted(found.items()))


def _refuse_host_bits(text: str, network: Network) -> None:
    address = ip_address(text.partition("/")[0])
    if address == network.network_address:
        return
    raise ValueError(
        f"{_shown(text)} has host bits set: write {str(_unmapped_network(network))!r} for the network, "
        f"or {str(unmapped(address))!r} for the single address"
    )


def _not_a_network(value: object) -> str:
    return (
        f"{_shown(value)} is not a network: expected an address or CIDR such as '192.0.2.1', '192.0.2.0/24' "
        "or '2001:db8::/32'"
    )


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "…"
