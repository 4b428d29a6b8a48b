"""Which entry of a forwarding header is taken as the client, hop by hop, and why: for whoever sets up a proxy."""

from __future__ import annotations

from typing import NamedTuple

from secguard.network.client_ip import (
    PRIVATE_NETWORKS,
    ClientAddress,
    ClientAddressResolver,
    Headers,
    claims_in,
    is_list,
    is_unix_peer,
)

PEER = "REMOTE_ADDR"

_UNKNOWN = {
    "no_remote_address": "REMOTE_ADDR is no address, and no unix socket is trusted",
    "untrusted_forwarding_private_peer": "a private peer forwards, and TRUSTED_PROXIES is empty",
    "malformed_header": "the header cannot be read as far as it has to be",
    "no_client_in_header": "the trusted socket sent no header",
}


class Hop(NamedTuple):
    """One entry, from the nearest on. ``source``: ``REMOTE_ADDR`` or the header. ``text``: what stands there."""

    source: str
    text: str
    address: ClientAddress | None
    verdict: str


class Trace(NamedTuple):
    """The way to the client. ``why``: it is the client, or nobody knows who is."""

    hops: list[Hop]
    client: ClientAddress
    why: str


def trace(resolver: ClientAddressResolver, remote_addr: str | None, headers: Headers) -> Trace:
    """The same answer as ``resolver.resolve``, with the way that led to it."""
    client = resolver.resolve(remote_addr, headers)
    peer = resolver.address(remote_addr or "")
    unix = peer is None and resolver.trusts_unix_peer and is_unix_peer(remote_addr)
    value = (headers(resolver.header) or "").strip(" \t")
    claims = _claims(resolver, value)
    trusted = unix or (peer is not None and peer.trusted_proxy)
    if not trusted:
        verdict, why = _untrusted(client, peer, bool(value), resolver)
        ignored = [Hop(resolver.header, text.strip(), resolver.address(text), "not read") for text in claims]
        return Trace([Hop(PEER, remote_addr or "", peer, verdict), *ignored], client, why)
    first = Hop(PEER, remote_addr or "", peer, "a trusted proxy: its header is read" if value else "a trusted proxy")
    if not value:
        why = _UNKNOWN[client.reason] if client.reason else "a trusted proxy that sent no header is the client itself"
        return Trace([first], client, why)
    hops, why = _walk(resolver, claims)
    return Trace([first, *hops], client, _UNKNOWN[client.reason] if client.reason else why)


def _claims(resolver: ClientAddressResolver, value: str) -> list[str]:
    if not value:
        return []
    return list(claims_in(resolver.header, value)) if is_list(resolver.header) else [value]


def _untrusted(
    client: ClientAddress, peer: ClientAddress | None, forwards: bool, resolver: ClientAddressResolver
) -> tuple[str, str]:
    if client.reason:
        return ("no address" if peer is None else "may be a proxy that nobody named"), _UNKNOWN[client.reason]
    if peer is not None and forwards and PRIVATE_NETWORKS.contains(peer.version, peer.number):
        return "taken as the client", "the peer is none of TRUSTED_PROXIES, though its address is private"
    if forwards:
        return "taken as the client", f"the peer is none of TRUSTED_PROXIES: anybody can send {resolver.header}"
    return "taken as the client", "the peer speaks for itself"


def _walk(resolver: ClientAddressResolver, claims: list[str]) -> tuple[list[Hop], str]:
    """The entries from the right, as the resolver walks them."""
    hops: list[Hop] = []
    why = ""
    for place, text in enumerate(claims, 1):
        address = resolver.address(text)
        if why:
            verdict = "not looked at"
        elif resolver.hops is not None:
            verdict, why = _counted(place, resolver.hops, len(claims), address)
        else:
            verdict, why = _walked(place == len(claims), address, resolver)
        hops.append(Hop(resolver.header, text.strip(), address, verdict))
    return hops, why


def _counted(place: int, hops: int, last: int, address: ClientAddress | None) -> tuple[str, str]:
    if place < min(hops, last):
        return "a proxy, by its place", ""
    if address is None:
        return "no address", _UNKNOWN["malformed_header"]
    if place < hops:
        return "taken as the client", f"it is the left-most entry, though {hops} hops were expected"
    return "taken as the client", f"it is the entry number {hops} from the right, as hops says"


def _walked(is_last: bool, address: ClientAddress | None, resolver: ClientAddressResolver) -> tuple[str, str]:
    if address is None:
        return "no address", _UNKNOWN["malformed_header"]
    if not is_list(resolver.header):
        return "taken as the client", f"{resolver.header} holds one address, which the proxy sets"
    if not address.trusted_proxy:
        return "taken as the client", "it is the first from the right that is no trusted proxy"
    if is_last:
        return "taken as the client", "all entries are trusted proxies, and it is the left-most"
    return "a trusted proxy: passed over", ""
