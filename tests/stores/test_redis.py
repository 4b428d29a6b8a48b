"""What only a store on a real server can get wrong: scripts, keys, memory, connections."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
import redis

from secguard.detection import DEFAULT_RULES, Detector
from secguard.detection.detector import Attempt, Observation, run
from secguard.detection.store import FAIL, GRANTED, READ, RESERVE, Op
from secguard.stores.redis import RedisStore, server
from tests.forking import in_a_child
from tests.stores.conftest import PATIENT
from tests.stores.drive import (
    ANNA,
    GUESSES,
    KEY,
    LOGIN,
    NOW,
    OTHER_KEY,
    TALLY,
    hammer,
    hang_up,
    number,
    panel,
)

GUARD = panel(GUESSES)
#: Long enough to be answered by a server that is awake, short enough to wait for once.
SHORT = 0.5


@pytest.fixture
def store(empty_redis: str) -> Iterator[RedisStore]:
    built = RedisStore(empty_redis, timeout=PATIENT)
    yield built
    built.close()


def fail(n: int, key: bytes = KEY) -> Op:
    return Op(FAIL, key, GUARD, number(n), LOGIN + ANNA)


def login(detector: Detector, number: int) -> Attempt:
    return detector.attempt(Observation(address=f"198.51.{number // 250}.{number % 250}", account=f"u{number}"))


def connections_received(client: redis.Redis) -> int:
    return int(client.info("stats")["total_connections_received"])


def memory_of_keys(client: redis.Redis) -> int:
    """Bytes in use, without the buffers of connections, which come and go."""
    found = client.info("memory")
    return int(found["used_memory"] - found["mem_clients_normal"])


# -- scripts -------------------------------------------------------------------------------------------


def test_flushing_the_scripts_is_invisible(store: RedisStore, redis_client: redis.Redis) -> None:
    counts = []
    for n in range(3):
        redis_client.script_flush()
        counts += store.execute([fail(n)], NOW)[0].counts
    assert counts == [1, 2, 3]


async def test_flushing_the_scripts_is_invisible_when_awaited(store: RedisStore, redis_client: redis.Redis) -> None:
    counts: list[int] = []
    for n in range(3):
        redis_client.script_flush()
        counts += (await store.aexecute([fail(n)], NOW))[0].counts
    await hang_up(store)
    assert counts == [1, 2, 3]


def test_flushing_the_scripts_is_invisible_to_what_was_sent(store: RedisStore, redis_client: redis.Redis) -> None:
    redis_client.script_flush()
    pending = store.send([fail(1), fail(2)], NOW)
    assert [reply.counts for reply in pending.collect()] == [(1,), (2,)]


def test_a_flushed_server_starts_counting_anew(store: RedisStore, redis_client: redis.Redis) -> None:
    store.execute([fail(1)], NOW)
    redis_client.flushdb()
    assert store.execute([fail(2)], NOW)[0].counts == (1,)


def test_what_the_server_answers_with_an_error_is_raised(store: RedisStore, redis_client: redis.Redis) -> None:
    redis_client.rpush(KEY, "no record")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        store.execute([fail(1)], NOW)
    assert store.execute([fail(1, OTHER_KEY)], NOW)[0].counts == (1,)


# -- keys and memory -----------------------------------------------------------------------------------


def test_every_key_is_short_and_expires(store: RedisStore, redis_client: redis.Redis) -> None:
    detector = Detector(DEFAULT_RULES, key=b"k")
    for n in range(3):
        attempt = detector.attempt(Observation(address="2001:db8::/64", account="x" * 1_000_000))
        run(detector.reserve(attempt), store.execute)
        run(detector.record(attempt), store.execute)
        store.execute(detector.pass_ops(login(detector, n), link="someone else"))
    store.set_token("blocklist", "1")
    keys = redis_client.keys("*")
    assert len(keys) >= 4
    for key in keys:
        assert len(key) <= 128
        assert redis_client.ttl(key) > 0


def test_a_record_without_entries_is_no_key(store: RedisStore, redis_client: redis.Redis) -> None:
    store.execute([Op(RESERVE, KEY, GUARD, number(1), LOGIN + ANNA)])
    store.execute([Op(b"X", KEY, GUARD, number(1))])
    assert redis_client.dbsize() == 0


def test_a_failed_login_costs_at_most_350_bytes(store: RedisStore, redis_client: redis.Redis) -> None:
    detector, pairs, batch = Detector(DEFAULT_RULES, key=b"k"), 5_000, 250
    store.execute([fail(1)])
    redis_client.flushdb()
    before = memory_of_keys(redis_client)
    for start in range(0, pairs, batch):
        attempts = [login(detector, n) for n in range(start, start + batch)]
        store.execute([op for attempt in attempts for op in detector.fail_ops(attempt)])
    assert redis_client.dbsize() == 2 * pairs
    assert (memory_of_keys(redis_client) - before) / pairs <= 350


# -- trips ---------------------------------------------------------------------------------------------


def test_operations_of_one_call_are_one_trip(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.execute([fail(0)], NOW)
    sent = []

    def counted(self: socket.socket, data: bytes) -> None:
        sent.append(data)
        while data:
            data = data[self.send(data) :]

    monkeypatch.setattr(socket.socket, "sendall", counted, raising=False)
    store.execute([fail(1), fail(2, OTHER_KEY), Op(READ, KEY, GUARD)], NOW)
    assert len(sent) == 1


def test_one_after_another_share_a_connection(store: RedisStore, redis_client: redis.Redis) -> None:
    store.execute([fail(0)], NOW)
    before = connections_received(redis_client)
    for n in range(10):
        store.execute([fail(n)], NOW)
    assert connections_received(redis_client) == before


# -- connections ---------------------------------------------------------------------------------------


def test_a_forked_process_shares_no_connection(store: RedisStore, redis_client: redis.Redis) -> None:
    store.execute([fail(0)], NOW)
    before = connections_received(redis_client)
    assert in_a_child(lambda: store.execute([fail(1)], NOW)[0].counts == (2,))
    assert connections_received(redis_client) == before + 1
    assert store.execute([fail(2)], NOW)[0].counts == (3,)
    assert connections_received(redis_client) == before + 1


def test_parallel_threads_never_read_each_others_replies(store: RedisStore) -> None:
    def count(thread: int) -> list[int]:
        key = b"sg:a:%d" % thread
        return [store.execute([fail(n, key)], NOW)[0].counts[0] for n in range(50)]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(count, range(16))) == [list(range(1, 51))] * 16


def test_a_reply_is_collected_from_its_own_connection(store: RedisStore) -> None:
    first, second = store.send([fail(1)], NOW), store.send([fail(1, OTHER_KEY), fail(2, OTHER_KEY)], NOW)
    assert [reply.counts for reply in second.collect()] == [(1,), (2,)]
    assert [reply.counts for reply in first.collect()] == [(1,)]


def test_a_connection_closed_while_idle_is_replaced(
    store: RedisStore, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.execute([fail(1)], NOW)
    monkeypatch.setattr(server, "_IDLE_SECONDS", -1)  # every connection lay idle long enough
    redis_client.client_kill_filter(_type="normal", skipme=True)
    redis_client.ping()
    assert store.execute([fail(2)], NOW)[0].counts == (2,)


async def test_a_connection_closed_while_idle_is_replaced_when_awaited(
    store: RedisStore, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.aexecute([fail(1)], NOW)
    monkeypatch.setattr(server, "_IDLE_SECONDS", -1)
    redis_client.client_kill_filter(_type="normal", skipme=True)
    redis_client.ping()
    for _ in range(3):
        await asyncio.sleep(0)  # the loop looks at its sockets, as it does before any request
    reply = await store.aexecute([fail(2)], NOW)
    await hang_up(store)
    assert reply[0].counts == (2,)


def test_a_late_reply_is_not_taken_for_the_next_one(empty_redis: str, redis_client: redis.Redis) -> None:
    store = RedisStore(empty_redis, timeout=SHORT)
    store.execute([fail(n) for n in range(7)], NOW)
    redis_client.client_pause(60_000, all=False)
    try:
        with pytest.raises(redis.TimeoutError):
            store.execute([Op(READ, KEY, GUARD)], NOW)
    finally:
        redis_client.client_unpause()
    assert store.execute([fail(1, OTHER_KEY)], NOW)[0].counts == (1,)
    store.close()


async def test_a_late_reply_is_not_taken_for_the_next_one_when_awaited(
    empty_redis: str, redis_client: redis.Redis
) -> None:
    store = RedisStore(empty_redis, timeout=SHORT)
    await store.aexecute([fail(n) for n in range(7)], NOW)
    redis_client.client_pause(60_000, all=False)
    try:
        with pytest.raises(redis.TimeoutError):
            await store.aexecute([Op(READ, KEY, GUARD)], NOW)
    finally:
        redis_client.client_unpause()
    reply = await store.aexecute([fail(1, OTHER_KEY)], NOW)
    await hang_up(store)
    assert reply[0].counts == (1,)


def test_a_failure_whose_reply_was_lost_counts_once(empty_redis: str, redis_client: redis.Redis) -> None:
    store = RedisStore(empty_redis, timeout=PATIENT)
    pending = store.send([fail(1)], NOW)
    del pending  # and with it the connection, unread
    while not redis_client.exists(KEY):
        pass  # the server has it
    assert store.execute([fail(1)], NOW)[0].counts == (1,)
    store.close()


def test_a_server_that_is_away_is_an_error_of_redis() -> None:
    store = RedisStore("redis://127.0.0.1:1", timeout=SHORT)
    with pytest.raises(redis.ConnectionError):
        store.execute([fail(1)], NOW)


# -- many at once --------------------------------------------------------------------------------------


def test_200_threads_in_8_processes_lose_and_double_nothing(
    empty_redis: str, redis_client: redis.Redis, store: RedisStore
) -> None:
    processes, threads, each, records = 8, 25, 4, 4
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        runs = [
            pool.submit(hammer, empty_redis, first * threads * each, threads, each, records)
            for first in range(processes)
        ]
        for done in runs:
            done.result()
    ops = [Op(READ, b"sg:a:%d" % record, panel(TALLY)) for record in range(records)]
    assert [reply.counts[0] for reply in store.execute(ops, NOW)] == [processes * threads * each // records] * 4


def test_100_threads_are_granted_exactly_the_limit(store: RedisStore) -> None:
    start = threading.Barrier(100)

    def reserve(n: int) -> int:
        start.wait()
        return store.execute([Op(RESERVE, KEY, GUARD, number(n), LOGIN + ANNA)])[0].status

    with ThreadPoolExecutor(100) as pool:
        assert list(pool.map(reserve, range(100))).count(GRANTED) == GUESSES.threshold
