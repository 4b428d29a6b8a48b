"""A new project, made and served as the pages say."""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from secguard.conf import MODE_VARIABLE
from tests.docs.pages import assignments

#: A project that does what the pages say runs what is installed here.
PROGRAMS = {"python": [sys.executable], "django-admin": [sys.executable, "-m", "django"]}


@dataclass
class Project:
    """A directory in which commands are given."""

    directory: Path

    @property
    def settings(self) -> Path:
        return self.directory / "mysite" / "settings.py"

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """Give a command, as it stands in a page."""
        program, *arguments = line.split()
        if program == "cd":
            self.directory /= arguments[0]
            return subprocess.CompletedProcess(line, 0, "", "")
        command = [*PROGRAMS[program], *arguments]
        return subprocess.run(
            command, cwd=self.directory, env=environment(), capture_output=True, text=True, timeout=120, check=False
        )

    def configure(self, settings: str) -> None:
        """Set what the block sets: in the place where it is set already, or at the end."""
        source = self.settings.read_text(encoding="utf-8")
        lines, there = source.splitlines(), assignments(source)
        new = assignments(settings)
        for name in sorted(there.keys() & new.keys(), key=lambda name: there[name].lineno, reverse=True):
            lines[there[name].lineno - 1 : there[name].end_lineno] = [ast.unparse(new.pop(name))]
        self.settings.write_text("\n".join([*lines, *map(ast.unparse, new.values()), ""]), encoding="utf-8")

    def append(self, settings: str) -> None:
        with self.settings.open("a", encoding="utf-8") as file:
            file.write("\n" + settings)


def environment() -> dict[str, str]:
    hidden = {"DJANGO_SETTINGS_MODULE", MODE_VARIABLE}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def running(project: Project, line: str = "python manage.py runserver") -> Iterator[tuple[str, Path]]:
    """The project served by this command: its address, and the file that its standard error goes to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    errors = project.directory / f"stderr-{port}.txt"
    program, *arguments = line.split()
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            [*PROGRAMS[program], *arguments, "--noreload", str(port)],
            cwd=project.directory,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as server,
    ):
        watchdog = threading.Timer(60, server.kill)
        watchdog.start()
        try:
            assert server.stdout is not None
            said = next((line for line in server.stdout if "development server at" in line), None)
            assert said is not None, errors.read_text()
            yield f"http://127.0.0.1:{port}", errors
        finally:
            watchdog.cancel()
            server.terminate()


def guess(address: str, times: int) -> list[int]:
    """The statuses of so many wrong passwords at the admin's login."""
    cookies = urllib.request.HTTPCookieProcessor(CookieJar())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)
    form = opener.open(f"{address}/admin/login/").read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
    assert token is not None
    statuses = []
    for number in range(times):
        fields = {"username": "alice", "password": f"wrong {number}", "csrfmiddlewaretoken": token[1]}
        try:
            with opener.open(f"{address}/admin/login/", urllib.parse.urlencode(fields).encode()) as response:
                statuses.append(response.status)
        except urllib.error.HTTPError as refusal:
            with refusal:
                statuses.append(refusal.code)
    return statuses


def status_of(address: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{address}/admin/login/") as response:
            return int(response.status)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code


def events_in(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]
