"""URLs that name several servers: redis+cluster:// and redis+sentinel://, with an s for TLS as in rediss+…"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from redis.connection import parse_url

Address = tuple[str, int]
_SENTINEL = "sentinel_"


class Several(NamedTuple):
    """``hosts``: of the nodes or Sentinels. ``path``: what follows them. ``options``: of a redis-py connection to a
    server; ``asked``: of one to a Sentinel.
    """

    hosts: list[Address]
    path: str
    options: dict[str, Any]
    asked: dict[str, Any]


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


def parse_several(url: str, default_port: int) -> Several:
    """Arguments of the query that begin with ``sentinel_`` are for the connections to the Sentinels, ``sentinel_tls``
    among them. Raises ValueError for what is no such URL.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.partition("+")[0]
    userinfo, at, hosts = parts.netloc.rpartition("@")
    addresses = [_address(host, default_port) for host in hosts.split(",")]
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    asked = {name.removeprefix(_SENTINEL): query.pop(name) for name in list(query) if name.startswith(_SENTINEL)}
    tls = _yes_or_no(asked.pop("tls", "no"))
    return Several(
        addresses,
        parts.path.strip("/"),
        _options(scheme, f"{userinfo}{at}localhost", query),
        _options("rediss" if tls else "redis", "localhost", asked),
    )


def _yes_or_no(text: str) -> bool:
    if text.casefold() not in ("1", "true", "yes", "0", "false", "no"):
        raise ValueError(
            f"sentinel_tls is {text!r:.20}: give true or false"
        )  # or a password would go out in plain text
    return text.casefold() in ("1", "true", "yes")


def _options(scheme: str, host: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Those of a connection, as redis-py reads them in a URL, but for its address."""
    options = dict(parse_url(urlunsplit((scheme, host, "", urlencode(query), ""))))  # type: ignore[no-untyped-call] # redis-py 8 lost its types
    options.pop("host", None)
    return options


def _address(text: str, default_port: int) -> Address:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"the address {text!r:.80} names no host")
    return parts.hostname, parts.port or default_port
