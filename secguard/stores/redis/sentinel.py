"""Exact counters on the server that Sentinels name as the primary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from redis.asyncio import connection as aconnection

from secguard.stores.redis import script
from secguard.stores.redis.addresses import Address, Candidates, parse_several, with_address
from secguard.stores.redis.server import NO_INTRODUCTION, NOT_OURS, RedisStore
from secguard.stores.redis.wire import AsyncWire, Patience


class SentinelStore(RedisStore):
    """Counters on the primary of a service that Sentinels watch.

    ``url``: ``redis+sentinel://[user:password@]host:port,host:port/service[/db]``; the user and password are the
    server's. Arguments that begin with ``sentinel_`` are for the Sentinels: ``sentinel_username``,
    ``sentinel_password``, ``sentinel_tls=true``, ``sentinel_ssl_ca_certs`` and so on. ``sentinel_options``: the same as
    keywords of a redis-py connection. Otherwise as ``RedisStore``.

    Who is the primary is asked when a connection is made after one failed, or after a server answered READONLY.
    A fail-over loses what the new primary had not heard of yet; attempts in flight then count as unknown.
    """

    def __init__(
        self, url: str, *, timeout: float = 0.05, sentinel_options: dict[str, Any] | None = None, **options: Any
    ) -> None:
        several = parse_several(url, 26379)
        service, _, database = several.path.partition("/")
        if not service:
            raise ValueError("the URL names no service: redis+sentinel://host:port/SERVICE/0")
        super().__init__("redis://", timeout=timeout, **{**options, **several.options, "db": int(database or 0)})
        self._service = service
        self._sentinels = Candidates(several.hosts)
        asked = {**several.asked, **(sentinel_options or {}), **NO_INTRODUCTION, "protocol": 2}
        for not_ours in NOT_OURS:
            asked.pop(not_ours, None)
        over_tls = asked.pop("ssl", False)  # as redis-py's own Sentinel takes it
        plain_or_tls = asked.pop("connection_class", redis.SSLConnection if over_tls else redis.Connection)
        self._sentinel_class: Callable[..., Any] = plain_or_tls
        self._sentinel_options = asked
        self._primary: Address | None = None

    def address(self, patience: Patience) -> dict[str, Any]:
        if self._primary is None:
            self._primary = self._ask_sentinels(patience)
        return with_address(self._options, self._primary)

    async def aaddress(self, patience: Patience) -> dict[str, Any]:
        if self._primary is None:
            self._primary = await self._aask_sentinels(patience)
        return with_address(self._options, self._primary)

    def lost(self) -> None:
        self._primary = None

    def _ask_sentinels(self, patience: Patience) -> Address:
        """The first Sentinel that knows. One that does not answer is asked last from now on."""
        problem: Exception | None = None
        for sentinel in self._sentinels:
            try:
                wire = self.connect(self._sentinel_class, with_address(self._sentinel_options, sentinel), patience)
                try:
                    wire.send(self._question, patience)
                    return _answer(wire.read(patience))
                finally:
                    wire.close()
            except (redis.RedisError, OSError) as error:
                self._sentinels.postpone(sentinel)
                problem = error
        raise redis.ConnectionError(f"No Sentinel names the primary of {self._service!r}: {problem}")

    async def _aask_sentinels(self, patience: Patience) -> Address:
        problem: Exception | None = None
        kind = aconnection.SSLConnection if self._sentinel_class is redis.SSLConnection else aconnection.Connection
        for sentinel in self._sentinels:
            wire = AsyncWire(self.aconnect(kind, with_address(self._sentinel_options, sentinel)))
            try:
                return _answer((await wire.exchange(self._question, 1, patience))[0])
            except (redis.RedisError, OSError) as error:
                self._sentinels.postpone(sentinel)
                problem = error
            finally:
                await wire.close()
        raise redis.ConnectionError(f"No Sentinel names the primary of {self._service!r}: {problem}")

    @property
    def _question(self) -> bytes:
        return script.command(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self._service.encode())


def _answer(raw: Any) -> Address:
    if isinstance(raw, Exception):
        raise raw
    if not raw:
        raise redis.ConnectionError("it does not know the service")
    return raw[0].decode(), int(raw[1])
