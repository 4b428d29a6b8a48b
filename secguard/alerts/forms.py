"""A message as each service takes it. What an attacker wrote is text there: no mark-up, no mention, no link."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from secguard.alerts.messages import Message

#: Of the JSON that we define. A key that is added changes nothing; anything else a new number.
VERSION = 1
#: Characters of text. Discord takes 2,000, Slack 40,000, Teams 28 kB, where one character may be six bytes.
_MAX_DISCORD, _MAX_SLACK, _MAX_TEAMS = 1_980, 20_000, 4_000


def text_of(message: Message, limit: int) -> str:
    """Title and lines, cut at the end of a line."""
    kept, left = [message.title], limit - len(message.title) - 40
    for number, line in enumerate(message.lines):
        left -= len(line) + 1
        if left < 0:
            kept.append(f"… {len(message.lines) - number} more lines")
            break
        kept.append(line)
    return "\n".join(kept)


def _json(message: Message) -> dict[str, Any]:
    return {"version": VERSION, "title": message.title, **message.as_dict()}


def _slack(message: Message) -> dict[str, Any]:
    """With mark-up switched off, the three characters escaped that begin a mention or a link, and nothing guessed."""
    text = text_of(message, _MAX_SLACK)
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(char, entity)
    quiet = {"mrkdwn": False, "parse": "none", "link_names": False, "unfurl_links": False, "unfurl_media": False}
    return {"text": text, **quiet}


def _teams(message: Message) -> dict[str, Any]:
    """An Adaptive Card of text runs: unlike text blocks they know no Markdown."""
    title, *lines = text_of(message, _MAX_TEAMS).split("\n")
    body = [_run(title, weight="Bolder"), *map(_run, lines)]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "msteams": {"width": "Full"},
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _run(text: str, **style: str) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}


def _discord(message: Message) -> dict[str, Any]:
    """A block of code, which only its own mark ends; and nobody may be mentioned."""
    text = text_of(message, _MAX_DISCORD).replace("`", "'")
    return {"content": f"```text\n{text}\n```", "allowed_mentions": {"parse": []}, "flags": 4}


_FORMS: Mapping[str, Callable[[Message], dict[str, Any]]] = {
    "json": _json,
    "slack": _slack,
    "teams": _teams,
    "discord": _discord,
}


def body_of(message: Message, form: str) -> bytes:
    """What is posted, in ASCII."""
    return json.dumps(_FORMS[form](message)).encode("ascii")
