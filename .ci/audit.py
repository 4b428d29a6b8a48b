"""Exits non-zero if an installed package has a known vulnerability, or if nobody could be asked.

pip-audit says "no known vulnerabilities" of a package that its service does not know, and so of all of them behind a
mirror that serves packages alone. So it is asked first about a release that is known to be vulnerable: a service that
tells nothing of that one tells nothing at all.

AUDIT=offline accepts that nobody can be asked, and says so. Vulnerabilities that are found fail all the same.
Arguments go to pip-audit: --ignore-vuln ID, for one that does not concern us, with a comment where it is written down.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

KNOWN_TO_BE_VULNERABLE = "django==3.2"
VULNERABLE, NOBODY_ANSWERED = 1, 3


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        probe = Path(directory) / "requirements.txt"
        probe.write_text(KNOWN_TO_BE_VULNERABLE + "\n", encoding="utf-8")
        found = ask("--disable-pip", "--no-deps", "--requirement", str(probe), quiet=True)
    if not found or not any(each.get("vulns") for each in found):
        return not_audited(f"the vulnerability service tells nothing, not even of {KNOWN_TO_BE_VULNERABLE}.")
    found = ask("--local", "--skip-editable", *sys.argv[1:])
    if found is None:
        return not_audited("the vulnerability service answered once, and then no more.")
    vulnerable = [(each, vuln) for each in found for vuln in each.get("vulns", ())]
    for each, vuln in vulnerable:
        print(f"{each['name']} {each['version']}: {vuln['id']}, fixed in {', '.join(vuln['fix_versions']) or '-'}")
    if vulnerable:
        return VULNERABLE
    skipped = [each for each in found if "skip_reason" in each and "editable" not in each["skip_reason"]]
    if skipped:
        return not_audited("\n".join(["it does not know these:", *(f"  {each['skip_reason']}" for each in skipped)]))
    print(f"No known vulnerabilities in {len(found)} packages.")
    return 0


def ask(*arguments: str, quiet: bool = False) -> list[dict[str, Any]] | None:
    """What pip-audit says of each package; None if it has no answer."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", *arguments]
    stderr = subprocess.DEVNULL if quiet else None
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=600, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    return found


def not_audited(why: str) -> int:
    print(f"The dependencies were NOT audited: {why}", file=sys.stderr)
    if os.environ.get("AUDIT") == "offline":
        print("Accepted, because AUDIT=offline.", file=sys.stderr)
        return 0
    print("This is no pass. Where that service cannot be reached: AUDIT=offline", file=sys.stderr)
    return NOBODY_ANSWERED


if __name__ == "__main__":
    sys.exit(main())
