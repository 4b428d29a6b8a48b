"""docs/command.md says what the verbs take and how they end, and shows what they really write."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Iterator
from inspect import cleandoc
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from django.test import override_settings

from secguard import records
from secguard.blocking.export import FORMATS
from secguard.management import verbs
from secguard.pipeline import get_store
from tests.command.running import allowed_row, block_row, exit_code, fail
from tests.docs.pages import code, headings, page, section, settled, table
from tests.replay import sample

PROMPT = "$ python manage.py secguard "
PAGE = page("docs/command.md")


def test_every_verb_is_documented_and_every_documented_verb_exists() -> None:
    assert headings(section(PAGE, "The verbs"), 3) == list(verbs.ALL)
    assert [row["verb"] for row in table(PAGE, "verb", "does", "changes anything?")] == list(verbs.ALL)


@pytest.mark.parametrize(("name", "verb"), verbs.ALL.items(), ids=list(verbs.ALL))
def test_every_option_and_exit_code_of_a_verb_is_documented(name: str, verb: ModuleType) -> None:
    parser = argparse.ArgumentParser(add_help=False)
    verb.add_arguments(parser)
    # Options of other programs stand in blocks of their own.
    text = re.sub(r"^```text.*?^```", "", section(PAGE, name), flags=re.MULTILINE | re.DOTALL)
    options = {option for action in parser._actions for option in action.option_strings}
    assert set(re.findall(r"(?<![-\w])--[a-z][a-z-]*", text)) == options
    codes = set(re.findall(r"\b(\d) ", cleandoc(verb.__doc__ or "").partition("Exit codes:")[2]))
    assert codes <= {row["code"] for row in table(PAGE, "code", "means")}
    _, _, told = " ".join(text.split()).lower().rpartition("exit code")
    assert codes <= set(re.findall(r"\b\d\b", told))


def test_every_format_of_an_export_is_documented() -> None:
    rows = table(section(PAGE, "export"), "format", "what", "for")
    assert [code(row["format"]) for row in rows] == list(FORMATS)


# -- what is shown -------------------------------------------------------------------------------------------------


class Shown(NamedTuple):
    """One command in a console, and what the page says that it writes."""

    arguments: list[str]
    written: str


def shown(verb: str) -> Iterator[Shown]:
    for console in re.findall(r"^```console\n(.*?)^```", section(PAGE, verb), flags=re.MULTILINE | re.DOTALL):
        for part in re.split(rf"^{re.escape(PROMPT)}", console, flags=re.MULTILINE)[1:]:
            line, _, written = part.partition("\n")
            yield Shown(shlex.split(line), written)


def _attacked() -> None:
    fail(5, "203.0.113.7", "alice@example.com")
    records.block_network("198.51.100.0/24", duration=43_200, reason="scanner", by="deploy")
    records.lock_account("bob@example.com", duration=3_600, by="deploy")


def _blocked() -> None:
    records.block_network("203.0.113.0/24", reason="scanner", by="deploy")
    records.lock_account("alice@example.com", by="deploy")


def _listed() -> None:
    Path("drop.txt").write_text("; DROP\n192.0.2.0/24 ; SBL1\n203.0.113.7-203.0.113.8\n203.0.113.300\n")


def _ready_for_export() -> None:
    block_row("203.0.113.0/29")
    block_row("198.51.100.7")
    block_row("2001:db8::/64")
    allowed_row("203.0.113.4")


def _decided() -> None:
    records.block_network("203.0.113.0/24", by="deploy")
    records.lock_account("alice@example.com", by="deploy")


def _logged() -> None:
    sample.write(Path())


def _nothing() -> None:
    pass


BEFORE: dict[str, Callable[[], None]] = {
    "list": _attacked,
    "explain": _attacked,
    "unblock": _blocked,
    "import": _listed,
    "export": _ready_for_export,
    "forget": _attacked,
    "subject": _attacked,
    "verify": _decided,
    "replay": _logged,
}
#: The site of the page: with proxies where their way is explained, and counters that all processes share.
SETTINGS: dict[str, Any] = {"BLOCK_JITTER": 0, "TRUSTED_PROXIES": ["10.0.0.0/8"]}
MORE: dict[str, dict[str, Any]] = {"verify": {"AUDIT_CHAIN": True}}


@pytest.mark.django_db
@pytest.mark.parametrize("verb", verbs.ALL)
def test_the_page_shows_what_a_verb_writes(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOGNAME", "deploy")
    examples = list(shown(verb))
    assert examples
    with override_settings(SECGUARD={**SETTINGS, **MORE.get(verb, {})}):
        if verb != "status":  # which is that of a new project
            get_store().shared = True
        BEFORE.get(verb, _nothing)()
        for example in examples:
            _, written = exit_code(*example.arguments)
            assert settled(written) == settled(example.written), shlex.join(example.arguments)
