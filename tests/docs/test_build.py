"""The pages are built without a warning, and what is built links to what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.pages import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every page, built anew."""
    pytest.importorskip("sphinx", reason="what builds the documentation is not installed")
    pytest.importorskip("furo", reason="what builds the documentation is not installed")
    output = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "--fresh-env"]
    command += ["--doctree-dir", str(output / "doctrees"), str(ROOT / "docs"), str(output / "html")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return output / "html"


@cache
def content(path: Path) -> str:
    """The page itself: no navigation."""
    return path.read_text(encoding="utf-8").partition("<article")[2].partition("</article>")[0]


@cache
def ids(path: Path) -> frozenset[str]:
    return frozenset(re.findall(r'\bid="([^"]+)"', path.read_text(encoding="utf-8")))


@pytest.mark.slow
def test_every_page_is_built(built: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in built.glob("*.html")}


@pytest.mark.slow
def test_every_page_stands_in_the_navigation(built: Path) -> None:
    navigation = (built / "index.html").read_text(encoding="utf-8").partition('class="sidebar-tree"')[2]
    listed = set(re.findall(r'href="([\w-]+)\.html"', navigation.partition("<article")[0]))
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"} <= listed


@pytest.mark.slow
def test_every_link_to_a_heading_finds_it(built: Path) -> None:
    broken = []
    for path in built.glob("*.html"):
        for target in re.findall(r'class="reference internal" href="([^"]+)"', content(path)):
            file, _, anchor = target.partition("#")
            there = built / file if file else path
            if not there.is_file() or (anchor and unquote(anchor) not in ids(there)):
                broken.append(f"{path.name}: {target}")
    assert broken == []


@pytest.mark.slow
def test_the_changelog_is_that_of_the_project(built: Path) -> None:
    assert "Keep a Changelog" in content(built / "changelog.html")


@pytest.mark.slow
def test_a_built_page_asks_nobody_else_for_anything(built: Path) -> None:
    for path in built.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|link)\b[^>]*(?:src|href)="([^"]+)"', text)
        assert [url for url in loaded if url.startswith(("http:", "https:", "//"))] == []
