"""Beside django-defender."""

from __future__ import annotations

import re
from pathlib import Path

import defender.config

from tests.stacks.side_by_side import SideBySide

DOCUMENTED = (Path(__file__).parents[3] / "docs" / "migrating.md").read_text(encoding="utf-8")


class TestBesideDefender(SideBySide):
    pass


def test_the_documentation_leads_from_every_setting() -> None:
    source = Path(defender.config.__file__).read_text(encoding="utf-8")
    names = set(re.findall(r"[\"'](DEFENDER_\w+)[\"']", source))
    assert len(names) > 15
    assert sorted(name for name in names if f"`{name}`" not in DOCUMENTED) == []
