"""docs/replay.md shows what the command really writes, and names every format."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from secguard.replay.readers import FORMATS
from tests.command.running import as_json, secguard
from tests.replay import sample
from tests.test_docs import block_with, code, page, table

PROMPT = "$ python manage.py secguard "
PAGE = page("docs/replay.md")
CONSOLES = re.findall(r"^```console\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample.write(tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("console", CONSOLES, ids=range(len(CONSOLES)))
def test_the_page_shows_what_a_replay_writes(console: str) -> None:
    command, _, written = console.removeprefix(PROMPT).partition("\n")
    assert secguard(*shlex.split(command)) == written


def test_every_format_is_documented() -> None:
    assert {code(row["format"]) for row in table(PAGE, "format", "what", "attempts are")} == FORMATS.keys()


def test_the_json_of_the_page_is_part_of_what_is_printed() -> None:
    shown, found = json.loads(block_with("replay.md", '"events": 64').code), as_json("replay", "logins.jsonl")
    for name, value in shown.items():
        assert (found[name][:1] if isinstance(value, list) else found[name]) == value
