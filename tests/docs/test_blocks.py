"""Every block of code in the pages is run, or checked by whoever knows its language; a new one that is not fails."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import get_commands

from secguard.management import verbs
from tests.docs.pages import BLOCKS, PROJECT, PYTHON, ROOT, Block, headings, named, page, section

#: Pages whose consoles a test runs, and compares with what they show.
CONSOLES = {
    "command.md": "tests/command/test_documentation.py",
    "quickstart.md": "tests/docs/test_quickstart.py",
    "replay.md": "tests/replay/test_documentation.py",
}
#: What nobody checks, by page, heading and language, and why not.
UNCHECKED = {
    (
        "alerts.md",
        "Set up",
        "text",
    ): "it would send alerts; tests/command/test_selftest_alerts.py compares what it prints",
    ("architecture.md", "The way of one login", ""): "a picture",
    ("command.md", "export", "text"): "commands to a firewall, which take the right to change it",
    (
        "dashboard.md",
        "A strict Content-Security-Policy",
        "text",
    ): "tests/browser works under it: the sample site sends it",
    ("formats.md", "CEF", "text"): "tests/formatters/test_handing_over.py makes and parses it",
    ("record.md", "The chain", "console"): "the figures of some site; docs/command.md has the verb's own, which is run",
    ("scaling.md", "A large table of users", "sql"): "PostgreSQL's own: SQLite cannot be asked",
    ("security-logging-migration.md", "2. The import", "text"): "a line of the reader's project",
}


def place(block: Block) -> tuple[str, str, str]:
    return block.page, block.heading, block.language


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


# -- which check is whose --------------------------------------------------------------------------------


def console_is_run(block: Block) -> bool:
    path = CONSOLES.get(block.page)
    if path is None or block.page not in page(path):
        return False
    # Of the command's page the sections of the verbs are run.
    return block.page != "command.md" or block.heading in headings(section(page("docs/command.md"), "The verbs"), 3)


def commands_are_known(block: Block) -> bool:
    return all(is_known(line) for line in block.code.splitlines() if line and not line.startswith("#"))


#: Language → is the block checked? What others check: Python and JSON, tests/test_docs.py; Redis, test_operations.py.
CHECKED: dict[str, Callable[[Block], bool]] = {
    "python": lambda block: True,
    "json": lambda block: True,
    "console": console_is_run,
    "sh": commands_are_known,
    "nginx": lambda block: True,
    "haproxy": lambda block: True,
    "redis": lambda block: True,
}


@pytest.mark.parametrize("block", BLOCKS, ids=named)
def test_every_block_is_checked_or_says_why_not(block: Block) -> None:
    check = CHECKED.get(block.language)
    checked = check is not None and check(block)
    reason = UNCHECKED.get(place(block))
    assert checked or reason, f"nothing checks {named(block)}: it needs a check in CHECKED, or a reason in UNCHECKED"
    assert not (checked and reason), f"{named(block)} is checked: the reason in UNCHECKED can go"


def test_no_reason_is_given_for_a_block_that_is_gone() -> None:
    assert set(UNCHECKED) <= {place(block) for block in BLOCKS}


# -- shell -----------------------------------------------------------------------------------------------


def is_known(line: str) -> bool:
    """Can this be typed? Programs of others are run by the tests of their page."""
    words = shlex.split(line)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        del words[0]
    if words[:2] == ["python", "manage.py"]:
        return words[2] in get_commands() and (words[2] != "secguard" or verb_takes(words[3:]))
    if words[0] == "make":
        return f"\n{words[1]}: " in page("Makefile")
    if words[0] == "python" and words[1].endswith(".py"):
        return (ROOT / words[1]).is_file()
    return words[0] in ("cd", "django-admin", "jq") or words[:4] == ["python", "-m", "pip", "install"]


def verb_takes(words: list[str]) -> bool:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--json", action="store_true")
    verbs.ALL[words[0]].add_arguments(parser)
    # A file that a shell would write or read is none of the verb's.
    given = words[1 : words.index(">")] if ">" in words else words[1:]
    try:
        return not parser.parse_known_args(given)[1]
    except (argparse.ArgumentError, SystemExit):
        return False


# -- types -----------------------------------------------------------------------------------------------

MYPY = """
[mypy]
plugins = mypy_django_plugin.main
check_untyped_defs = true
ignore_missing_imports = true
# A mixin whose methods take more than those of the class after it.
disable_error_code = misc

[mypy.plugins.django-stubs]
django_settings_module = sample_project.settings
"""


def test_the_types_in_the_pages_fit(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="the linters are not installed")
    pytest.importorskip("mypy_django_plugin", reason="the linters are not installed")
    (tmp_path / "mypy.ini").write_text(MYPY, encoding="utf-8")
    given = "".join(f"{name}: list[str] = []\n" for name in PROJECT)
    modules = tmp_path / "pages"
    modules.mkdir()
    for block in PYTHON:
        # What is added to is there already.
        code = given + block.code if "INSTALLED_APPS +=" in block.code else block.code
        name = re.sub(r"\W", "_", f"{block.page}_{block.line}")
        (modules / f"{name}.py").write_text(code, encoding="utf-8")
    example = ROOT / "docs" / "examples" / "security_logging_usage.py"
    command = [sys.executable, "-m", "mypy", "--config-file", str(tmp_path / "mypy.ini")]
    command += ["--cache-dir", str(ROOT / ".mypy_cache" / "pages"), str(modules), str(example)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# -- proxies ---------------------------------------------------------------------------------------------


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", of("nginx"), ids=named)
def test_nginx_has_well_formed_directives(block: Block) -> None:
    text = re.sub(r"#.*", "", block.code)
    depth = 0
    for line in filter(None, map(str.strip, text.splitlines())):
        assert line.endswith((";", "{", "}")), line
        depth += line.count("{") - line.count("}")
        assert depth >= 0, line
    assert depth == 0


@pytest.mark.parametrize("block", of("nginx"), ids=named)
def test_nginx_accepts_what_the_pages_tell_it(block: Block, tmp_path: Path) -> None:
    if shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        pytest.skip("nginx is not installed: looked at by form alone")
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {temporary}\nserver {{ listen unix:{tmp_path}/socket;\n{block.code}\n}} }}\n",
        encoding="utf-8",
    )
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    run(str(program), "-t", "-q", "-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"))


@pytest.mark.parametrize("block", of("haproxy"), ids=named)
def test_haproxy_has_well_formed_sections(block: Block) -> None:
    for line in filter(None, block.code.splitlines()):
        assert re.match(r"(global|defaults|frontend \w+|backend \w+|listen \w+)$| {4}[a-z-]+ ", line), line


@pytest.mark.parametrize("block", of("haproxy"), ids=named)
def test_haproxy_accepts_what_the_pages_tell_it(block: Block, tmp_path: Path) -> None:
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        pytest.skip("HAProxy is not installed: looked at by form alone")
    around = "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n"
    around += f"frontend all\n    bind unix@{tmp_path}/socket\n    default_backend site\n"
    (tmp_path / "haproxy.cfg").write_text(around + block.code, encoding="utf-8")
    run(program, "-c", "-f", str(tmp_path / "haproxy.cfg"))
