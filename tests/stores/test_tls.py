"""Over TLS, with a password: one server behind a proxy that speaks TLS, and a cluster that speaks it itself."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import trustme

from secguard.detection.store import FAIL, READ, Op
from secguard.stores import RedisStore, SentinelStore, choose_store
from tests.conftest import _free_port
from tests.faults.proxy import proxy
from tests.stores.conftest import PATIENT
from tests.stores.drive import ANNA, LOGIN, NOW, TALLY, number, panel
from tests.stores.several import cluster, program, program_with_tls, running, watched_pair

PANEL = panel(TALLY)
PASSWORD = "a password of this test"  # not a URL's characters alone


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusted(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture(scope="module")
def port(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where a server that wants a password is reached over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    plain = _free_port()
    folder = tmp_path_factory.mktemp("server") / "server"
    with running(folder, plain, "--save", "", binary=program()), redis.Redis(port=plain) as client:
        client.config_set("requirepass", PASSWORD)
        with proxy(plain, context) as front:
            yield front.port


def url(port: int, password: str = "a%20password%20of%20this%20test", **options: str) -> str:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"rediss://:{password}@127.0.0.1:{port}/0?{query}"


def fail_once(store: RedisStore, first: int) -> int:
    return store.execute([Op(FAIL, b"sg:a:tls", PANEL, number(first), LOGIN + ANNA)], NOW)[0].counts[0]


def test_threads_and_coroutines_count_over_tls_with_a_password(port: int, trusted: str) -> None:
    async def fail_awaited() -> int:
        found = await store.aexecute([Op(FAIL, b"sg:a:tls", PANEL, number(2), LOGIN + ANNA)], NOW)
        await store.aclose()
        return found[0].counts[0]

    store = RedisStore(url(port, ssl_ca_certs=trusted), timeout=PATIENT)
    assert (fail_once(store, 1), asyncio.run(fail_awaited())) == (1, 2)
    store.close()


def test_a_server_whose_certificate_nobody_trusts_is_told_nothing(port: int) -> None:
    store = RedisStore(url(port), timeout=PATIENT)
    with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        fail_once(store, 3)


def test_a_wrong_password_is_named(port: int, trusted: str) -> None:
    store = RedisStore(url(port, "wrong", ssl_ca_certs=trusted), timeout=PATIENT)
    with pytest.raises(redis.AuthenticationError):
        fail_once(store, 4)


def test_a_server_that_wants_tls_and_is_asked_without_is_an_error_of_redis(port: int) -> None:
    store = RedisStore(f"redis://127.0.0.1:{port}/0", timeout=PATIENT)
    with pytest.raises(redis.RedisError):
        fail_once(store, 5)


@pytest.mark.parametrize("awaited", [False, True], ids=["execute", "aexecute"])
def test_sentinels_are_asked_over_tls(authority: trustme.CA, trusted: str, tmp_path: Path, awaited: bool) -> None:
    async def fail_awaited(store: SentinelStore) -> int:
        found = await store.aexecute([Op(FAIL, b"sg:a:tls", PANEL, number(1), LOGIN + ANNA)], NOW)
        await store.aclose()
        return found[0].counts[0]

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with watched_pair(tmp_path, "counters") as (_, _, sentinel), proxy(sentinel, context) as front:
        where = f"redis+sentinel://127.0.0.1:{front.port}/counters/0?sentinel_tls=true"
        store = SentinelStore(f"{where}&sentinel_ssl_ca_certs={trusted}", timeout=PATIENT)
        assert (asyncio.run(fail_awaited(store)) if awaited else fail_once(store, 1)) == 1
        store.close()
        with pytest.raises(redis.ConnectionError, match="No Sentinel"):
            fail_once(SentinelStore(where, timeout=PATIENT), 2)  # who has signed that?
        # As django-redis' SENTINEL_KWARGS say it, time-outs of their own included.
        plain, kwargs = where.partition("?")[0], {"ssl": True, "ssl_ca_certs": trusted, "socket_timeout": 0.1}
        store = SentinelStore(plain, timeout=PATIENT, sentinel_options=kwargs)
        assert fail_once(store, 3) == 2
        store.close()


@pytest.mark.parametrize("value", ["on", "", "maybe"])
def test_whether_sentinels_are_asked_over_tls_is_no_guess(value: str) -> None:
    with pytest.raises(ValueError, match="sentinel_tls"):
        SentinelStore(f"redis+sentinel://h/counters?sentinel_tls={value}&sentinel_password=secret")


def test_a_cluster_speaks_tls_on_every_node(
    authority: trustme.CA, trusted: str, tmp_path: Path, settings: object
) -> None:
    binary = program_with_tls()
    if binary is None:
        assert shutil.which("redis-server") is None, "redis-server was built without TLS"
        pytest.skip("no server with TLS on PATH: install redis-server or valkey-server")
    certificate = authority.issue_cert("127.0.0.1")
    key = tmp_path / "node.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(key)
    ports: dict[int, int] = {}

    def over_tls(port: int) -> list[str]:
        ports[port] = _free_port()
        files = ["--tls-cert-file", str(key), "--tls-key-file", str(key), "--tls-ca-cert-file", trusted]
        # The nodes talk TLS with each other too: only then do they know each other's ports for it.
        return ["--tls-port", str(ports[port]), "--tls-cluster", "yes", "--tls-auth-clients", "no", *files]

    with cluster(tmp_path / "cluster", over_tls, binary) as plain:
        where = ",".join(f"127.0.0.1:{ports[port]}" for port in plain[:2])
        settings.SECGUARD = {"REDIS_URL": f"rediss+cluster://{where}?ssl_ca_certs={trusted}", "STORE_TIMEOUT": PATIENT}  # type: ignore[attr-defined]
        store = choose_store()
        keys = [b"sg:a:%d" % n for n in range(30)]
        ops = [Op(FAIL, key, PANEL, number(n), LOGIN + ANNA) for n, key in enumerate(keys)]
        assert [reply.counts for reply in store.execute(ops, NOW)] == [(1,)] * len(keys)
        assert [reply.counts for reply in store.execute([Op(READ, key, PANEL) for key in keys], NOW)] == [(1,)] * 30
        for port in plain:
            with redis.Redis(port=port) as client:
                assert client.dbsize() > 0
        store.close()  # type: ignore[attr-defined]
