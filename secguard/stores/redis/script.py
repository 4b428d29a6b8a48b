"""Calls of the one Lua script, packed for the wire, and what its answers mean."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from redis.exceptions import ClusterCrossSlotError, NoScriptError, ResponseError

from secguard.detection.identity import NO_VALUE, VALUE_SIZE
from secguard.detection.store import (
    CLOSED,
    FAIL,
    FORGET,
    GRANTED,
    LINKED,
    RESERVE,
    STREAM_SIZE,
    Op,
    Panel,
    Reply,
    streams_of,
)

_SOURCE = (Path(__file__).parents[1] / "lua" / "record.lua").read_bytes()
#: The name under which a server knows the script. No secret: SHA-1 is the protocol's.
_SHA = hashlib.sha1(_SOURCE, usedforsecurity=False).hexdigest().encode()
_PIECE = STREAM_SIZE + VALUE_SIZE


def _bulk(part: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(part), part)


def command(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(map(_bulk, parts))


_EVALSHA = _bulk(b"EVALSHA") + _bulk(_SHA)
_EVAL = _bulk(b"EVAL") + _bulk(_SOURCE)


def pack(calls: Sequence[Sequence[Op]], now: int | None, *, source: bool = False) -> bytes:
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


def replies(calls: Sequence[Sequence[Op]], answers: list[Any]) -> list[Reply]:
    """Raises what the server answered, if it is an error."""
    found = []
    for ops, answer in zip(calls, answers, strict=True):
        if isinstance(answer, Exception):
            raise answer
        for op, raw in zip(ops, answer, strict=True):
            found.append(_reply(op, raw))
    return found


def unknown_scripts(answers: list[Any]) -> list[int]:
    """The server restarted or its scripts were flushed: what it did not know it did not execute."""
    return [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]


def is_cross_slot(answer: Any) -> bool:
    # redis-py's own reading makes it a class of its own, without the code in its text.
    return isinstance(answer, ClusterCrossSlotError) or (
        isinstance(answer, ResponseError) and "CROSSSLOT" in str(answer)
    )


def ops_of(calls: Sequence[Sequence[Op]]) -> list[Op]:
    return [op for call in calls for op in call]


def token_key(name: str) -> bytes:
    return f"sg:token:{name}".encode()


def get_token(name: str) -> bytes:
    return command(b"GET", token_key(name))


def set_token(name: str, value: str) -> bytes:
    return command(b"SET", token_key(name), value.encode(), b"EX", b"86400")


def text(raw: Any) -> str | None:
    """A string that the server holds. Raises what it answered, if it is an error."""
    if isinstance(raw, Exception):
        raise raw
    return raw.decode() if isinstance(raw, bytes) else None
