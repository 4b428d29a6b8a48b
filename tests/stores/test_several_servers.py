"""Counters in a cluster, and behind a Sentinel: real servers, started by the tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from secguard.detection.store import FAIL, READ, Op, Reply
from secguard.stores import ClusterStore, RedisStore, SentinelStore, choose_store
from tests.end_to_end.serving import until
from tests.stores.conftest import PATIENT
from tests.stores.drive import ANNA, LOGIN, NOW, TALLY, number, panel
from tests.stores.several import cluster, lone_node, watched_pair

KEYS = [b"sg:a:%d" % n for n in range(30)]
PANEL = panel(TALLY)


def failures(first: int = 0) -> list[Op]:
    """One on each of many records, which live on all nodes."""
    return [Op(FAIL, key, PANEL, number(first + n), LOGIN + ANNA) for n, key in enumerate(KEYS)]


def counts(store: ClusterStore | SentinelStore) -> list[int]:
    return [reply.counts[0] for reply in store.execute([Op(READ, key, PANEL) for key in KEYS], NOW)]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    with cluster(tmp_path_factory.mktemp("cluster")) as ports:
        yield ports


@pytest.fixture
def store(nodes: list[int]) -> Iterator[ClusterStore]:
    for port in nodes:
        with redis.Redis(port=port) as client:
            client.flushall()
    built = ClusterStore(f"redis+cluster://127.0.0.1:{nodes[0]},127.0.0.1:{nodes[1]}", timeout=PATIENT)
    yield built
    built.close()


def test_the_records_of_one_call_may_live_on_different_nodes(store: ClusterStore, nodes: list[int]) -> None:
    assert [reply.counts for reply in store.execute(failures(), NOW)] == [(1,)] * len(KEYS)
    for port in nodes:
        with redis.Redis(port=port) as client:
            assert client.dbsize() > 0


def test_coroutines_and_threads_see_the_same_counters(store: ClusterStore) -> None:
    async def fail_once() -> list[int]:
        found = [reply.counts[0] for reply in await store.aexecute(failures(100), NOW)]
        await store.aclose()
        return found

    store.execute(failures(), NOW)
    assert asyncio.run(fail_once()) == [2] * len(KEYS)
    assert [reply.counts[0] for reply in store.send(failures(200), NOW).collect()] == [3] * len(KEYS)


def test_scripts_that_a_node_forgot_are_sent_again(store: ClusterStore, nodes: list[int]) -> None:
    store.execute(failures(), NOW)
    with redis.Redis(port=nodes[1]) as client:
        client.script_flush()
    store.execute(failures(100), NOW)
    assert counts(store) == [2] * len(KEYS)


def test_a_map_that_is_wrong_is_corrected_by_the_nodes(store: ClusterStore, nodes: list[int]) -> None:
    store.execute(failures(), NOW)
    store._slots = dict.fromkeys(range(16_384), ("127.0.0.1", nodes[0]))
    assert [reply.counts[0] for reply in store.execute(failures(100), NOW)] == [2] * len(KEYS)
    assert {store._slots[key_slot(key)][1] for key in KEYS} == set(nodes)


def test_a_slot_that_is_being_moved_is_followed(store: ClusterStore, nodes: list[int]) -> None:
    store.execute(failures(), NOW)
    key = next(key for key in KEYS if store._slots[key_slot(key)][1] == nodes[0])
    slot = key_slot(key)
    with redis.Redis(port=nodes[0]) as old, redis.Redis(port=nodes[1]) as new:
        names = [client.execute_command("CLUSTER MYID").decode() for client in (old, new)]
        new.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[0])
        old.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[1])
        try:
            old.execute_command("MIGRATE", "127.0.0.1", nodes[1], key, 0, 5000)
            (reply,) = store.execute([Op(FAIL, key, PANEL, number(900), LOGIN + ANNA)], NOW)
        finally:
            for client in (old, new):
                client.execute_command("CLUSTER SETSLOT", slot, "STABLE")
    assert reply.counts == (2,)


def test_a_token_is_found_again(store: ClusterStore) -> None:
    store.set_token("blocks", "x")
    assert store.get_token("blocks") == "x"


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_a_token_is_found_where_the_map_is_wrong(store: ClusterStore, nodes: list[int], wrong: int) -> None:
    store.set_token("blocks", "x")
    store._slots = dict.fromkeys(range(16_384), ("127.0.0.1", nodes[wrong]))
    assert store.get_token("blocks") == "x"


def test_the_url_of_the_settings_says_that_it_is_a_cluster(nodes: list[int], settings: object) -> None:
    settings.SECGUARD = {"REDIS_URL": f"redis+cluster://127.0.0.1:{nodes[0]}"}  # type: ignore[attr-defined]
    assert isinstance(choose_store(), ClusterStore)


@pytest.mark.parametrize("awaited", [False, True], ids=["execute", "aexecute"])
def test_a_server_that_keeps_its_keys_apart_is_asked_for_each(tmp_path: Path, awaited: bool) -> None:
    async def fail_once(store: RedisStore) -> list[Reply]:
        found = await store.aexecute(failures(), NOW)
        await store.aclose()
        return found

    with lone_node(tmp_path / "node") as url:
        store = RedisStore(url, timeout=PATIENT)
        replies = asyncio.run(fail_once(store)) if awaited else store.execute(failures(), NOW)
        assert [reply.counts for reply in replies] == [(1,)] * len(KEYS)
        store.close()


def test_a_cluster_of_which_nobody_answers_is_an_error_of_redis(dead_redis_url: str) -> None:
    store = ClusterStore(dead_redis_url.replace("redis://", "redis+cluster://"), timeout=PATIENT)
    with pytest.raises(redis.ConnectionError, match="No node of the cluster"):
        store.execute(failures(), NOW)


def test_after_a_fail_over_the_counting_goes_on_at_the_new_primary(tmp_path: Path) -> None:
    with watched_pair(tmp_path, "counters") as (primary, replica, sentinel):
        # The first Sentinel named is away: the next one is asked.
        store = SentinelStore(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel}/counters/0", timeout=PATIENT)
        store.execute(failures(), NOW)
        with redis.Redis(port=primary) as client:
            client.wait(1, 10_000)  # the replica has heard of it
        with redis.Redis(port=sentinel, decode_responses=True) as client:
            client.execute_command("SENTINEL FAILOVER", "counters")
            until(lambda: client.sentinel_masters()["counters"]["port"] == replica, "the replica took over")
        with redis.Redis(port=primary) as client:
            until(lambda: client.info("replication")["role"] == "slave", "the old primary follows")
        with pytest.raises(redis.RedisError):
            store.execute(failures(100), NOW)  # the old one says READONLY, or closed the connection
        assert [reply.counts[0] for reply in store.execute(failures(200), NOW)] == [2] * len(KEYS)
        store.close()


def test_a_service_that_no_sentinel_knows_is_an_error_that_names_it(dead_redis_url: str) -> None:
    store = SentinelStore(dead_redis_url.replace("redis://", "redis+sentinel://").replace("/0", "/counters"))
    with pytest.raises(redis.ConnectionError, match="primary of 'counters'"):
        store.execute(failures(), NOW)


def test_a_url_without_a_service_is_refused() -> None:
    with pytest.raises(ValueError, match="names no service"):
        SentinelStore("redis+sentinel://127.0.0.1:26379")
