"""The blocks in force in the languages of firewalls and proxies. Pure: text from networks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from itertools import islice
from typing import NamedTuple

from secguard.network import Network, NetworkSet

#: What the sets are called: secguard_v4, secguard_v6.
NAME = "secguard"
#: The longest timeout that ipset takes, in seconds; a block for longer is exported anew before.
MAX_IPSET_TIMEOUT = 2_147_483
#: How many entries an ipset may hold. It cannot be changed on a set that is there: the same for every export.
IPSET_MAXELEM = 1_048_576
_ELEMENTS_A_LINE = 100


class Entry(NamedTuple):
    """One network that is refused. ``seconds``: for how long still, None for good. ``reference``: of its block."""

    network: Network
    seconds: float | None
    reference: str
    rule: str = ""
    list_name: str = ""
    reason: str = ""


def prepare(entries: Iterable[Entry], holes: Iterable[Network] = ()) -> list[Entry]:
    """One entry for each network, that which lasts longest; without ``holes``; by version, number and prefix.

    ``holes``: what is never refused. A network around one falls into its parts.
    """
    longest: dict[Network, Entry] = {}
    for entry in entries:
        other = longest.get(entry.network)
        if other is None or _lasts_longer(entry, other):
            longest[entry.network] = entry
    never = list(dict.fromkeys(holes))
    kept = longest.values() if not never else _without(longest, never)
    return sorted(kept, key=lambda entry: _place(entry.network))


def _lasts_longer(entry: Entry, other: Entry) -> bool:
    return other.seconds is not None and (entry.seconds is None or entry.seconds > other.seconds)


def _place(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen


def _without(entries: dict[Network, Entry], holes: list[Network]) -> Iterator[Entry]:
    covered = NetworkSet(holes)
    inside: dict[Network, list[Network]] = {}
    for hole in holes:
        for prefix in range(hole.prefixlen):
            around = hole.supernet(new_prefix=prefix)
            if around in entries:
                inside.setdefault(around, []).append(hole)
    for network, entry in entries.items():
        if _is_covered(network, covered, holes):
            continue
        parts: list[Network] = [network]
        for hole in inside.get(network, ()):
            parts = [piece for part in parts for piece in _cut(part, hole)]
        yield from (entry._replace(network=part) for part in parts)


def _is_covered(network: Network, covered: NetworkSet, holes: list[Network]) -> bool:
    # The first address alone may lie in a hole that is narrower than the network.
    if not covered.contains(network.version, int(network.network_address)):
        return False
    return any(_contains(hole, network) for hole in holes)


def _contains(wide: Network, narrow: Network) -> bool:
    return wide.version == narrow.version and narrow.subnet_of(wide)  # type: ignore[arg-type]


def _cut(network: Network, hole: Network) -> list[Network]:
    if _contains(hole, network):
        return []
    if not _contains(network, hole):
        return [network]
    return list(network.address_exclude(hole))  # type: ignore[arg-type]


# -- the formats: lines, without the ends --------------------------------------------------------------------------


def text_of(network: Network) -> str:
    """An address, where it is one; else CIDR."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def spelt(network: Network) -> str:
    """As secguard itself spells it: of IPv6 an address without a prefix stands for its /64."""
    return text_of(network) if network.version == 4 else str(network)


def plain(entries: Sequence[Entry]) -> Iterator[str]:
    """One network a line: what ``import`` reads."""
    return (spelt(entry.network) for entry in entries)


def as_json(entries: Sequence[Entry]) -> Iterator[str]:
    """An array of objects."""
    yield "["
    for number, entry in enumerate(entries, 1):
        fields = {**entry._asdict(), "network": spelt(entry.network)}
        fields["seconds"] = None if entry.seconds is None else round(entry.seconds)
        yield f"  {json.dumps(fields)}{',' if number < len(entries) else ''}"
    yield "]"


def nginx(entries: Sequence[Entry]) -> Iterator[str]:
    """Directives of ngx_http_access_module, to be included where requests shall be refused."""
    return (f"deny {text_of(entry.network)};" for entry in entries)


def nftables(entries: Sequence[Entry]) -> Iterator[str]:
    """A script for ``nft -f``: a table with two named sets, filled anew in one transaction.

    Elements of an interval set must not overlap, so that what lies in another network is left out.
    """
    yield f"add table inet {NAME}"
    for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        name = f"inet {NAME} {NAME}_v{version}"
        yield f"add set {name} {{ type {kind}; flags interval; }}"
        yield f"flush set {name}"
        elements = iter(_disjoint(entries, version))
        while line := list(islice(elements, _ELEMENTS_A_LINE)):
            yield f"add element {name} {{ {', '.join(map(text_of, line))} }}"


def _disjoint(entries: Sequence[Entry], version: int) -> Iterator[Network]:
    networks = [entry.network for entry in entries if entry.network.version == version]
    found: Iterator[Network] = collapse_addresses(networks)  # type: ignore[type-var]
    return found


def ipset(entries: Sequence[Entry]) -> Iterator[str]:
    """Lines for ``ipset restore``: two sets, filled anew, whose entries end by themselves."""
    for version, family in ((4, "inet"), (6, "inet6")):
        name = f"{NAME}_v{version}"
        yield f"create {name} hash:net family {family} hashsize 4096 maxelem {IPSET_MAXELEM} timeout 0 -exist"
        yield f"flush {name}"
        for entry in entries:
            if entry.network.version == version:
                yield from (f"add {name} {part} timeout {_timeout(entry)} -exist" for part in _storable(entry.network))


def _timeout(entry: Entry) -> int:
    """Seconds, at least one, since nought means for good."""
    if entry.seconds is None:
        return 0
    return min(MAX_IPSET_TIMEOUT, max(1, -int(-entry.seconds // 1)))


def _storable(network: Network) -> Iterator[str]:
    """A set of networks cannot hold the one of prefix 0: it takes two halves."""
    parts: Iterable[IPv4Network | IPv6Network] = [network] if network.prefixlen else network.subnets(new_prefix=1)
    return map(text_of, parts)


def haproxy(entries: Sequence[Entry]) -> Iterator[str]:
    """A map: network → the block's reference, for ``src,map_ip(FILE)``."""
    return (f"{text_of(entry.network)} {entry.reference}" for entry in entries)


FORMATS: dict[str, Callable[[Sequence[Entry]], Iterator[str]]] = {
    "plain": plain,
    "json": as_json,
    "nginx": nginx,
    "nftables": nftables,
    "ipset": ipset,
    "haproxy": haproxy,
}
