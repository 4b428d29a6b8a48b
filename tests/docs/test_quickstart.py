"""The quick start works as it is written: word for word, in a new project, over HTTP."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.docs.pages import BLOCKS, Block, block_with, page, settled
from tests.docs.project import Project, events_in, guess, running, status_of
from tests.end_to_end.serving import until

PROMPT = "$ "
#: Where the time of a password's check is nothing that is looked at.
QUICK = 'PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]\n'
PAGE = "quickstart.md"


def blocks(name: str, heading: str, language: str) -> list[Block]:
    found = [block for block in BLOCKS if (block.page, block.heading, block.language) == (name, heading, language)]
    assert found
    return found


def commands(heading: str) -> list[str]:
    """What the page has typed under a heading, but for the installation: what is installed here is what is tested."""
    lines = "".join(block.code for block in blocks(PAGE, heading, "sh")).splitlines()
    return [line for line in lines if not line.startswith("python -m pip ")]


def done(project: Project, line: str) -> None:
    outcome = project.run(line)
    assert outcome.returncode == 0, outcome.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """What the page says up to ``migrate``."""
    project = Project(tmp_path_factory.mktemp("quickstart"))
    for line in commands("A project"):
        done(project, line)
    (settings,) = blocks(PAGE, "Settings", "python")
    project.configure(settings.code)
    migrate, _ = commands("Settings")
    done(project, migrate)
    return project


def examples(heading: str) -> list[tuple[str, str]]:
    """The commands of the consoles under a heading, each with what it is shown to write."""
    text = "".join(block.code for block in blocks(PAGE, heading, "console"))
    parts = re.split(rf"^{re.escape(PROMPT)}", text, flags=re.MULTILINE)[1:]
    return [(line, written) for line, _, written in (part.partition("\n") for part in parts)]


def test_what_is_installed_is_this_package() -> None:
    (install,) = re.findall(r'python -m pip install "(\S+)"\n', page("docs/quickstart.md"))
    name, extra = re.fullmatch(r"([\w-]+)\[(\w+)\]", install).groups()  # type: ignore[union-attr]
    project = page("pyproject.toml")
    assert f'name = "{name}"' in project
    assert re.search(rf"^{extra} = \[", project.partition("[project.optional-dependencies]")[2], flags=re.MULTILINE)


@pytest.mark.slow
def test_the_sixth_guess_is_refused_and_the_commands_write_what_is_shown(site: Project) -> None:
    _, runserver = commands("Settings")
    with running(site, runserver) as (address, errors):
        assert guess(address, 6) == [200] * 5 + [403]
        for line, written in examples("Look"):
            assert settled(site.run(line).stdout) == settled(written), line
        until(lambda: status_of(address) == 200, "the server lets in whom the command let in", seconds=10)

    events = events_in(errors)
    failed = [event for event in events if event["context"]["event_type"] == "login_failed"]
    assert len(failed) == 5
    documented = json.loads(block_with(PAGE, '"login_failed"').code)
    assert list(failed[0]) == list(documented)
    assert list(failed[0]["context"]) == list(documented["context"])
    told = {key: documented["context"][key] for key in ("username", "ip_address", "failed_attempts_from_ip", "path")}
    assert told.items() <= failed[0]["context"].items()
    assert (failed[0]["level"], failed[0]["message"]) == (documented["level"], documented["message"])
    types = {event["context"]["event_type"]: event["level"] for event in events}
    assert types["suspicious_activity"] == "CRITICAL"
    assert "address_blocked" in types


@pytest.mark.slow
def test_the_two_lines_of_the_readme_refuse_the_sixth_guess(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for line in ("django-admin startproject mysite", "cd mysite"):
        done(project, line)
    lines = block_with("README.md", "INSTALLED_APPS").code
    assert len(lines.splitlines()) == 2
    project.append(QUICK + lines)
    done(project, "python manage.py migrate")
    with running(project) as (address, _):
        assert guess(address, 6) == [200] * 5 + [403]


@pytest.mark.slow
def test_the_tests_in_the_pages_pass(site: Project) -> None:
    site.configure(QUICK)
    written = block_with("testing.md", "class LoginTests").code
    (site.directory / "test_login.py").write_text(written, encoding="utf-8")
    ran = site.run("python manage.py test --verbosity=2")
    assert ran.returncode == 0, ran.stderr
    assert "Ran 2 tests" in ran.stderr


@pytest.mark.slow
def test_the_logging_configuration_in_the_pages_writes_json_once(site: Project) -> None:
    site.configure(block_with("logging.md", "LOGGING = {").code)
    with running(site) as (address, errors):
        assert guess(address, 1) == [200]
    (event,) = events_in(errors)
    assert event["context"]["event_type"] == "login_failed"
