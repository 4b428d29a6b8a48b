"""Integrations cost nothing where their package is not in use."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import secguard.integrations
from secguard.integrations import DOORS
from tests.conftest import RunPython

PACKAGES = (
    *("rest_framework", "rest_framework_simplejwt", "dj_rest_auth", "allauth", "django_otp", "two_factor"),
    *("axes", "defender", "django_ratelimit", "prometheus_client", "django_prometheus", "health_check"),
)
LOOK = """
import sys, django
django.setup()
print(sorted(set(sys.modules) & set({packages!r})), [name for name in sys.modules if "secguard.integrations." in name])
"""


def test_what_is_not_in_use_is_not_imported(run_python: RunPython) -> None:
    done = run_python(LOOK.format(packages=PACKAGES), DJANGO_SETTINGS_MODULE="tests.settings")
    assert done.stdout == "[] ['secguard.integrations.django_admin']\n", done.stderr


@pytest.mark.parametrize(
    ("stack", "doors"),
    [
        ("simplejwt", ["django_admin", "simplejwt"]),
        ("dj_rest_auth", ["django_admin", "dj_rest_auth"]),
        ("allauth", ["django_admin", "allauth", "allauth_mfa"]),
        ("two_factor", ["django_admin", "otp", "two_factor"]),
        ("prometheus", ["django_admin", "prometheus"]),
    ],
)
def test_what_is_in_use_is_loaded_by_itself(run_python: RunPython, stack: str, doors: list[str]) -> None:
    code = "import sys, django; django.setup(); print([n[22:] for n in sys.modules if n.startswith({!r})])"
    settings = f"tests.stacks.{stack}.settings"
    done = run_python(code.format("secguard.integrations."), DJANGO_SETTINGS_MODULE=settings)
    assert sorted(done.stdout.strip()[1:-1].replace("'", "").split(", ")) == sorted(doors), done.stderr
    assert "could not be loaded" not in done.stderr


def test_every_door_is_a_file_that_can_be_opened() -> None:
    folder = Path(secguard.integrations.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert files == {*DOORS, "drf", "health_check"}  # the last two projects name themselves
    assert callable(import_module("secguard.integrations.django_admin").install)
