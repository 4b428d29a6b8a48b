"""Exact counters in Redis or Valkey: one Lua script, called once for all records that an attempt touches."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import redis
from redis import exceptions as errors
from redis.asyncio import connection as aconnection
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import NoScriptError, ResponseError
from redis.retry import Retry

from secguard.detection.identity import NO_VALUE, VALUE_SIZE
from secguard.detection.store import (
    CLOSED,
    FAIL,
    FORGET,
    GRANTED,
    LINKED,
    RESERVE,
    STREAM_SIZE,
    Collected,
    Op,
    Panel,
    Pending,
    Reply,
    streams_of,
)

try:
    import hiredis
except ImportError:  # an optional part of redis-py
    hiredis = None  # type: ignore[assignment]

_SOURCE = (Path(__file__).parent / "lua" / "record.lua").read_bytes()
#: The name under which a server knows the script. No secret: SHA-1 is the protocol's.
_SHA = hashlib.sha1(_SOURCE, usedforsecurity=False).hexdigest().encode()
_PIECE = STREAM_SIZE + VALUE_SIZE
#: A connection that lay idle longer is looked at before use: the server may have closed it.
_IDLE_SECONDS = 1.0
_MAX_IDLE = 64
#: A time-out is waited for in so many slices, of which each counts as long as it was meant to be, whatever it
#: took: a slice that took longer was time in which this process was not served either (a container over its
#: quota, say), and no sign that the server hangs.
_SLICES = 10
#: Nobody waits longer than this many time-outs, and so long only on a saturated machine: there a server on the
#: same cores is late without being away. (Measured: hashing passwords on two cores held Redis back by 100 to
#: 700 ms, each process then counted for itself, and 25 of 100 parallel guesses were checked instead of 5.)
_LONGEST_WAIT = 20


def _bulk(part: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(part), part)


def _command(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(map(_bulk, parts))


_EVALSHA = _bulk(b"EVALSHA") + _bulk(_SHA)
_EVAL = _bulk(b"EVAL") + _bulk(_SOURCE)


def _pack(calls: Sequence[Sequence[Op]], now: int | None, *, source: bool = False) -> bytes:
    """Calls of the script. ``source``: send the script itself, for a server that forgot it."""
    moment = b"$0\r\n\r\n" if now is None else _bulk(b"%d" % now)
    script = _EVAL if source else _EVALSHA
    return b"".join([_pack_call(ops, moment, script) for ops in calls])


def _pack_call(ops: Sequence[Op], moment: bytes, script: bytes) -> bytes:
    keys, arguments = [], []
    for code, key, panel, ids, payload in ops:
        prepared = panel.prepared or _prepare(panel)
        if len(payload) <= _PIECE and payload[:STREAM_SIZE] not in prepared.sudden:
            code = prepared.short_codes.get(code, code)
        keys.append(b"$%d\r\n%b\r\n" % (len(key), key))
        arguments.append(
            b"$1\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n%b" % (code, len(ids), ids, len(payload), payload, prepared.packed)
        )
    number = len(ops)
    head = b"*%d\r\n%b%b" % (4 + 5 * number, script, _bulk(b"%d" % number))
    return b"".join((head, *keys, moment, *arguments))


class _Prepared(NamedTuple):
    """What does not change for a panel."""

    packed: bytes
    #: Streams by which a rule trips at once. With any other one the script may take its short way.
    sudden: frozenset[bytes]
    short_codes: dict[bytes, bytes]
    #: The replies to a first attempt, by its stream and whether it has a value.
    first: dict[tuple[bytes, bool], Reply]


def _prepare(panel: Panel) -> _Prepared:
    watches = panel.watches
    shortest = min((watch.window_ms for watch in watches), default=panel.horizon_ms)
    parts = [_number(panel.horizon_ms), _number(shortest), _number(panel.lease_ms), _number(panel.cap)]
    parts.append(bytes((panel.limiting, len(watches))))
    for watch in watches:
        name = watch.rule.encode()
        parts += (bytes((len(watch.streams) // STREAM_SIZE,)), watch.streams)
        parts += (bytes((watch.distinct + 2 * watch.limiting,)), _number(watch.window_ms), _number(watch.threshold))
        parts += (bytes((len(name),)), name)
    sudden = frozenset(stream for watch in watches if watch.threshold == 1 for stream in streams_of(watch))
    codes = {RESERVE: b"r" if panel.limiting else b"s", FAIL: b"f", FORGET: b"x"}
    prepared = _Prepared(_bulk(b"".join(parts)), sudden, codes, {})
    panel.prepared = prepared
    return prepared


def _first(op: Op) -> Reply:
    """The reply to an operation on a record that held nothing before."""
    replies, watches = op.panel.prepared.first, op.panel.watches
    if op.code == FORGET:
        stream, has_value = b"", False
    else:
        stream, has_value = op.payload[:STREAM_SIZE], op.payload[STREAM_SIZE:] != NO_VALUE
    reply: Reply | None = replies.get((stream, has_value))
    if reply is None:
        counts = (int(stream in streams_of(watch) and (has_value or not watch.distinct)) for watch in watches)
        reply = replies[stream, has_value] = Reply(GRANTED, 0, tuple(counts), (CLOSED,) * len(watches))
    return reply


def _number(value: int) -> bytes:
    return value.to_bytes(6, "big")


def _reply(op: Op, raw: Any) -> Reply:
    if raw == 1:
        return _first(op)
    if raw[0] == LINKED:
        return Reply(LINKED, link=raw[1])
    return Reply(raw[0], raw[1], tuple(raw[2::2]), tuple(raw[3::2]))


def _replies(calls: Sequence[Sequence[Op]], answers: list[Any]) -> list[Reply]:
    """Raises what the server answered, if it is an error."""
    replies = []
    for ops, answer in zip(calls, answers, strict=True):
        if isinstance(answer, Exception):
            raise answer
        for op, raw in zip(ops, answer, strict=True):
            replies.append(_reply(op, raw))
    return replies


def _unknown_scripts(answers: list[Any]) -> list[int]:
    """The server restarted or its scripts were flushed: what it did not know it did not execute."""
    return [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]


def _is_cross_slot(answer: Any) -> bool:
    return isinstance(answer, ResponseError) and "CROSSSLOT" in str(answer)


def _ops_of(calls: Sequence[Sequence[Op]]) -> list[Op]:
    return [op for call in calls for op in call]


class _Pending:
    """Calls whose replies have not been read yet, and the connection they will arrive on."""

    __slots__ = ("_calls", "_now", "_store", "_wire")

    def __init__(self, store: RedisStore, wire: _Wire, calls: list[Sequence[Op]], now: int | None) -> None:
        self._store, self._wire, self._calls, self._now = store, wire, calls, now

    def collect(self) -> list[Reply]:
        return self._store.collect(self._wire, self._calls, self._now)


class _Wire:
    """A connection that redis-py made (address, TLS, password), spoken to directly.

    Measured in a failed login: redis-py's own sending and reading cost 80 µs more for the two trips. Where
    hiredis is missing, or the socket is none (a fake server), redis-py's reading is used.
    """

    __slots__ = ("_connection", "_reader", "_sock")

    def __init__(self, connection: Any, timeout: float) -> None:
        self._connection = connection
        self._sock: Any = getattr(connection, "_sock", None)
        usable = hiredis is not None and isinstance(self._sock, socket.socket)
        self._reader: Any = hiredis.Reader(replyError=_server_error) if usable else None
        self.set_timeout(timeout)

    def set_timeout(self, seconds: float) -> None:
        if hasattr(self._sock, "settimeout"):
            self._sock.settimeout(seconds)

    def send(self, packed: bytes) -> None:
        if self._reader is None:
            self._connection.send_packed_command([packed], check_health=False)
            return
        try:
            self._sock.sendall(packed)
        except TimeoutError as error:
            self.close()
            raise redis.TimeoutError("Timeout writing to socket") from error
        except OSError as error:
            self.close()
            raise redis.ConnectionError(f"Error while writing to socket: {error}") from error

    def read(self, longest: float) -> Any:
        """One reply; an error of the server is returned. Waits for ten slices, at most ``longest`` seconds."""
        patience = None
        while True:
            try:
                return self._next_reply()
            except ResponseError as error:
                return error
            except redis.TimeoutError:
                patience = patience or _Patience(longest)
                if not patience.lasts():
                    raise

    def _next_reply(self) -> Any:
        if self._reader is None:
            return self._connection.read_response(disconnect_on_error=False)
        reader = self._reader
        reply = reader.gets()
        while reply is False:  # not all of it is there
            try:
                data = self._sock.recv(65_536)
            except TimeoutError as error:
                raise redis.TimeoutError("Timeout reading from socket") from error
            except OSError as error:
                raise redis.ConnectionError(f"Error while reading from socket: {error}") from error
            if not data:
                raise redis.ConnectionError("Connection closed by server.")
            reader.feed(data)
            reply = reader.gets()
        return reply

    def is_stale(self) -> bool:
        """Nothing is outstanding on an idle connection: what can be read is its end."""
        try:
            return bool(self._connection.can_read(timeout=0))
        except (redis.RedisError, OSError):
            return True

    def close(self) -> None:
        self._connection.disconnect()


_SERVER_ERRORS: dict[str, type[redis.RedisError]] = {
    "CLUSTERDOWN": errors.ClusterDownError,
    "LOADING": errors.BusyLoadingError,
    "NOAUTH": errors.AuthenticationError,
    "NOPERM": errors.NoPermissionError,
    "NOSCRIPT": NoScriptError,
    "OOM": errors.OutOfMemoryError,
    "READONLY": errors.ReadOnlyError,
}


def _server_error(text: str) -> redis.RedisError:
    """The exception that redis-py has for what the server answered."""
    if "unauthenticated" in text:  # how a server without our password takes a long command
        return errors.AuthenticationError(f"NOAUTH {text}")
    return _SERVER_ERRORS.get(text.partition(" ")[0], ResponseError)(text)


class RedisStore:
    """Counters on a Redis or Valkey server that every process shares.

    ``url``: redis://, rediss:// or unix://, as redis-py takes it. ``timeout``: seconds for connecting and for
    every reply. ``options``: further arguments of a redis-py connection (password, TLS and so on).
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
        for pool_option in ("max_connections", "timeout"):
            given.pop(pool_option, None)  # redis-py takes them from a URL, for a pool of its own
        given.update(_NO_INTRODUCTION)
        given.update(
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry_on_timeout=False,
            retry_on_error=[],
            decode_responses=False,
            health_check_interval=0,
            protocol=2,  # measured: 10 % quicker than RESP3, and no handshake
        )
        self._options = given
        self._slice, self._longest = timeout / _SLICES, timeout * _LONGEST_WAIT
        self._together = True  # until a server says that its keys live apart
        self._idle: deque[tuple[_Wire, float]] = deque()
        self._aidle: dict[Any, deque[tuple[Any, float]]] = {}
        self._pid = os.getpid()

    # -- the protocol of a store -------------------------------------------------------------------

    def execute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        calls = self._calls(ops)
        return self.collect(self._send(_pack(calls, now)), calls, now)

    def send(self, ops: Sequence[Op], now: int | None = None) -> Pending:
        if not ops:
            return Collected([])
        calls = self._calls(ops)
        return _Pending(self, self._send(_pack(calls, now)), calls, now)

    def collect(self, wire: _Wire, calls: list[Sequence[Op]], now: int | None) -> list[Reply]:
        """The replies to ``calls``, which were sent over ``wire``."""
        answers = self._receive(wire, len(calls))
        if any(isinstance(answer, Exception) for answer in answers):
            if self._must_split(answers):
                return self.execute(_ops_of(calls), now)
            missing = _unknown_scripts(answers)
            again = self._command(_pack([calls[at] for at in missing], now, source=True), len(missing))
            for at, answer in zip(missing, again, strict=True):
                answers[at] = answer
        return _replies(calls, answers)

    async def aexecute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        calls = self._calls(ops)
        answers = await self._acommand(_pack(calls, now), len(calls))
        if any(isinstance(answer, Exception) for answer in answers):
            if self._must_split(answers):
                return await self.aexecute(ops, now)
            missing = _unknown_scripts(answers)
            again = await self._acommand(_pack([calls[at] for at in missing], now, source=True), len(missing))
            for at, answer in zip(missing, again, strict=True):
                answers[at] = answer
        return _replies(calls, answers)

    def _calls(self, ops: Sequence[Op]) -> list[Sequence[Op]]:
        return [ops] if self._together else [[op] for op in ops]

    def _must_split(self, answers: list[Any]) -> bool:
        """A cluster keeps its keys on several servers, and says so before it does anything."""
        if not any(_is_cross_slot(answer) for answer in answers):
            return False
        self._together = False
        return True

    def get_token(self, name: str) -> str | None:
        return _text(self._command(_command(b"GET", _token_key(name)), 1)[0])

    async def aget_token(self, name: str) -> str | None:
        return _text((await self._acommand(_command(b"GET", _token_key(name)), 1))[0])

    def set_token(self, name: str, value: str) -> None:
        _text(self._command(_command(b"SET", _token_key(name), value.encode(), b"EX", b"86400"), 1)[0])

    # -- connections ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop()[0].close()

    def _command(self, packed: bytes, replies: int) -> list[Any]:
        return self._receive(self._send(packed), replies)

    def _send(self, packed: bytes) -> _Wire:
        wire = self._take()
        wire.send(packed)
        return wire

    def _receive(self, wire: _Wire, replies: int) -> list[Any]:
        try:
            answers = [wire.read(self._longest) for _ in range(replies)]
        except BaseException:
            # Whatever stopped the reading, a late reply must not be taken for the next one's.
            wire.close()
            raise
        if len(self._idle) < _MAX_IDLE:
            self._idle.append((wire, time.monotonic()))
        else:
            wire.close()
        return answers

    def _take(self) -> _Wire:
        if self._pid != os.getpid():
            self._forget_connections()
        try:
            wire, since = self._idle.pop()
        except IndexError:
            return self._connect()
        if time.monotonic() - since <= _IDLE_SECONDS:
            return wire
        if wire.is_stale():
            wire.close()
            return self._connect()
        wire.set_timeout(self._slice)  # looking at it set the whole time-out again, before redis-py 8
        return wire

    def _connect(self) -> _Wire:
        """Connecting, and what redis-py says at the start, has the whole time-out; each read then a slice."""
        connection = self._connection_class(**self._options, retry=Retry(NoBackoff(), 0))
        connection.connect()
        return _Wire(connection, self._slice)

    def _forget_connections(self) -> None:
        """After a fork: the sockets belong to the parent, and are only dropped here."""
        self._idle, self._aidle, self._pid = deque(), {}, os.getpid()

    # -- the same, awaited -----------------------------------------------------------------------------

    async def _acommand(self, packed: bytes, replies: int) -> list[Any]:
        idle = self._idle_of_this_loop()
        connection, since = idle.pop() if idle else (self._new_async_connection(), time.monotonic())
        answers = []
        try:
            if time.monotonic() - since > _IDLE_SECONDS and await _is_stale_async(connection):
                await connection.disconnect(nowait=True)
            await connection.send_packed_command([packed], check_health=False)
            for _ in range(replies):
                try:
                    answers.append(await self._aread(connection))
                except ResponseError as error:
                    answers.append(error)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        if len(idle) < _MAX_IDLE:
            idle.append((connection, time.monotonic()))
        else:
            await connection.disconnect(nowait=True)
        return answers

    async def _aread(self, connection: Any) -> Any:
        # Not the argument timeout: when that runs out redis-py answers None, as for a key that is missing.
        whole, connection.socket_timeout = connection.socket_timeout, self._slice
        patience = _Patience(self._longest)
        try:
            while True:
                try:
                    return await connection.read_response(disconnect_on_error=False)
                except redis.TimeoutError:
                    if not patience.lasts():
                        raise
        finally:
            connection.socket_timeout = whole

    def _idle_of_this_loop(self) -> deque[tuple[Any, float]]:
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

    def _new_async_connection(self) -> Any:
        return self._async_connection_class(**self._options, retry=AsyncRetry(NoBackoff(), 0))


