"""The guide to security logging shows what its example prints, and its commands read that."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from secguard.events import VOCABULARY
from secguard.logging import SecurityEventLogger
from tests.docs.pages import BLOCKS, ROOT, named
from tests.docs.project import environment

EXAMPLE = ROOT / "docs" / "examples" / "security_logging_usage.py"
GUIDE = [block for block in BLOCKS if block.page.startswith("security-logging")]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the example prints, in a file."""
    directory = tmp_path_factory.mktemp("security-logging")
    run = [sys.executable, "-W", "error", str(EXAMPLE)]
    done = subprocess.run(run, cwd=directory, env=environment(), capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "203.0.113.7 is suspicious: True, after 5 failures.\n"
    path = directory / "security.log"
    path.write_text(done.stdout, encoding="utf-8")
    return path


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def lasting(line: dict[str, Any]) -> dict[str, Any]:
    """Without what differs each time, or with each change of the code that logs."""
    line = {**line, "location": {**line["location"], "line": 0}, "context": dict(line["context"])}
    del line["timestamp"], line["context"]["event_id"]
    line["context"].pop("reference", None)
    return line


def test_the_example_logs_each_kind_of_event_that_the_facade_has(log: Path) -> None:
    called = {node.func.attr for node in ast.walk(ast.parse(EXAMPLE.read_text())) if _is_call_of_method(node)}
    assert {name for name in vars(SecurityEventLogger) if name.startswith("log")} <= called
    types = [line["context"]["event_type"] for line in lines(log)]
    assert {"login_failed", "login_success", "suspicious_activity", "address_blocked"} <= set(types)
    assert set(types) - set(VOCABULARY) == {"coupon_failed"}


def _is_call_of_method(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)


@pytest.mark.parametrize("block", [block for block in GUIDE if block.language == "json"], ids=named)
def test_a_line_of_the_guide_is_one_that_the_example_prints(block: Any, log: Path) -> None:
    assert lasting(json.loads(block.code)) in [lasting(line) for line in lines(log)]


@pytest.mark.parametrize(
    "command",
    [line for block in BLOCKS if block.language == "sh" for line in block.code.splitlines() if line.startswith("jq ")],
)
def test_a_command_of_the_pages_reads_the_log(command: str, log: Path) -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=log.parent, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    # Those that look for what the example has none of say nothing.
    rare = ("success_after_attack", "block_suppressed", '"system"', "reference ==")
    assert bool(done.stdout) != any(word in command for word in rare)
