"""Nobody sits anywhere, unless a test says so; and the command as operators run it, in a process of its own."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

ROOT = Path(__file__).parent.parent.parent
SITE = """
SECRET_KEY = "x" * 50
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions", "secguard"
]
MIDDLEWARE = [
    "secguard.middleware.SecurityGuardMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
AUTHENTICATION_BACKENDS = ["secguard.backends.GuardedModelBackend"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": {database!r}}}}}
CACHES = {{"default": {{"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}}}
SECGUARD = {{}}
{more}
"""

Manage = Callable[..., "CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def _nobody_sits_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_CLIENT", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())


def manage_in(directory: Path) -> Manage:
    """Run manage.py on a site whose settings end with ``more``."""

    def manage(*arguments: str, more: str = "", given: str = "", **environment: str) -> CompletedProcess[str]:
        settings = SITE.format(database=str(directory / "db.sqlite3"), more=more)
        (directory / "site_settings.py").write_text(settings, encoding="utf-8")
        environment = {"DJANGO_SETTINGS_MODULE": "site_settings", "PYTHONDONTWRITEBYTECODE": "1", **environment}
        return subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)]), **environment},
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return manage


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the tables in it."""
    directory = tmp_path_factory.mktemp("site")
    done = manage_in(directory)("migrate", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    return directory / "db.sqlite3"


@pytest.fixture
def manage(migrated: Path, tmp_path: Path) -> Manage:
    shutil.copy(migrated, tmp_path / "db.sqlite3")
    return manage_in(tmp_path)
