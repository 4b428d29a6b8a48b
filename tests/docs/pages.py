"""The pages of the documentation, and what stands in them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import django

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROSE = [*PAGES, *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"))]
#: Keys of the examples' environment.
ENVIRONMENT = {"SECGUARD_HMAC_KEY": "0123456789abcdef", "SECGUARD_ALERTS_SECRET": "0123456789abcdef"}
#: What a block may add to: settings of a new project.
PROJECT: dict[str, list[str]] = {"INSTALLED_APPS": [], "MIDDLEWARE": ["django.middleware.security.SecurityMiddleware"]}


class Block(NamedTuple):
    """A fenced block of code, and the heading that it stands under."""

    page: str
    heading: str
    language: str
    code: str
    line: int


def assignments(source: str) -> dict[str, ast.Assign]:
    """What is set at the top level of a module, by name."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node
    return found


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks_of(path: Path) -> Iterator[Block]:
    """Those in a list's entries, too, without their indentation."""
    heading, language, start, indent = "", None, 0, 0
    lines: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r"( *)```(.*)", line)
        if fence:
            if language is None:
                indent, language, start, lines = len(fence[1]), fence[2].strip(), number, []
            else:
                yield Block(path.name, heading, language, "\n".join(lines) + "\n", start)
                language = None
        elif language is not None:
            lines.append(line[indent:])
        elif line.startswith("#"):
            heading = line.lstrip("#").strip()
    assert language is None, f"{path.name}: the block at line {start} is never closed"


BLOCKS = [block for path in PROSE for block in blocks_of(path)]
#: django-health-check is another one where Django is older than 5.2.
PYTHON = [
    block
    for block in BLOCKS
    if block.language == "python" and (django.VERSION >= (5, 2) or "health_check" not in block.code)
]


def named(block: Block) -> str:
    return f"{block.page}:{block.line}"


def run_block(block: Block) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "documented", **deepcopy(PROJECT)}
    exec(compile(block.code, named(block), "exec"), namespace)  # noqa: S102 - our own documentation
    return namespace


def block_with(page_name: str, text: str) -> Block:
    (found,) = (block for block in BLOCKS if block.page == page_name and text in block.code)
    return found


def table(text: str, *columns: str) -> list[dict[str, str]]:
    """The rows of the one table that has exactly these columns, without the marks of code and links."""
    lines = text.splitlines()
    head = [at for at, line in enumerate(lines) if cells(line) == list(columns)]
    assert len(head) == 1, f"{len(head)} tables have the columns {columns}"
    rows = []
    for line in lines[head[0] + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(columns, cells(line), strict=True)))
    return rows


def cells(line: str) -> list[str]:
    return [re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", cell.strip()) for cell in line.strip().strip("|").split("|")]


def code(cell: str) -> str:
    """What stands between back-ticks."""
    return cell.strip("`")


def headings(text: str, level: int) -> list[str]:
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(rf"^{'#' * level} (.+)$", outside, flags=re.MULTILINE)


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    level, _, rest = re.split(rf"^(#+) ({re.escape(heading)})$", text, maxsplit=1, flags=re.MULTILINE)[1:]
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def settled(written: str) -> str:
    """Without what is different each time: references, times, what a second takes off, and the columns' widths."""
    written = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<reference>", written)
    written = re.sub(r"[0-9a-f]{64}", "<link>", written)
    written = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "<time>", written)
    written = re.sub(r"\b(in|another) \d+[dhms]( \d+[dhms])?\b", r"\1 <duration>", written)
    written = re.sub(r"\d+ ms\b", "<time> ms", written)
    return re.sub(r" {2,}", "  ", written)
