"""Exact counters on one Redis or Valkey server: one Lua script, called once for all records an attempt touches."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import redis
from redis.asyncio import connection as aconnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import ReadOnlyError
from redis.retry import Retry

from secguard.detection.store import Collected, Op, Pending, Reply
from secguard.stores.redis import script
from secguard.stores.redis.wire import AsyncWire, Patience, Wire

#: A connection that lay idle longer is looked at before use: the server may have closed it.
_IDLE_SECONDS = 1.0
_MAX_IDLE = 64
#: What redis-py takes from a URL for a pool of its own, or as its time-outs.
NOT_OURS = ("max_connections", "timeout", "socket_timeout", "socket_connect_timeout")


class _Pending:
    """Calls whose replies have not been read yet, and the connection they will arrive on."""

    __slots__ = ("_calls", "_now", "_store", "_wire")

    def __init__(self, store: RedisStore, wire: Wire, calls: list[Sequence[Op]], now: int | None) -> None:
        self._store, self._wire, self._calls, self._now = store, wire, calls, now

    def collect(self) -> list[Reply]:
        return self._store.collect(self._wire, self._calls, self._now)


class RedisStore:
    """Counters on a Redis or Valkey server that every process shares.

    ``url``: redis://, rediss:// or unix://, as redis-py takes it. ``timeout``: seconds for which one request may
    wait for the server, all its commands together, connecting included; name resolution, which the operating
    system does, is not. ``options``: further arguments of a redis-py connection (password, TLS and so on).
    Nothing is retried: a command whose reply was lost may have been executed. Connections are made when
    they are needed, and never shared with a forked process. Raises redis-py's exceptions.

    Needs the extra ``redis``.
    """

    shared = True
    exact = True

    def __init__(self, url: str, *, timeout: float = 0.05, **options: Any) -> None:
        given = {**options, **parse_url(url)}  # type: ignore[no-untyped-call] # redis-py 8 lost its types
        kind = given.pop("connection_class", redis.Connection)
        self._connection_class: Callable[..., Any] = kind
        self._async_connection_class: Callable[..., Any] = given.pop(
            "async_connection_class", _ASYNC_CLASSES.get(kind, aconnection.Connection)
        )
        for not_ours in NOT_OURS:
            given.pop(not_ours, None)
        given.update(NO_INTRODUCTION)
        given.update(
            retry_on_timeout=False,
            retry_on_error=[],
            decode_responses=False,
            health_check_interval=0,
            protocol=2,  # measured: 10 % quicker than RESP3, and no handshake
        )
        self._options = given
        self._timeout = timeout
        self._together = True  # until a server says that its keys live apart
        self._idle: deque[Wire] = deque()
        self._aidle: dict[Any, deque[AsyncWire]] = {}
        self._pid = os.getpid()

    # -- the protocol of a store -------------------------------------------------------------------

    def execute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        calls = self._calls(ops)
        return self.collect(self.dispatch(script.pack(calls, now)), calls, now)

    def send(self, ops: Sequence[Op], now: int | None = None) -> Pending:
        if not ops:
            return Collected([])
        calls = self._calls(ops)
        return _Pending(self, self.dispatch(script.pack(calls, now)), calls, now)

    def collect(self, wire: Wire, calls: list[Sequence[Op]], now: int | None) -> list[Reply]:
        """The replies to ``calls``, which were sent over ``wire``."""
        answers = self.receive(wire, len(calls))
        if any(isinstance(answer, Exception) for answer in answers):
            if self._must_split(answers):
                return self.execute(script.ops_of(calls), now)
            missing = script.unknown_scripts(answers)
            again = self.command(script.pack([calls[at] for at in missing], now, source=True), len(missing))
            for at, answer in zip(missing, again, strict=True):
                answers[at] = answer
        return script.replies(calls, answers)

    async def aexecute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        calls = self._calls(ops)
        answers = await self.acommand(script.pack(calls, now), len(calls))
        if any(isinstance(answer, Exception) for answer in answers):
            if self._must_split(answers):
                return await self.aexecute(ops, now)
            missing = script.unknown_scripts(answers)
            again = await self.acommand(script.pack([calls[at] for at in missing], now, source=True), len(missing))
            for at, answer in zip(missing, again, strict=True):
                answers[at] = answer
        return script.replies(calls, answers)

    def _calls(self, ops: Sequence[Op]) -> list[Sequence[Op]]:
        return [ops] if self._together else [[op] for op in ops]

    def _must_split(self, answers: list[Any]) -> bool:
        """A proxy in front of a cluster keeps its keys on several servers, and says so before it does anything."""
        if not any(script.is_cross_slot(answer) for answer in answers):
            return False
        self._together = False
        return True

    def get_token(self, name: str) -> str | None:
        return script.text(self.command(script.get_token(name), 1)[0])

    async def aget_token(self, name: str) -> str | None:
        return script.text((await self.acommand(script.get_token(name), 1))[0])

    def set_token(self, name: str, value: str) -> None:
        script.text(self.command(script.set_token(name, value), 1)[0])

    # -- commands ------------------------------------------------------------------------------------

    def command(self, packed: bytes, replies: int) -> list[Any]:
        """Send, and read so many replies; errors of the server are returned."""
        return self.receive(self.dispatch(packed), replies) if replies else []

    def dispatch(self, packed: bytes) -> Wire:
        """Send. → the connection on which the replies will arrive, for ``receive``"""
        patience = Patience(self._timeout)
        wire = self._take(patience)
        wire.send(packed, patience)
        return wire

    def receive(self, wire: Wire, replies: int) -> list[Any]:
        patience = Patience(self._timeout)
        try:
            answers = [wire.read(patience) for _ in range(replies)]
        except BaseException:
            # Whatever stopped the reading, a late reply must not be taken for the next one's.
            wire.close()
            self.lost()
            raise
        self._lay_aside(wire)
        if _is_replica(answers):
            self.close()
            self.lost()
        return answers

    async def acommand(self, packed: bytes, replies: int) -> list[Any]:
        if not replies:
            return []
        patience = Patience(self._timeout)
        idle = self._idle_of_this_loop()
        wire = idle.pop() if idle else None
        if wire is not None and time.monotonic() - wire.since > _IDLE_SECONDS and await wire.is_stale():
            await wire.close()
        try:
            wire = wire or AsyncWire(await self._new_async_connection(patience))
            answers = await wire.exchange(packed, replies, patience)
        except BaseException:
            self.lost()
            raise
        wire.since = time.monotonic()
        idle.append(wire)
        if _is_replica(answers):
            self.lost()
        while idle and (len(idle) > _MAX_IDLE or _is_replica(answers)):
            await idle.popleft().close()
        return answers

    def lost(self) -> None:
        """The server did not answer. For those who can find another one."""

    # -- connections ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def aclose(self) -> None:
        """Close the idle connections of the running event loop."""
        idle = self._idle_of_this_loop()
        while idle:
            await idle.pop().close()

    def _take(self, patience: Patience) -> Wire:
        if self._pid != os.getpid():
            self._forget_connections()
        try:
            wire = self._idle.pop()
        except IndexError:
            return self._connect(patience)
        if time.monotonic() - wire.since > _IDLE_SECONDS and wire.is_stale():
            wire.close()
            return self._connect(patience)
        return wire

    def _connect(self, patience: Patience) -> Wire:
        try:
            wire = self.connect(self._connection_class, self.address(patience), patience)
        except (redis.RedisError, OSError):
            self.lost()
            raise
        try:
            patience.next_slice()
        except redis.TimeoutError:
            # It took too long for this request; the next one finds it made.
            self._lay_aside(wire)
            raise
        return wire

    def connect(self, kind: Callable[..., Any], options: dict[str, Any], patience: Patience) -> Wire:
        """A new connection. All that redis-py says and hears meanwhile has the time that the request may still wait."""
        seconds = patience.whole()
        began = time.monotonic()
        connection = kind(
            **options, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(NoBackoff(), 0)
        )
        try:
            connection.connect()
        finally:
            patience.spend(began)
        return Wire(connection)

    def address(self, patience: Patience) -> dict[str, Any]:
        """What a connection is made with."""
        return self._options

    async def aaddress(self, patience: Patience) -> dict[str, Any]:
        return self._options

    def _lay_aside(self, wire: Wire) -> None:
        if len(self._idle) < _MAX_IDLE:
            wire.since = time.monotonic()
            self._idle.append(wire)
        else:
            wire.close()

    def _forget_connections(self) -> None:
        """After a fork: the sockets belong to the parent, and are only dropped here."""
        self._idle, self._aidle, self._pid = deque(), {}, os.getpid()

    def _idle_of_this_loop(self) -> deque[AsyncWire]:
        if self._pid != os.getpid():
            self._forget_connections()
        loop = asyncio.get_running_loop()
        idle = self._aidle.get(loop)
        if idle is None:
            # Async views under WSGI have a loop for each request. Their connections hold it: nobody else frees them.
            for ended in [each for each in list(self._aidle) if each.is_closed()]:
                self._aidle.pop(ended, None)
            idle = self._aidle[loop] = deque()
        return idle

    async def _new_async_connection(self, patience: Patience) -> Any:
        return self.aconnect(self._async_connection_class, await self.aaddress(patience))

    def aconnect(self, kind: Callable[..., Any], options: dict[str, Any]) -> Any:
        """A connection for coroutines, which connects when it is used."""
        return kind(
            **options,
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            retry=AsyncRetry(NoBackoff(), 0),
        )


def _is_replica(answers: list[Any]) -> bool:
    """The server became somebody's replica: what led to it leads to another one now, if it is followed again."""
    return any(isinstance(answer, ReadOnlyError) for answer in answers)


#: redis-py introduces itself on every connection, which costs a round trip and a time-out of its own.
NO_INTRODUCTION: dict[str, Any] = (
    {"driver_info": None}
    if "driver_info" in signature(redis.Connection.__init__).parameters
    or "driver_info" in signature(redis.connection.AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)

_ASYNC_CLASSES: dict[Any, Any] = {
    redis.SSLConnection: aconnection.SSLConnection,
    redis.UnixDomainSocketConnection: aconnection.UnixDomainSocketConnection,
}
