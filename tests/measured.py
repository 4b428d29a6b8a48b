"""Figures that tests come by: printed at the end of the run, and no test rests on one."""

from __future__ import annotations

notes: list[str] = []


def note(text: str) -> None:
    notes.append(text)
