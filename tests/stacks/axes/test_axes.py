"""Beside django-axes."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import axes.conf
import pytest
from django.core.management import call_command

from tests.stacks.conftest import WRONG, Browse
from tests.stacks.side_by_side import SideBySide, log_in

DOCUMENTED = (Path(__file__).parents[3] / "docs" / "migrating.md").read_text(encoding="utf-8")


class TestBesideAxes(SideBySide):
    pass


def test_the_documentation_leads_from_every_setting() -> None:
    names = [name for name in vars(axes.conf.settings._wrapped) if name.startswith("AXES_")]
    assert len(names) > 20
    assert [name for name in names if f"`{name}`" not in DOCUMENTED] == []


@pytest.mark.usefixtures("anna")
@pytest.mark.parametrize("keeps_each_failure", [True, False])
def test_what_axes_has_stored_can_be_replayed(browse: Browse, settings: Any, keeps_each_failure: bool) -> None:
    settings.AXES_ENABLE_ACCESS_FAILURE_LOG = keeps_each_failure
    for _ in range(5):
        log_in(browse("192.0.2.7"), WRONG)
    log_in(browse("192.0.2.8"))
    out = StringIO()
    call_command("secguard", "replay", "db:axes", "--json", stdout=out)
    found = json.loads(out.getvalue())
    assert (found["failures"], found["successes"], found["skipped"]) == (5, 1, 0)
    assert ("brute_force", "192.0.2.7", 5) in [
        (each["rule"], each["subject"], each["peak"]) for each in found["threats"]
    ]
