"""Every stack of packages, each in a process with its own settings."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import django
import pytest

HERE = Path(__file__).parent
#: Stacks whose package needs a newer Django than the oldest that is supported.
NEEDS = {"health_check": (5, 2)}
STACKS = sorted(
    path.parent.name for path in HERE.glob("*/settings.py") if NEEDS.get(path.parent.name, (0, 0)) <= django.VERSION[:2]
)


@pytest.mark.slow
@pytest.mark.parametrize("stack", STACKS)
def test_the_tests_of_a_stack_pass(stack: str) -> None:
    settings = f"tests.stacks.{stack}.settings"
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        f"--ds={settings}",
        f"tests/stacks/{stack}",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        command, cwd=HERE.parent.parent, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b[1-9]\d* passed\b", done.stdout), done.stdout
    assert "skipped" not in done.stdout, done.stdout


def test_there_are_stacks() -> None:
    assert STACKS
