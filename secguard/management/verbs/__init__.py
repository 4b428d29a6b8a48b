"""The verbs of ``manage.py secguard``: parse, call, print."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Protocol

from secguard.management.verbs import block, listing, status, unblock


class Verb(Protocol):
    """A module with these. ``handle`` returns the exit code."""

    __doc__: str | None
    add_arguments: Callable[[argparse.ArgumentParser], None]
    handle: Callable[..., int]


ALL: dict[str, Verb] = {"status": status, "list": listing, "block": block, "unblock": unblock}
