"""Sites with other apps than the tests' own: each stack has its settings and is run by a process of its own.

A stack is a folder here with ``settings.py``, ``urls.py`` and tests. ``test_stacks.py`` runs them all; one alone::

    python -m pytest --ds=tests.stacks.drf.settings tests/stacks/drf

Tests drive a live server over HTTP: ``browse()`` makes a visitor, ``browse("198.51.100.9")`` one at that address;
``events`` holds what was logged; ``anna`` is a user whose password is ``RIGHT``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from secguard.testing import CapturedEvents, capture_events
from tests.stacks.browser import Browser

HERE = Path(__file__).parent
RIGHT, WRONG = "correct horse battery staple", "guess"
ADDRESS = "192.0.2.1"
Browse = Callable[..., Browser]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A stack's tests need its settings."""
    for folder in (collection_path, *collection_path.parents):
        if folder.parent == HERE and (folder / "settings.py").exists():
            return str(config.getini("DJANGO_SETTINGS_MODULE")) != module_of(folder) and _active() != module_of(folder)
    return None


def module_of(folder: Path) -> str:
    return f"tests.stacks.{folder.name}.settings"


def _active() -> str:
    import os

    return os.environ.get("DJANGO_SETTINGS_MODULE", "")


@pytest.fixture
def browse(live_server: Any, transactional_db: None) -> Browse:
    """Makes a visitor of the live server, with cookies of its own."""

    def visitor(address: str = ADDRESS) -> Browser:
        return Browser(live_server.url, address)

    return visitor


@pytest.fixture
def events(transactional_db: None) -> Iterator[CapturedEvents]:
    with capture_events() as captured:
        yield captured


@pytest.fixture
def anna(transactional_db: None) -> User:
    return User.objects.create_user("anna", "anna@example.com", RIGHT)


@pytest.fixture
def bert(transactional_db: None) -> User:
    return User.objects.create_user("bert", "bert@example.com", RIGHT)
