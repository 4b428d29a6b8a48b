"""On what, and with what, it was measured."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.candidates import CANDIDATES

OTHERS = ("Django", "redis", "hiredis", "django-redis", "gunicorn")


def machine() -> str:
    return f"{_model()}, {os.cpu_count()} cores, {platform.system()}"


def load() -> str:
    """How many processes wanted to run, over the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def versions(store: str) -> str:
    packages = dict.fromkeys([*(name for candidate in CANDIDATES for name in candidate.packages), *OTHERS])
    named = [f"{name} {version(name)}" for name in packages]
    return ", ".join([f"Python {platform.python_version()}", *named, store])


def _model() -> str:
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
