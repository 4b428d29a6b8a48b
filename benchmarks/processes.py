"""Measured processes: one JSON line of answer for each JSON command on standard input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Worker:
    """A measured process, seen from the one that measures."""

    def __init__(
        self, name: str, folder: Path, module: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._errors = (folder / f"{name}.err").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, do: str, **arguments: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended: {Path(self._errors.name).read_text()[-2000:]}")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(10)
        self._errors.close()


class Handler:
    """The WSGI application of this process; the settings have to be there."""

    def __init__(self) -> None:
        from django.core.wsgi import get_wsgi_application

        self.application: Callable[..., Any] = get_wsgi_application()
        self.status = ""

    def call(self, environ: dict[str, Any]) -> int:
        """Nanoseconds for the handler, the body and ``close()``."""
        began = time.perf_counter_ns()
        response = self.application(environ, self._start)
        b"".join(response)
        response.close()
        return time.perf_counter_ns() - began

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        self.status = status[:3]


def serve(build: Callable[[], object]) -> None:
    """Call the methods that the commands name on what ``build`` makes, until standard input ends."""
    # Standard output carries the protocol: whatever else prints goes to standard error.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    served = build()
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(served, command.pop("do"))(**command)
        print(json.dumps(answer), file=out, flush=True)