def machine_is_saturated() -> bool:
    """Do more than twice as many threads want to run as there are processors? Only Linux tells."""
    try:
        with open("/proc/loadavg") as file:
            runnable = int(file.read().split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return False
    return runnable > 2 * (os.cpu_count() or 1)


class _Patience:
    """How often a slice may end without an answer."""

    __slots__ = ("_longest", "_since", "_slices")

    def __init__(self, longest: float) -> None:
        self._longest, self._since, self._slices = longest, time.monotonic(), _SLICES

    def lasts(self) -> bool:
        self._slices -= 1
        in_time = time.monotonic() - self._since < self._longest
        return in_time and (self._slices > 0 or machine_is_saturated())


#: redis-py introduces itself on every connection, which costs a round trip and a time-out of its own.
_NO_INTRODUCTION: dict[str, Any] = (
    {"driver_info": None}
    if "driver_info" in signature(redis.Connection.__init__).parameters
    or "driver_info" in signature(redis.connection.AbstractConnection.__init__).parameters
    else {"lib_name": None, "lib_version": None}
)

_ASYNC_CLASSES: dict[Any, Any] = {
    redis.SSLConnection: aconnection.SSLConnection,
    redis.UnixDomainSocketConnection: aconnection.UnixDomainSocketConnection,
}


async def _is_stale_async(connection: Any) -> bool:
    try:
        # redis-py 8 renamed it, and warns of the old name.
        can_read = getattr(connection, "can_read", None) or connection.can_read_destructive
        return bool(await can_read())
    except (redis.RedisError, OSError):
        return True


def _token_key(name: str) -> bytes:
    return f"sg:token:{name}".encode()


def _text(raw: Any) -> str | None:
    if isinstance(raw, Exception):
        raise raw
    return raw.decode() if isinstance(raw, bytes) else None
