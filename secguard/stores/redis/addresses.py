"""URLs that name several servers: redis+cluster:// and redis+sentinel://, with an s for TLS as in rediss+…"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from redis.connection import parse_url

Address = tuple[str, int]


class Several(NamedTuple):
    """``hosts``: of the nodes or Sentinels. ``path``: what follows them. ``options``: of a redis-py connection."""

    hosts: list[Address]
    path: str
    query: dict[str, str]
    options: dict[str, Any]


class Candidates:
    """Servers any of which may be asked the same; one that does not answer is asked last from then on."""

    def __init__(self, addresses: Iterable[Address]) -> None:
        self._addresses = list(addresses)

    def __iter__(self) -> Iterator[Address]:
        return iter(list(self._addresses))

    def postpone(self, address: Address) -> None:
        self._addresses = [*(each for each in self._addresses if each != address), address]

    def add(self, addresses: Iterable[Address]) -> None:
        self._addresses = list(dict.fromkeys([*self._addresses, *addresses]))


def with_address(options: Mapping[str, Any], address: Address) -> dict[str, Any]:
    """The options of a connection to this address."""
    host, port = address
    return {**options, "host": host, "port": port}


def parse_several(url: str, default_port: int, own: tuple[str, ...] = ()) -> Several:
    """``own``: arguments of the query that no connection takes. Raises ValueError for what is no such URL."""
    parts = urlsplit(url)
    scheme = parts.scheme.partition("+")[0]
    userinfo, at, hosts = parts.netloc.rpartition("@")
    addresses = [_address(host, default_port) for host in hosts.split(",")]
    query = dict(parse_qsl(parts.query))
    rest = urlencode({name: value for name, value in query.items() if name not in own})
    plain = urlunsplit((scheme, f"{userinfo}{at}localhost", "", rest, ""))
    options = dict(parse_url(plain))  # type: ignore[no-untyped-call] # redis-py 8 lost its types
    options.pop("host", None)
    return Several(addresses, parts.path.strip("/"), query, options)


def _address(text: str, default_port: int) -> Address:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"the address {text!r:.80} names no host")
    return parts.hostname, parts.port or default_port
