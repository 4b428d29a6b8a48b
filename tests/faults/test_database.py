"""The database locked, full, read-only and gone: users get what bare Django gives them, and nothing decided is lost."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from secguard.events import NUMEROUS
from secguard.records import TOKEN
from secguard.stores import RedisStore
from tests.end_to_end.serving import Served, until
from tests.faults import database as faults
from tests.faults.database import Database, Fault
from tests.faults.report import Row, rows
from tests.faults.traffic import LIMIT, Traffic, one_process
from tests.stores.several import running

BLOCKED, NEWCOMER = "198.51.100.2", "198.51.100.3"
#: A page that no table has room for comes after so many more blocks at the latest.
MANY = 60


@dataclass
class Episode:
    """What the guarded site and a bare one answered, what was logged, and what is rows in the end."""

    fault: Fault
    guarded: dict[str, list[int]] = field(default_factory=dict)
    bare: dict[str, list[int]] = field(default_factory=dict)
    blocked: list[int] = field(default_factory=list)
    newcomer: list[int] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    saved: int = 0
    recorded: set[UUID] = field(default_factory=set)

    def of(self, event_type: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event_type"] == event_type]


@contextmanager
def site(
    folder: Path, it: Database, store: str, *, bare: bool = False, **options: Any
) -> Iterator[tuple[Traffic, Served]]:
    """The test site on this database, in one process; sessions are cookies, so that only we write much."""
    folder.mkdir(exist_ok=True)
    settings = {**it.settings, "OPTIONS": {**it.settings.get("OPTIONS", {}), **options}}
    extra = {"SERVED_DATABASE": json.dumps(settings), "SERVED_SESSIONS": "signed_cookies"}
    served = Served(folder, folder / "unused", store, {**extra, **({"SERVED_BARE": "1"} if bare else {})})
    with one_process("gunicorn", served, SYNC_INTERVAL=0.05) as traffic:
        yield traffic, served


def visit(traffic: Traffic, network: str) -> dict[str, list[int]]:
    return {
        "pages": [traffic.page(f"{network}.1") for _ in range(5)],
        "right": traffic.honest(network, 3)[0],
        "wrong": traffic.guess(f"{network}.9", 2),
    }


def announce(store: str) -> None:
    told = RedisStore(store, timeout=30)
    told.set_token(TOKEN, f"news {uuid4()}")
    told.close()


def suffer(fault: Fault, it: Database, folder: Path, store: str, row: Row) -> Episode:
    episode = Episode(fault)
    with ExitStack() as stack:
        bare, _ = stack.enter_context(site(folder / "bare", it, store, bare=True, **fault.options))
        if not fault.ends:
            with site(folder / "before", it, store) as (traffic, _):
                assert traffic.guess(BLOCKED, LIMIT + 1) == [200] * LIMIT + [403]
        traffic, served = stack.enter_context(site(folder / "guarded", it, store, **fault.options))
        if fault.ends:
            assert traffic.guess(BLOCKED, LIMIT + 1) == [200] * LIMIT + [403]
        _, row.before = traffic.honest("192.0.2", 12)
        with fault.inflict(it):
            episode.guarded, episode.bare = visit(traffic, "192.0.3"), visit(bare, "192.0.3")
            _, row.during = traffic.honest("192.0.4", 12)
            # Another process says that the blocks have changed: this one wants to read them.
            announce(store)
            episode.blocked = [traffic.page(BLOCKED) for _ in range(3)]
            episode.newcomer = traffic.guess(NEWCOMER, LIMIT + 2)
            for number in range(MANY):
                if served.logged("degraded"):
                    break
                traffic.guess(f"198.51.101.{number}", LIMIT)
        if fault.ends:
            until(lambda: traffic.page("192.0.5.1") == 200 and bool(served.logged("recovered")), "it is used again")
        row.statuses = traffic.statuses
    episode.events = served.events
    episode.saved = len(it.values("secguard_block", "id"))
    episode.recorded = {UUID(event_id) for event_id in it.values("secguard_eventrecord", "event_id")}
    row.events = Counter(event["event_type"] for event in episode.events)
    row.counts = f"{episode.saved} blocks saved"
    rows.append(row)
    return episode


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = faults._free_port()
    with running(tmp_path_factory.mktemp("store") / "store", port, "--save", "", "--databases", "64"):
        yield port


CASES = [("sqlite", each) for each in faults.SQLITE_FAULTS] + [("postgresql", each) for each in faults.POSTGRES_FAULTS]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1].name.replace(' ', '-')}")
def episode(
    request: pytest.FixtureRequest, store: int, tmp_path_factory: pytest.TempPathFactory, database: Path
) -> Episode:
    engine, fault = request.param
    folder = tmp_path_factory.mktemp("fault")
    url = f"redis://127.0.0.1:{store}/{CASES.index(request.param)}"
    row = Row(f"{engine}: {fault.name}", "gunicorn")
    if engine == "sqlite":
        (folder / "database").mkdir()
        return suffer(fault, faults.sqlite(Path(shutil.copy(database, folder / "database"))), folder, url, row)
    server = faults.postgres_url()
    if server is None:
        pytest.skip("there is no PostgreSQL here: name one in SECGUARD_TEST_POSTGRES_URL")
    with faults.postgres(server) as it:
        served = Served(folder, folder / "unused", url, {"SERVED_DATABASE": json.dumps(it.settings)})
        faults.fill(it.settings, served.environment({}, hasher="django.contrib.auth.hashers.MD5PasswordHasher"))
        return suffer(fault, it, folder, url, row)


class TestAFaultOfTheDatabase:
    def test_answers_what_bare_django_answers(self, episode: Episode) -> None:
        assert episode.guarded == episode.bare
        assert set(episode.guarded["pages"]) == {200}

    def test_lifts_no_block(self, episode: Episode) -> None:
        assert episode.blocked == [403] * 3

    def test_stops_no_limit(self, episode: Episode) -> None:
        answer = episode.bare["wrong"][0]
        assert episode.newcomer == [answer] * LIMIT + [403] * 2

    def test_is_told_once_by_its_name(self, episode: Episode) -> None:
        (degraded,) = episode.of("degraded")
        assert degraded["component"] == "database"
        assert episode.fault.named in degraded["error"]

    def test_is_told_to_be_over_and_loses_no_row(self, episode: Episode) -> None:
        if not episode.fault.ends:
            assert not episode.of("recovered")
            return
        (recovered,) = episode.of("recovered")
        assert (recovered["component"], recovered["lost_rows"]) == ("database", 0)
        assert episode.saved == len({event["subject"] for event in episode.of("address_blocked")})

    def test_loses_no_event_that_is_to_be_recorded(self, episode: Episode) -> None:
        if episode.fault.ends:
            unsaved = [event for event in episode.events if UUID(event["event_id"]) not in episode.recorded]
            assert [event["event_type"] for event in unsaved if event["event_type"] not in NUMEROUS] == []
