"""Lines in ArcSight's Common Event Format (CEF), escaped as its book says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from secguard import __version__
from secguard.formatters.shaped import PRODUCT, VENDOR, Facts, ShapedFormatter
from secguard.formatters.text import ELLIPSIS, one_line
from secguard.formatters.vocabulary import CEF_SEVERITIES, CEF_VERSION

LAST_RESORT = (
    f"CEF:{CEF_VERSION}|{VENDOR}|{PRODUCT}|{__version__}|unprintable|Unprintable record|5|"
    "msg=<unprintable record> reason=RecursionError"
)

#: Our key → CEF's. What is in none of these tables becomes a key of our own.
_KEYS = {
    "user_id": "suid",
    "user_agent": "requestClientApplication",
    "path": "request",
    "method": "requestMethod",
    "event_id": "externalId",
    "reason": "reason",
    "action": "act",
}
#: Our key → one of the fields that a sender may give a meaning, under a label.
_LABELLED = {
    "rule": ("cs1", "Rule"),
    "subject": ("cs2", "Subject"),
    "reference": ("cs3", "Reference"),
    "technique": ("cs4", "Technique"),
    "request_id": ("cs5", "Request id"),
    "email": ("cs6", "Mail address"),
}
_LABELLED_NUMBERS = {"threshold": ("cn1", "Threshold"), "window_seconds": ("cn2", "Window in seconds")}
#: How many characters the book allows; for a text that a sender gives a meaning, 4,000.
_LIMITS = {
    **dict.fromkeys(("suid", "requestClientApplication", "request", "requestMethod", "reason"), 1023),
    **dict.fromkeys(("msg", "cat", "suser", "sourceServiceName"), 1023),
    **{"externalId": 40, "act": 63, "outcome": 63},
}
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9]+")
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_MAX_VALUE = 4000
_MAX_NAME = 64


class CefFormatter(ShapedFormatter):
    """Write records as CEF, in UTF-8: for files and for syslog, which adds its own header.

    What CEF has no key for stands under keys that begin with ``secguard``. ``service``: for ``sourceServiceName``.
    """

    last_resort = LAST_RESORT

    def shape(self, facts: Facts) -> str:
        signature = facts.event_type or "log_record"
        head = (VENDOR, PRODUCT, __version__, signature, facts.terms.name, str(CEF_SEVERITIES[facts.severity]))
        fields = self._known(facts) | dict(_ours(facts))
        extension = " ".join(
            [f"{key}={_value(text, _LIMITS.get(key, _MAX_VALUE))}" for key, text in fields.items() if text]
        )
        return f"CEF:{CEF_VERSION}|{'|'.join(map(_header, head))}|{extension}"

    def _known(self, facts: Facts) -> dict[str, str]:
        data = facts.data
        found: dict[str, str] = {
            "rt": str(facts.milliseconds),
            "msg": data["message"],
            "cat": facts.category,
            "outcome": facts.terms.outcome,
            **_address(facts.address()),
            "suser": facts.text("username") or facts.peek("email"),
            "sourceServiceName": self.service,
        }
        for ours, key in _KEYS.items():
            found[key] = facts.text(ours)
        for ours, (key, label) in _LABELLED.items():
            text = facts.text(ours)
            if text:
                found |= {key: text, f"{key}Label": label}
        for ours, (key, label) in _LABELLED_NUMBERS.items():
            number = facts.number(ours)
            if number is not None:
                found |= {key: str(number), f"{key}Label": label}
        count = facts.number("count")
        return found if count is None else {**found, "cnt": str(count)}


def _address(text: str) -> dict[str, str]:
    """``src`` takes IPv4 alone."""
    if ":" in text:
        return {"c6a2": text, "c6a2Label": "Source IPv6 Address"}
    return {"src": text}


def _ours(facts: Facts) -> Iterator[tuple[str, str]]:
    """What is left, under names that no other product's keys have."""
    left = {"logger": facts.data["logger"], **facts.rest}
    left |= {key: facts.data[key] for key in ("exception", "stack_info") if key in facts.data}
    for name, value in left.items():
        yield _own_key(str(name)), _text(value)


@lru_cache(maxsize=512)
def _own_key(name: str) -> str:
    """``failed_attempts_from_ip`` → ``secguardFailedAttemptsFromIp``."""
    words = [word for word in _NOT_A_NAME.split(name) if word]
    return ("secguard" + "".join(word[0].upper() + word[1:] for word in words))[:_MAX_NAME]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return "true" if value is True else "false" if value is False else str(value)


def _header(text: str) -> str:
    """In the header a backslash and a pipe are escaped, and there are no line ends."""
    return one_line(text, 512).replace("\\", "\\\\").replace("|", "\\|")


def _value(text: str, limit: int) -> str:
    r"""In the extension a backslash and an equals sign are escaped; a line end is \n; whatever else hides is shown.

    ``limit``: of characters before they are escaped.
    """
    if not text.isprintable():
        text = "\n".join([one_line(line, limit) for line in _LINE_ENDS.split(text)])
    if len(text) > limit:
        text = text[: limit - 1] + ELLIPSIS
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\n", "\\n")
