"""Beside django-axes."""

from __future__ import annotations

from pathlib import Path

import axes.conf

from tests.stacks.side_by_side import SideBySide

DOCUMENTED = (Path(__file__).parents[3] / "docs" / "migrating.md").read_text(encoding="utf-8")


class TestBesideAxes(SideBySide):
    pass


def test_the_documentation_leads_from_every_setting() -> None:
    names = [name for name in vars(axes.conf.settings._wrapped) if name.startswith("AXES_")]
    assert len(names) > 20
    assert [name for name in names if f"`{name}`" not in DOCUMENTED] == []
