"""What the formatters of other standards share: the same content, cleaned and bounded alike, in another shape."""

from __future__ import annotations

import ipaddress
import json
import logging
from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from secguard.events import Severity
from secguard.formatters.json_lines import LogData, SecurityJsonFormatter
from secguard.formatters.text import clean_text
from secguard.formatters.vocabulary import Terms, terms_of

PRODUCT, VENDOR = "django-secguard", "secguard"
#: Levels of the standard library's logging → our severities, for what says none.
_SEVERITIES = {
    "DEBUG": Severity.INFO,
    "INFO": Severity.INFO,
    "WARNING": Severity.WARNING,
    "ERROR": Severity.ERROR,
    "CRITICAL": Severity.CRITICAL,
}
_EPOCH, _MILLISECOND = datetime(1970, 1, 1), timedelta(milliseconds=1)
_encode = json.JSONEncoder(allow_nan=False).encode


class ShapedFormatter(SecurityJsonFormatter):
    """Writes what SecurityJsonFormatter would in the words of another standard.

    ``service``: what the site is called there, at most 128 characters. Lines are as long as its are at most, and
    ``format`` raises nothing, either.
    """

    def __init__(self, *args: Any, service: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.service = clean_text(service, 128)

    @abstractmethod
    def shape(self, facts: Facts) -> str:
        """The line for what was logged."""

    def _serialize(self, data: LogData) -> str:
        return self.shape(Facts(data))

    _serialize_strictly = _serialize

    def _minimal_line(self, record: logging.LogRecord, error: Exception) -> str:
        return self._serialize(self._minimal_data(record, error))


class JsonShapedFormatter(ShapedFormatter):
    """One whose lines are JSON objects. ``place``: where in them stands what the standard has no field for."""

    place: str

    @abstractmethod
    def document(self, facts: Facts) -> LogData:
        """What the line says, but for ``facts.rest``. What is empty in it is left out."""

    def shape(self, facts: Facts) -> str:
        document = without_nothing(self.document(facts))
        rest = {key: value for key, value in facts.rest.items() if value is not None}
        if rest:
            document[self.place] = rest
        return _encode(document)


class Facts:
    """One record as SecurityJsonFormatter has it, with its context taken apart.

    ``take`` removes what a standard has a field for, so that ``rest`` is what it has none for.
    """

    def __init__(self, data: LogData) -> None:
        self.data = data
        self.rest: dict[str, Any] = dict(data["context"])
        self.event_type = self.text("event_type")
        self.terms: Terms = terms_of(self.event_type, self.rest.get("category"))
        self.category = self.text("category")
        self.severity = self._severity()

    def _severity(self) -> Severity:
        said = self.take("severity")
        if type(said) is str and said in Severity._value2member_map_:
            return Severity(said)
        return _SEVERITIES.get(self.data["level"], Severity.WARNING)

    def take(self, key: str) -> Any:
        return self.rest.pop(key, None)

    def text(self, key: str) -> str:
        """The value as text, "" if there is none. What is no single value stays in ``rest``."""
        value = self.rest.get(key)
        if value is None or isinstance(value, (dict, list)):
            if value is None:
                self.rest.pop(key, None)
            return ""
        del self.rest[key]
        return value if type(value) is str else clean_text(value)

    def peek(self, key: str) -> str:
        """The same, and it stays in ``rest``."""
        value = self.rest.get(key)
        return "" if value is None or isinstance(value, (dict, list)) else clean_text(value)

    def number(self, key: str) -> int | None:
        """The value if it is an integer that 64 bits hold. What is none stays in ``rest``."""
        value = self.rest.get(key)
        if type(value) is not int or not -(2**63) <= value < 2**63:
            return None
        del self.rest[key]
        return value

    def address(self) -> str:
        """The client's address, "" unless it is one: elsewhere a field of that type takes nothing else."""
        text = self.rest.get("ip_address")
        if text is None or is_address(text):
            return self.take("ip_address") or ""
        return ""

    @property
    def technique(self) -> list[str]:
        """Of MITRE ATT&CK: the technique's id, and behind it the sub-technique's if there is one."""
        return technique_ids(self.rest.get("technique"))

    @property
    def milliseconds(self) -> int:
        """When it was logged, since the epoch."""
        return (datetime.fromisoformat(self.data["timestamp"][:-1]) - _EPOCH) // _MILLISECOND


def is_address(text: object) -> bool:
    """Is it an IP address, without a zone?"""
    try:
        return type(text) is str and "%" not in text and bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def technique_ids(text: object) -> list[str]:
    """``T1110.001`` → ``T1110`` and ``T1110.001``; anything else that a rule calls its technique, as it is."""
    if type(text) is not str or not text:
        return []
    technique, dot, _ = text.partition(".")
    return [technique, text] if dot else [technique]


#: What MITRE ATT&CK calls the techniques of secguard's own rules.
TECHNIQUES: Mapping[str, str] = {
    "T1078": "Valid Accounts",
    "T1087": "Account Discovery",
    "T1110": "Brute Force",
    "T1110.001": "Password Guessing",
    "T1110.003": "Password Spraying",
    "T1110.004": "Credential Stuffing",
    "T1213": "Data from Information Repositories",
    "T1595": "Active Scanning",
    "T1595.003": "Wordlist Scanning",
}


def without_nothing(document: LogData) -> LogData:
    """The document without what is None, "", or an empty list or object, at any depth."""
    kept: LogData = {}
    for key, value in document.items():
        if type(value) is dict:
            value = without_nothing(value)
        elif type(value) is list:
            value = [without_nothing(each) if type(each) is dict else each for each in value]
            value = [each for each in value if each]
        if value or value == 0:  # 0 and False say something
            kept[key] = value
    return kept
