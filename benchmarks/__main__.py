"""Times bare Django and secguard in turn, and prints what secguard adds. Nothing here passes or fails."""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import redis

from benchmarks import addresses, capacity
from benchmarks.processes import Worker
from sample_project.demo.servers import redis_protocol_server

#: Scenario → requests in a chunk. A chunk of secguard stands between two of bare Django, whose mean is
#: subtracted: what drifts more slowly than a chunk takes cancels out.
SCENARIOS = {
    "clean": 100,
    "clean, 10,000 addresses": 100,
    "failed login": 30,
    "right login": 15,
    "refused login": 50,
    "refused page": 100,
}
ROUNDS = 20
PAIRS = 5_000
#: Rounds of wrong logins, and how many in a chunk. They are compared within a round.
LOGIN_ROUNDS, LOGIN_CHUNK = 200, 10

#: Hides nothing of what is beside it.
FAST_HASHER = "django.contrib.auth.hashers.MD5PasswordHasher"
#: Dear enough to show where one kind of login is spared it.
SLOW_HASHER = "benchmarks.hashers.BriefPBKDF2PasswordHasher"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with redis_protocol_server(folder) as (url, described):
            versions = ", ".join(f"{name} {version(name)}" for name in ("Django", "redis", "hiredis"))
            print(f"Python {platform.python_version()}, {versions}, {described}.")
            with _workers(url, folder, FAST_HASHER) as (bare, guarded):
                guarded.ask("block")
                _print_times(bare, guarded)
                _print_counts(guarded)
                _print_memory(guarded, url)
                capacity.print_capacity(guarded, url)
            with _workers(url, folder, SLOW_HASHER) as (bare, guarded):
                _print_wrong_logins(bare, guarded)
    addresses.print_times()
    capacity.print_waiting()
    sys.stdout.flush()
    # In a process of its own, whose memory is nobody else's.
    subprocess.run([sys.executable, "-m", "benchmarks.blocklist", *sys.argv[1:]], check=True)


@contextmanager
def _workers(url: str, folder: Path, hasher: str) -> Iterator[tuple[Worker, Worker]]:
    bare, guarded = _worker("bare", url, folder, hasher), _worker("secguard", url, folder, hasher)
    try:
        yield bare, guarded
    finally:
        bare.close()
        guarded.close()


def _worker(variant: str, url: str, folder: Path, hasher: str) -> Worker:
    return Worker(variant, folder, "benchmarks.worker", variant, url, str(folder / f"{variant}.log"), hasher)


def _print_times(bare: Worker, guarded: Worker) -> None:
    print(f"\n{'request':<26}{'bare µs':>9}{'secguard µs':>13}{'added µs':>10}{'ratio':>8}  status")
    for scenario, size in SCENARIOS.items():
        for worker in (bare, guarded):
            worker.ask("measure", scenario=scenario, count=size)
        times: list[tuple[float, float]] = []
        answer: dict[str, Any] = {}
        before = _chunk(bare, scenario, size)["median"]
        for _ in range(ROUNDS):
            answer = _chunk(guarded, scenario, size)
            after = _chunk(bare, scenario, size)["median"]
            times.append(((before + after) / 2, answer["median"]))
            before = after
        floor, cost = median(low for low, _ in times), median(high for _, high in times)
        added, ratio = median(high - low for low, high in times), median(high / low for low, high in times)
        print(f"{scenario:<26}{floor:>9.0f}{cost:>13.0f}{added:>+10.1f}{ratio:>8.2f}  {answer['status']}")


def _chunk(worker: Worker, scenario: str, size: int) -> dict[str, Any]:
    answer = worker.ask("measure", scenario=scenario, count=size)
    return {"median": median(answer["ns"]) / 1000, "status": answer["status"]}


def _print_counts(guarded: Worker) -> None:
    print(f"\n{'request':<26}{'writes to the store':>20}{'SQL':>6}   (bare Django: 1 SQL for a failed login)")
    for scenario in SCENARIOS:
        found = guarded.ask("count", scenario=scenario, count=20)
        print(f"{scenario:<26}{found['sends']:>20}{found['sql']:>6}")


def _print_memory(guarded: Worker, url: str) -> None:
    with redis.Redis.from_url(url) as client:
        before = client.info("memory")["used_memory"]
        guarded.ask("measure", scenario="failed login", count=PAIRS)
        after = client.info("memory")["used_memory"]
    print(f"\nMemory in the store: {(after - before) / PAIRS:.0f} bytes for each address and account that failed once")


def _print_wrong_logins(bare: Worker, guarded: Worker) -> None:
    """Does the time of an answer tell whether there is such an account?

    Beside each median stands the one of the differences from the round's first known account; that of the second
    known account is noise.
    """
    times: dict[str, dict[str, list[float]]] = {"bare": {}, "secguard": {}}
    status: dict[str, str] = {}
    for worker in (bare, guarded):
        worker.ask("populate", accounts=2 * (LOGIN_ROUNDS + LOGIN_CHUNK))
    guarded.ask("attack")
    for worker in (bare, guarded):
        worker.ask("wrong_logins", rounds=LOGIN_CHUNK)
    for _ in range(LOGIN_ROUNDS // LOGIN_CHUNK):
        for worker, found in zip((bare, guarded), times.values(), strict=True):
            for kind, answers in worker.ask("wrong_logins", rounds=LOGIN_CHUNK).items():
                found.setdefault(kind, []).extend(ns / 1000 for ns in answers["ns"])
                status[kind] = answers["status"]
    print(f"\n{'wrong login':<30}{'bare µs':>9}{'differs':>9}{'secguard µs':>13}{'differs':>9}  status")
    for kind, answered in status.items():
        print(f"{kind:<30}", end="")
        for width, found in zip((9, 13), times.values(), strict=True):
            base = found["known account"]
            differs = median(mine - other for mine, other in zip(found[kind], base, strict=True))
            print(f"{median(found[kind]):>{width}.0f}{differs:>+9.1f}", end="")
        print(f"  {answered}")


if __name__ == "__main__":
    main()
