"""``python -m sample_project.demo [--serve]``: exits non-zero if anything was not as promised."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from sample_project.accounts import PASSWORD, PEOPLE, STAFF
from sample_project.demo import scenarios
from sample_project.demo.report import Outcome, table
from sample_project.demo.servers import (
    THREADS,
    WORKERS,
    DemoError,
    Site,
    create_database,
    preferred_port,
    redis_protocol_server,
    site,
)

#: Far more than a slow machine needs; a demo that hangs must end all the same.
LONGEST_SECONDS = 240
PREFERRED_PORT = 8000


def main() -> int:
    parser = argparse.ArgumentParser(prog="sample_project.demo", description="Attack the sample site.")
    parser.add_argument("--serve", action="store_true", help="leave the site running until Ctrl-C")
    arguments = parser.parse_args()
    # A terminated demo stops its servers too, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(LONGEST_SECONDS)
    try:
        return run(serve_afterwards=arguments.serve)
    except DemoError as error:
        print(f"\nThe demo could not run. {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def run(*, serve_afterwards: bool) -> int:
    began = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="secguard-demo-")))
        redis_url, described = stack.enter_context(redis_protocol_server(folder))
        print(f"Store: {described}. Database: SQLite.", flush=True)
        database = folder / "site.sqlite3"
        create_database(database, office=scenarios.OFFICE)

        outcomes = _attack(folder, database, redis_url)
        print(f"\n{table(outcomes)}\n\n{_explanation()}")
        broken = [promise for outcome in outcomes for promise in outcome.broken]
        print(f"\n{_verdict(broken)} ({time.monotonic() - began:.0f} s)", flush=True)
        if broken:
            return 1
        if serve_afterwards:
            signal.alarm(0)
            _serve(folder, database, redis_url)
    return 0


def _attack(folder: Path, database: Path, redis_url: str) -> list[Outcome]:
    """Run every scenario: on an enforcing site, and on one that locks and one that only looks, with their own data."""
    locking_database, monitored_database = folder / "locking.sqlite3", folder / "monitored.sqlite3"
    shutil.copy(database, locking_database)
    shutil.copy(database, monitored_database)
    # The demo stands where a reverse proxy would, and says in X-Forwarded-For whom it speaks for. A slow
    # machine may need longer for an office's password checks than an attempt waits by default.
    proxied = {"TRUSTED_PROXIES": ["127.0.0.1"], "RESERVE_WAIT": 10}
    locks = {**proxied, "ACCOUNT_LOCKOUT": "unknown_devices", "HMAC_KEY": "another-key-so-that-counters-are-apart"}
    monitor = {**proxied, "MODE": "monitor"}
    outcomes: list[Outcome] = []

    with site(folder / "enforce", database, redis_url, proxied) as enforcing:
        print(f"Site: gunicorn, {WORKERS} workers of {THREADS} threads, on 127.0.0.1:{enforcing.port}.")
        print("Each mark is an answer: . wrong password, + logged in, x refused, ? anything else.\n", flush=True)
        outcomes += [scenario(enforcing) for scenario in scenarios.ENFORCED]
        critical = enforcing.log.critical()
        _show_complaints(enforcing)
    with site(folder / "lock", locking_database, redis_url, locks) as locking:
        outcomes.append(scenarios.lockout(locking))
        critical += locking.log.critical()
        _show_complaints(locking)
    with site(folder / "monitor", monitored_database, redis_url, monitor) as monitoring:
        outcomes.append(scenarios.enumeration(monitoring))
        critical += monitoring.log.critical()
        _show_complaints(monitoring)

    print("\nCRITICAL lines, as logged:")
    print("\n".join(critical) or "(none)")
    return outcomes


def _explanation() -> str:
    return (
        "Requests are attempts to log in; the password checks they made are counted in the hasher, over\n"
        "all workers. The block fell with the first refused answer, and so long after the first request.\n"
        "Latencies are medians: of the refused attempts (those of a burst waited until the checks in\n"
        "flight had failed), and beside them of the login page, asked for by somebody else just before."
    )


def _verdict(broken: list[str]) -> str:
    if not broken:
        return "Everything was as promised."
    return "\n".join(["Not as promised:", *(f"  - {promise}" for promise in broken)])


def _show_complaints(running: Site) -> None:
    if running.complaints:
        print(f"\nThe server complained:\n{running.complaints}", flush=True)


def _serve(folder: Path, database: Path, redis_url: str) -> None:
    """The site for a browser: with no proxy to trust, loopback counts like any other address."""
    with site(folder / "serve", database, redis_url, {}, port=preferred_port(PREFERRED_PORT)) as running:
        print(
            f"\nhttp://127.0.0.1:{running.port}/ is running.\n"
            f"  user      {PEOPLE[0]}, password: {PASSWORD}\n"
            f"  staff     {STAFF}, the same password\n"
            f"  events    {running.folder / 'events.jsonl'}\n"
            "Five wrong passwords, and the sixth attempt is refused for 15 minutes. Ctrl-C stops the site.",
            flush=True,
        )
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("\nStopped.")


def _too_long(*_: object) -> NoReturn:
    raise DemoError(f"It did not end within {LONGEST_SECONDS} s.")


if __name__ == "__main__":
    sys.exit(main())
