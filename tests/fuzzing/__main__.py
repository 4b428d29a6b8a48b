"""``python -m tests.fuzzing [TARGET [INPUT …]]``: atheris looks for bytes that break a promise.

Without a target all of them run, one after the other. What is found is kept in ``.fuzz`` and tried again by its name:
``python -m tests.fuzzing line .fuzz/line/crash-…``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import atheris

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
with atheris.instrument_imports(include=["secguard"]):
    import django

    django.setup()
    from tests.formatters.hostile import STRINGS
    from tests.fuzzing.targets import TARGETS

FOLDER = Path(".fuzz")
#: Seconds after which one input counts as one that never ends.
HANGS = 20


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("target", nargs="?", choices=TARGETS, help="all of them, if none is named")
    parser.add_argument("inputs", nargs="*", type=Path, help="files to be run once each, instead of fuzzing")
    parser.add_argument("--seconds", type=int, default=60, help="how long a target is fuzzed at most (%(default)s)")
    parser.add_argument("--runs", type=int, default=-1, help="how many inputs are tried at most")
    parser.add_argument("--max-len", type=int, default=2_048, help="bytes of an input at most (%(default)s)")
    return parser.parse_args()


def run_all(arguments: list[str]) -> int:
    """Each target in a process of its own, since libFuzzer ends the process. The number of those that failed."""
    commands = [[sys.executable, "-m", "tests.fuzzing", name, *arguments] for name in TARGETS]
    return sum(subprocess.run(command, check=False).returncode != 0 for command in commands)


def corpus_of(name: str) -> Path:
    """What was found worth keeping in earlier runs; at first, the hostile texts."""
    folder = FOLDER / name / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(STRINGS):
        seed = folder / f"seed-{number}"
        if not seed.exists():
            seed.write_bytes(text.encode("utf-8", "surrogatepass"))
    return folder


def fuzz(name: str, chosen: argparse.Namespace) -> None:
    """Does not return: libFuzzer ends the process, with a status other than 0 where a promise was broken."""
    flags = {
        "max_total_time": chosen.seconds,
        "runs": chosen.runs,
        "max_len": chosen.max_len,
        "timeout": HANGS,
        "artifact_prefix": f"{FOLDER / name}/",
        "print_final_stats": 1,
    }
    inputs = chosen.inputs or [corpus_of(name)]
    atheris.Setup(
        [sys.argv[0], *(f"-{flag}={value}" for flag, value in flags.items()), *map(str, inputs)],
        TARGETS[name].take_bytes,
    )
    atheris.Fuzz()


chosen = options()
if chosen.target is None:
    sys.exit(run_all(sys.argv[1:]))
fuzz(chosen.target, chosen)
