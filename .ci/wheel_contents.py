"""Exits non-zero if the wheel named on the command line lacks package data or holds anything else."""

import sys
import zipfile
from pathlib import Path

names = set(zipfile.ZipFile(sys.argv[1]).namelist())
strangers = {name for name in names if not name.startswith(("secguard/", "django_secguard-"))}
sources = {
    path.as_posix()
    for path in Path("secguard").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
}
missing = sources - names

if strangers or missing or "secguard/py.typed" not in names:
    sys.exit(f"wheel: unexpected {sorted(strangers)}, missing {sorted(missing)}")
print(f"{len(names)} files, secguard only, none missing")
