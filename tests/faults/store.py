"""A store's server of a test's own, and everything that can go wrong with one."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.conftest import _free_port
from tests.end_to_end.serving import until
from tests.faults.proxy import Proxy, proxy
from tests.stores.several import SLOTS, answers, program

#: Keys that are there to be loaded, and how many microseconds each takes: a minute in all.
FILLING, LOAD_DELAY = 6_000, 10_000


class StoreServer:
    """A real server behind a proxy. ``url`` leads through the proxy, ``client`` does not."""

    def __init__(self, folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self._folder, self._options, self._port = folder, options, _free_port()
        self._environment = {**os.environ, **(environment or {})}
        if "--cluster-enabled" in options:
            self._options = (*options, "--cluster-port", str(_free_port()))  # theirs may be beyond the last there is
        folder.mkdir()
        self.start()
        self.client = redis.Redis(port=self._port, socket_timeout=30)

    def start(self) -> None:
        command = [program(), "--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--save", "", "--enable-debug-command", "yes", *self._options]
        with (self._folder.parent / f"{self._folder.name}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)
        try:
            until(lambda: answers(self._port), "the store's server answers")
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGCONT)
        self.kill()
        self.client.close()

    def hang_up(self) -> None:
        """All other clients have to connect anew."""
        self.client.execute_command("CLIENT KILL TYPE normal")

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def port(self) -> int:
        return self._port


@dataclass
class Torture:
    """The server and the proxy that a fault works on. ``is_noticed``: has the site met it?"""

    server: StoreServer
    proxy: Proxy
    is_noticed: Callable[[], bool] = lambda: True

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.proxy.port}/0"


@contextmanager
def tortured(folder: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Torture]:
    with ExitStack() as stack:
        server = StoreServer(folder, *options, environment=environment)
        stack.callback(server.close)
        yield Torture(server, stack.enter_context(proxy(server.port)))


# -- what goes wrong: each is in force as long as its block lasts ---------------------------------------------------


@contextmanager
def killed(it: Torture) -> Iterator[None]:
    it.server.kill()
    yield
    it.server.start()


@contextmanager
def hung(it: Torture) -> Iterator[None]:
    os.kill(it.server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(it.server.process.pid, signal.SIGCONT)


@contextmanager
def slow(it: Torture) -> Iterator[None]:
    """Far later than on any machine, however busy, an answer may come."""
    it.proxy.delay = 60.0
    try:
        yield
    finally:
        it.proxy.delay = 0.0
        it.proxy.hang_up()


@contextmanager
def talking_nonsense(it: Torture) -> Iterator[None]:
    it.proxy.garbles = True
    try:
        yield
    finally:
        it.proxy.garbles = False


@contextmanager
def cut_off(it: Torture) -> Iterator[None]:
    it.proxy.cuts = True
    try:
        yield
    finally:
        it.proxy.cuts = False


@contextmanager
def out_of_memory(it: Torture) -> Iterator[None]:
    it.server.client.config_set("maxmemory", 1)
    yield
    it.server.client.config_set("maxmemory", 0)


@contextmanager
def read_only(it: Torture) -> Iterator[None]:
    """It follows a server that is not there, and still says what it knows."""
    it.server.client.execute_command("REPLICAOF", "127.0.0.1", _free_port())
    yield
    it.server.client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def without_its_primary(it: Torture) -> Iterator[None]:
    """It follows a server that is not there, and says nothing."""
    it.server.client.config_set("replica-serve-stale-data", "no")
    with read_only(it):
        yield


@contextmanager
def loading(it: Torture) -> Iterator[None]:
    client = it.server.client
    with client.pipeline() as filling:
        for number in range(FILLING):
            filling.set(f"filling:{number}", os.urandom(2_000))  # it looks at its clients after so many bytes
        filling.execute()
    client.config_set("loading-process-events-interval-bytes", 1_024)
    client.config_set("key-load-delay", LOAD_DELAY)
    with redis.Redis(port=it.server.port) as another:
        reloading = threading.Thread(target=another.execute_command, args=("DEBUG", "RELOAD"))
        reloading.start()
        until(lambda: bool(client.info("persistence")["loading"]), "the server loads")
        yield
        assert client.info("persistence")["loading"], "the server had loaded everything before the test was over"
        client.config_set("key-load-delay", 0)
        reloading.join()


@contextmanager
def cluster_down(it: Torture) -> Iterator[None]:
    it.server.client.execute_command("CLUSTER", "DELSLOTSRANGE", 0, SLOTS - 1)
    yield
    it.server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
    until(lambda: it.server.client.cluster("INFO")["cluster_state"] == "ok", "the cluster is complete")


@contextmanager
def asking_for_a_password(it: Torture) -> Iterator[None]:
    it.server.client.config_set("requirepass", "changed")
    it.server.hang_up()
    it.proxy.hang_up()
    with redis.Redis(port=it.server.port, password="changed") as client:
        it.is_noticed = lambda: "errorstat_NOAUTH" in client.info("errorstats")
        yield
        client.config_set("requirepass", "")


@contextmanager
def forbidding(it: Torture) -> Iterator[None]:
    it.server.client.execute_command("ACL", "SETUSER", "default", "-@scripting")
    yield
    it.server.client.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def unable_to_save(it: Torture) -> Iterator[None]:
    """A full disk: a server that is to save, and could not, takes no writes."""
    client = it.server.client
    in_the_way = it.server.folder / "dump.rdb"
    in_the_way.mkdir()
    client.config_set("save", "3600 1000000")
    client.bgsave()
    until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "the server could not save")
    yield
    in_the_way.rmdir()
    client.config_set("save", "")


@contextmanager
def busy_with_a_script(it: Torture) -> Iterator[None]:
    client = it.server.client
    client.config_set("busy-reply-threshold", 1)
    with redis.Redis(port=it.server.port) as another, suppress(redis.RedisError):
        running = threading.Thread(target=_run_for_ever, args=(another,))
        running.start()
        until(lambda: _is_busy(client), "the server is busy")
        yield
        client.script_kill()
        running.join()


def _run_for_ever(client: redis.Redis) -> None:
    with suppress(redis.RedisError):
        client.eval("while true do end", 0)


def _is_busy(client: redis.Redis) -> bool:
    try:
        return not client.ping()
    except redis.ResponseError as error:
        return "BUSY" in str(error)


@contextmanager
def full_of_clients(it: Torture) -> Iterator[None]:
    it.server.hang_up()
    it.server.client.config_set("maxclients", 1)
    it.proxy.hang_up()
    refused = it.server.client.info("stats")["rejected_connections"]
    it.is_noticed = lambda: it.server.client.info("stats")["rejected_connections"] > refused
    yield
    it.server.client.config_set("maxclients", 10_000)


@dataclass(frozen=True)
class Fault:
    """``named``: what the log says of it. ``may_write``: what was asked meanwhile may be done all the same.
    ``is_answered``: the server says that something is wrong, and what.
    """

    inflict: Callable[[Torture], AbstractContextManager[None]]
    named: str
    options: tuple[str, ...] = ()
    forgets: bool = False
    may_write: bool = False
    is_answered: bool = False

    @property
    def name(self) -> str:
        return self.inflict.__name__.replace("_", " ")


FAULTS = [
    Fault(killed, "Connection closed by server", forgets=True),  # as the proxy in front does it
    Fault(hung, "Timeout", may_write=True),
    Fault(slow, "Timeout", may_write=True),
    Fault(talking_nonsense, "Protocol", may_write=True),
    Fault(cut_off, "Connection closed by server", may_write=True),
    Fault(out_of_memory, "maxmemory"),
    Fault(read_only, "ReadOnly", is_answered=True),
    Fault(without_its_primary, "MASTER", is_answered=True),
    Fault(loading, "oading", is_answered=True),
    Fault(cluster_down, "ClusterDown", ("--cluster-enabled", "yes")),
    Fault(asking_for_a_password, "Authentication"),
    Fault(forbidding, "permission", is_answered=True),
    Fault(unable_to_save, "MISCONF", is_answered=True),
    Fault(busy_with_a_script, "BUSY", is_answered=True),
    Fault(full_of_clients, "max number of clients", is_answered=True),
]
