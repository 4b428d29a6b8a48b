"""Exact counters in a Redis or Valkey cluster: each record on the node that holds its slot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import redis
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, NoScriptError, TryAgainError

from secguard.detection.store import Collected, Op, Pending, Reply
from secguard.stores.redis import script
from secguard.stores.redis.addresses import Address, Candidates, parse_several, with_address
from secguard.stores.redis.server import RedisStore
from secguard.stores.redis.wire import Wire

#: Packs a command; true: with the script itself, for a node that does not know it.
Pack = Callable[[bool], bytes]
#: How often one operation follows a slot that moves.
_MAX_REDIRECTIONS = 5


class _Sent(NamedTuple):
    """What went to one node: the operations by their place, and the connection the replies will arrive on."""

    node: RedisStore
    places: list[int]
    wire: Wire


class _Pending:
    __slots__ = ("_now", "_ops", "_sent", "_store")

    def __init__(self, store: ClusterStore, ops: Sequence[Op], now: int | None, sent: list[_Sent]) -> None:
        self._store, self._ops, self._now, self._sent = store, ops, now, sent

    def collect(self) -> list[Reply]:
        return self._store.collect(self._ops, self._now, self._sent)


class ClusterStore:
    """Counters in a cluster.

    ``url``: ``redis+cluster://[user:password@]host:port,host:port``, some nodes by which the others are found.
    Otherwise as ``RedisStore``: one time for all that a request waits, nothing is retried that may have been
    executed, connections are made when they are needed.

    Operations of one call go to their nodes side by side, each as a call of its own: the records of an address and
    of an account live apart. What a node says of a slot that moved is followed; the whole map is read again when a
    node does not answer.
    """

    shared = True
    exact = True

    def __init__(self, url: str, *, timeout: float = 0.05, **options: Any) -> None:
        several = parse_several(url, 6379)
        self._timeout = timeout
        self._options = {**options, **several.options}
        self._seeds = Candidates(several.hosts)
        self._nodes: dict[Address, RedisStore] = {}
        #: Which node holds a slot, as far as is known: ends of ranges are not kept, since slots move one by one.
        self._slots: dict[int, Address] = {}

    # -- the protocol of a store -------------------------------------------------------------------

    def execute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        return self.collect(ops, now, self._dispatch(ops, now))

    def send(self, ops: Sequence[Op], now: int | None = None) -> Pending:
        return _Pending(self, ops, now, self._dispatch(ops, now)) if ops else Collected([])

    def collect(self, ops: Sequence[Op], now: int | None, sent: list[_Sent]) -> list[Reply]:
        answers: list[Any] = [None] * len(ops)
        waiting = list(sent)
        try:
            while waiting:
                node, places, wire = waiting.pop()
                for place, answer in zip(places, node.receive(wire, len(places)), strict=True):
                    answers[place] = answer
        except (redis.RedisError, OSError):
            self._forget_map()
            raise
        finally:
            for _, _, wire in waiting:
                wire.close()  # its replies will not be read
        for place, answer in enumerate(answers):
            answers[place] = self._follow(answer, ops[place].key, _packing(ops[place], now))
        return script.replies([[op] for op in ops], answers)

    async def aexecute(self, ops: Sequence[Op], now: int | None = None) -> list[Reply]:
        if not self._slots:
            await self._aread_map()
        answers: list[Any] = [None] * len(ops)
        routes = self._routes(ops)
        asked = [
            node.acommand(script.pack([[ops[place]] for place in places], now), len(places)) for node, places in routes
        ]
        try:
            for (_, places), found in zip(routes, await _all_of(asked), strict=True):
                for place, answer in zip(places, found, strict=True):
                    answers[place] = answer
        except (redis.RedisError, OSError):
            self._forget_map()
            raise
        for place, answer in enumerate(answers):
            answers[place] = await self._afollow(answer, ops[place].key, _packing(ops[place], now))
        return script.replies([[op] for op in ops], answers)

    def get_token(self, name: str) -> str | None:
        return script.text(self._command(script.token_key(name), script.get_token(name)))

    async def aget_token(self, name: str) -> str | None:
        if not self._slots:
            await self._aread_map()
        key, packed = script.token_key(name), script.get_token(name)
        answer = (await self._node_of(key).acommand(packed, 1))[0]
        return script.text(await self._afollow(answer, key, lambda source: packed))

    def set_token(self, name: str, value: str) -> None:
        script.text(self._command(script.token_key(name), script.set_token(name, value)))

    def _command(self, key: bytes, packed: bytes) -> Any:
        if not self._slots:
            self._read_map()
        answer = self._node_of(key).command(packed, 1)[0]
        return self._follow(answer, key, lambda source: packed)

    # -- sending -------------------------------------------------------------------------------------

    def _dispatch(self, ops: Sequence[Op], now: int | None) -> list[_Sent]:
        if not self._slots:
            self._read_map()
        sent: list[_Sent] = []
        try:
            for node, places in self._routes(ops):
                sent.append(_Sent(node, places, node.dispatch(script.pack([[ops[at]] for at in places], now))))
        except (redis.RedisError, OSError):
            self._forget_map()
            for _, _, wire in sent:
                wire.close()
            raise
        return sent

    def _routes(self, ops: Sequence[Op]) -> list[tuple[RedisStore, list[int]]]:
        places: dict[Address, list[int]] = {}
        for place, op in enumerate(ops):
            places.setdefault(self._owner(op.key), []).append(place)
        return [(self._node(address), found) for address, found in places.items()]

    def _owner(self, key: bytes) -> Address:
        address = self._slots.get(key_slot(key))
        if address is None:
            # As a server says it of a slot that nobody holds.
            raise ClusterDownError("CLUSTERDOWN Hash slot not served")
        return address

    def _node_of(self, key: bytes) -> RedisStore:
        return self._node(self._owner(key))

    def _node(self, address: Address) -> RedisStore:
        node = self._nodes.get(address)
        if node is None:
            options = with_address(self._options, address)
            node = self._nodes.setdefault(address, RedisStore("redis://", timeout=self._timeout, **options))
        return node

    # -- slots that moved, scripts that a node does not know: in both cases it has done nothing ------------

    def _follow(self, answer: Any, key: bytes, pack: Pack) -> Any:
        for _ in range(_MAX_REDIRECTIONS):
            step = self._next_step(answer, key, pack)
            if step is None:
                break
            node, packed, replies = step
            answer = node.command(packed, replies)[-1]
        return answer

    async def _afollow(self, answer: Any, key: bytes, pack: Pack) -> Any:
        for _ in range(_MAX_REDIRECTIONS):
            step = self._next_step(answer, key, pack)
            if step is None:
                break
            node, packed, replies = step
            answer = (await node.acommand(packed, replies))[-1]
        return answer

    def _next_step(self, answer: Any, key: bytes, pack: Pack) -> tuple[RedisStore, bytes, int] | None:
        """Whom to send what, and how many replies that has; None if the answer is one."""
        if isinstance(answer, NoScriptError):
            return self._node_of(key), pack(True), 1
        if isinstance(answer, TryAgainError):
            return self._node_of(key), pack(False), 1
        if isinstance(answer, MovedError):
            self._slots[int(answer.slot_id)] = _named_by(answer)
            return self._node_of(key), pack(False), 1
        if isinstance(answer, AskError):
            return self._node(_named_by(answer)), script.command(b"ASKING") + pack(True), 2
        return None

    # -- the map of slots ------------------------------------------------------------------------------

    def _forget_map(self) -> None:
        """Nodes come and go: it is read again before the next operation, from whichever of them answers."""
        self._seeds.add(self._slots.values())
        self._slots = {}

    def _read_map(self) -> None:
        problem: Exception | None = None
        for seed in self._seeds:
            try:
                return self._take_map(seed, self._node(seed).command(_SLOTS, 1)[0])
            except (redis.RedisError, OSError) as error:
                self._seeds.postpone(seed)
                problem = error
        raise redis.ConnectionError(f"No node of the cluster tells who holds its slots: {problem}")

    async def _aread_map(self) -> None:
        problem: Exception | None = None
        for seed in self._seeds:
            try:
                return self._take_map(seed, (await self._node(seed).acommand(_SLOTS, 1))[0])
            except (redis.RedisError, OSError) as error:
                self._seeds.postpone(seed)
                problem = error
        raise redis.ConnectionError(f"No node of the cluster tells who holds its slots: {problem}")

    def _take_map(self, seed: Address, answer: Any) -> None:
        """``answer``: of CLUSTER SLOTS, for each range its first and last slot, and the primary as host and port."""
        if isinstance(answer, Exception):
            raise answer
        slots: dict[int, Address] = {}
        for first, last, primary, *_ in answer:
            host = primary[0].decode() if primary[0] else seed[0]  # no host: the one that was asked
            slots.update(dict.fromkeys(range(first, last + 1), (host, primary[1])))
        if not slots:
            raise ClusterDownError("CLUSTERDOWN No slot is served")
        self._slots = slots

    def close(self) -> None:
        """Close the idle connections."""
        for node in self._nodes.values():
            node.close()

    async def aclose(self) -> None:
        """Close the idle connections of the running event loop."""
        for node in self._nodes.values():
            await node.aclose()


_SLOTS = script.command(b"CLUSTER", b"SLOTS")


async def _all_of(asked: Sequence[Awaitable[list[Any]]]) -> list[list[Any]]:
    """All of them side by side: none is left behind when one fails."""
    found: list[list[Any]] = []
    for each in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(each, BaseException):
            raise each
        found.append(each)
    return found


def _packing(op: Op, now: int | None) -> Pack:
    return lambda source: script.pack([[op]], now, source=source)


def _named_by(answer: AskError) -> Address:
    """The node that a redirection leads to."""
    return answer.host, int(answer.port)
