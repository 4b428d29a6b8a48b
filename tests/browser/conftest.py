"""A site under gunicorn, and a Chromium to look at it with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from sample_project.demo.servers import ROOT, Site, site
from tests.browser.chromium import NAMES, Person, installed, started
from tests.browser.places import write_countries
from tests.end_to_end.serving import migrated_database

_MISSING = (
    f"no Chromium was found: install one of {', '.join(NAMES)}, or let SECGUARD_TEST_CHROMIUM name the program. "
    "The pages of the admin were not looked at in a browser."
)

Somebody = Callable[..., Person]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = installed()
    if program is None and os.environ.get("SECGUARD_REQUIRE_BROWSER") == "1":
        pytest.fail(_MISSING)
    if program is None:
        pytest.skip(_MISSING)
    with started(program) as browser:
        yield browser


@pytest.fixture(scope="module")
def running(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The sample site, with nothing in its database but its accounts."""
    folder = tmp_path_factory.mktemp("browser")
    database = migrated_database(folder / "site.sqlite3")
    guard = {
        "TRUSTED_PROXIES": ["127.0.0.1"],
        "GEOIP_PATH": str(write_countries(folder / "countries.mmdb")),
        "STORE_TIMEOUT": 10,
    }
    with site(folder / "site", database, redis_url, guard) as running:
        yield running


@pytest.fixture
def somebody(browser: Browser, running: Site) -> Iterator[Somebody]:
    """Makes a person: ``somebody("192.0.2.200")``."""
    people: list[Person] = []

    def somebody(address: str = "192.0.2.200", **options: Any) -> Person:
        people.append(Person(browser, running.port, address, **options))
        return people[-1]

    yield somebody
    for person in people:
        person.context.close()


def manage(running: Site, code: str, **secguard: Any) -> None:
    """Run code with the site's database: in a process of its own, since a browser's event loop runs in this one."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "sample_project.settings",
        "SAMPLE_DB": str(database_of(running)),
        "REDIS_URL": "",
        "SAMPLE_SECGUARD": json.dumps(secguard),
    }
    done = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{code}"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def database_of(running: Site) -> Path:
    return running.folder.parent / "site.sqlite3"
