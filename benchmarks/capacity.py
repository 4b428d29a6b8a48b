"""What an attempt costs the store, and what waiting costs a site under attack: the figures of docs/scaling.md."""

from __future__ import annotations

import http.client
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import redis

from benchmarks.processes import Worker
from sample_project.demo.servers import redis_protocol_server

ATTEMPTS = 3_000
BURST, LIMIT = 100, 5


def print_capacity(guarded: Worker, url: str) -> None:
    """Calls, bytes and the server's processor time for each attempt, one after the other."""
    print(f"\n{'store, for each':<26}{'calls':>9}{'bytes in':>10}{'bytes out':>11}{'CPU µs':>8}{'script µs':>11}")
    with redis.Redis.from_url(url) as client:
        for scenario in ("failed login", "right login", "clean"):
            guarded.ask("measure", scenario=scenario, count=200)
            before = _read(client)
            guarded.ask("measure", scenario=scenario, count=ATTEMPTS)
            after = _read(client)
            each = [(now - then) / ATTEMPTS for then, now in zip(before, after, strict=True)]
            print(f"{scenario:<26}{each[0]:>9.2f}{each[1]:>10.0f}{each[2]:>11.0f}{each[3]:>8.0f}{each[4]:>11.0f}")


def _read(client: redis.Redis) -> list[float]:
    """Calls of the script, bytes in and out, microseconds of the processor, and of those in the script."""
    stats, cpu = client.info("stats"), client.info("cpu")
    commands = client.info("commandstats")
    scripts = [commands.get(f"cmdstat_{name}", {"calls": 0, "usec": 0}) for name in ("eval", "evalsha")]
    # Those that a script runs are counted by the server as well: what is sent are the scripts.
    asked, script = (sum(each[what] for each in scripts) for what in ("calls", "usec"))
    used = (cpu["used_cpu_user"] + cpu["used_cpu_sys"]) * 1e6
    return [asked, stats["total_net_input_bytes"], stats["total_net_output_bytes"], used, script]


def print_waiting() -> None:
    """A hundred parallel guesses at once: how long they hold a server's threads, with and without secguard."""
    from tests.end_to_end.serving import Served, gunicorn, migrated_database

    print(f"\n{BURST} parallel guesses at 4 processes of 30 threads, PBKDF2 of about 100 ms:")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with redis_protocol_server(folder) as (url, _):
            database = migrated_database(folder / "db.sqlite3")
            for guard, extra in (("bare Django", {"SERVED_BARE": "1"}), ("secguard", {})):
                (folder / guard).mkdir()
                served = Served(folder / guard, database, url, extra)
                with gunicorn(served, STORE_TIMEOUT=0.05, RESERVE_WAIT=10) as port:
                    began = time.perf_counter()
                    with ThreadPoolExecutor(BURST) as crowd:
                        answers = list(crowd.map(_guess, [port] * BURST, range(BURST)))
                    whole = time.perf_counter() - began
                held = sum(seconds for _, seconds in answers)
                statuses = dict(Counter(status for status, _ in answers))
                print(
                    f"{guard:<14} all answered after {whole:5.1f} s; threads held for {held:6.1f} s in all, "
                    f"{max(seconds for _, seconds in answers):.1f} s at most; "
                    f"{served.password_checks} passwords checked; {statuses}"
                )


def _guess(port: int, number: int) -> tuple[int, float]:
    began = time.perf_counter()
    headers = {"X-Forwarded-For": "198.51.100.9", "Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({"username": "dave", "password": f"guess {number}"})
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        connection.request("POST", "/sync/log_in/", body, headers)
        status = connection.getresponse().status
    return status, time.perf_counter() - began


if __name__ == "__main__":
    print_waiting()
