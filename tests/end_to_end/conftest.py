"""A site, guarded, behind both entry points and on two stores."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from secguard import pipeline
from secguard.blocking.refusals import RefusalLog
from secguard.blocking.replica import Replica
from secguard.emit import security_logger
from secguard.formatters import SecurityJsonFormatter
from secguard.testing import CapturedEvents, ManualClock, capture_events
from tests.end_to_end import backends
from tests.end_to_end.entry import ENTRIES, RIGHT, Entry, Visitor

#: Long enough for a busy machine: only the tests of outages are about the store's time-out.
PATIENT = 10
GUARD_AND_COUNTING = ["secguard.backends.SecurityGuardBackend", "tests.end_to_end.backends.CountingBackend"]


class Configure:
    """Sets SECGUARD: the store, and what the test says. A change begins with new counters and blocks."""

    def __init__(self, settings: Any, store: dict[str, Any], clock: ManualClock) -> None:
        self._settings, self._store, self._clock = settings, store, clock
        self.before_change: list[Callable[[], None]] = []

    def __call__(self, **secguard: Any) -> None:
        for prepare in self.before_change:
            prepare()
        self._settings.SECGUARD = {**self._store, **secguard}
        pipeline.get_replica.value = Replica(self._clock)
        pipeline.get_refusals.value = RefusalLog(self._clock)


Visit = Callable[..., Visitor]


@pytest.fixture(params=["memory", "redis"])
def store_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The part of SECGUARD that chooses where the counters live."""
    if request.param == "memory":
        return {}
    return {"REDIS_URL": request.getfixturevalue("empty_redis"), "STORE_TIMEOUT": PATIENT}


@pytest.fixture
def clock() -> ManualClock:
    """The clock of the blocks and of the refusals' log. The counters' own is their store's."""
    return ManualClock()


@pytest.fixture
def configure(settings: Any, store_settings: dict[str, Any], clock: ManualClock) -> Configure:
    configure = Configure(settings, store_settings, clock)
    configure()
    settings.AUTHENTICATION_BACKENDS = GUARD_AND_COUNTING
    return configure


@pytest.fixture(params=list(ENTRIES))
def entry(request: pytest.FixtureRequest, transactional_db: None, configure: Configure) -> Iterator[Entry]:
    # Transactions are real: what the guard does after one, and on its commit, is part of what is tested.
    entry = ENTRIES[request.param]()
    configure.before_change.append(entry.hang_up)
    yield entry
    entry.close()


@pytest.fixture
def visit(entry: Entry) -> Visit:
    """Makes a visitor: ``visit("192.0.2.7")``."""
    return entry.visitor


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    return visit()


@pytest.fixture
def anna(transactional_db: None) -> User:
    return User.objects.create_user("anna", "anna@example.com", RIGHT)


@pytest.fixture
def bert(transactional_db: None) -> User:
    return User.objects.create_user("bert", "bert@example.com", RIGHT)


@pytest.fixture
def checked() -> Iterator[list[object]]:
    """The user names whose passwords were looked at."""
    backends.checked.clear()
    yield backends.checked
    backends.checked.clear()


@pytest.fixture
def events() -> Iterator[CapturedEvents]:
    with capture_events() as captured:
        yield captured


class Lines:
    """What the log got. Called: parsed, since each line has to be valid JSON."""

    def __init__(self) -> None:
        self.stream = io.StringIO(newline="")

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def __call__(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.split("\n")[:-1]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines = Lines()
    handler = logging.StreamHandler(lines.stream)
    handler.setFormatter(SecurityJsonFormatter())
    security_logger.addHandler(handler)
    yield lines
    security_logger.removeHandler(handler)


@pytest.fixture
def own_templates(settings: Any) -> None:
    """A project that has a page of its own for the refused."""
    folder = Path(__file__).parents[1] / "templates" / "overridden"
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [folder, *settings.TEMPLATES[0].get("DIRS", [])]}]
