"""Devices that were logged in to an account before, so that a lock need not lock its owner out.

After OWASP's "device cookies" (Slow Down Online Guessing Attacks with Device Cookies): a signed token, which says
for whom, and since when, and holds nothing else. It comes as a cookie, or in a header for clients that keep no
cookies. A browser's token holds several accounts, so that those who share it do not forget each other.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from django.conf import settings as django_settings
from django.core.signing import Signer
from django.http import HttpRequest, HttpResponseBase
from django.utils.crypto import salted_hmac

from secguard.conf import Settings, get_settings, until_settings_change
from secguard.context import RequestContext, header
from secguard.failures import report_failure

#: Who sends it, even empty, gets the token in the same header of the answer, and no cookie.
HEADER = "X-Secguard-Device"
#: Accounts that one browser is known for; the one that logged in last stands first.
MAX_ACCOUNTS = 5
#: Longer tokens are none of ours, and are not looked at.
MAX_LENGTH = 1_024
_SALT = "secguard.device"
_VERSION = b"\x01"
_SIZE = 8
_NOBODY = bytes(_SIZE)
_ENTRY = struct.Struct(f"!{_SIZE}s{_SIZE}s{_SIZE}s{_SIZE}sI")


class _Entry(NamedTuple):
    """One account that a device is known for.

    ``name``, ``alias``: digests of the canonical identifier, and of the one that was typed if it differs. They rest
    on SECRET_KEY, as the signature does. ``record``: the start of the account's digest among the counters, by which
    further names that turn out to be the same account are known. ``issued``: seconds since the epoch.
    """

    name: bytes
    alias: bytes
    record: bytes
    nonce: bytes
    issued: int

    def belongs_to(self, names: set[bytes], record: bytes) -> bool:
        return self.name in names or self.alias in names or self.record == record

    @property
    def device(self) -> str:
        return hashlib.blake2s(self.nonce, digest_size=_SIZE).hexdigest()


class _Known:
    """What a request's device is known for, and whether it is to be told something new."""

    __slots__ = ("entries", "is_new")

    def __init__(self, entries: list[_Entry]) -> None:
        self.entries, self.is_new = entries, False


class Devices:
    """Recognises and remembers devices. ``clock``: seconds since the epoch. Raises nothing for what clients send."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.enabled = settings.account_lockout == "unknown_devices"
        self._cookie, self._age = settings.device_cookie_name, settings.device_cookie_age
        self._clock = clock

    def find(self, context: RequestContext, account: str, digest: str) -> str:
        """The name of the device if it is known for this account, else an empty string.

        ``digest``: of the account's record, in hexadecimal.
        """
        if not self.enabled or context.request is None:
            return ""
        entries = self._known(context, context.request).entries
        if not entries:
            return ""
        names, record = _names(account), _record(digest)
        return next((entry.device for entry in entries if entry.belongs_to(names, record)), "")

    def remember(self, context: RequestContext, names: Sequence[str], digest: str) -> None:
        """The device is known for this account from now on. ``names``: its canonical identifier, and one more."""
        if not self.enabled or context.request is None:
            return
        known = self._known(context, context.request)
        own, record = set().union(*map(_names, names[:2])), _record(digest)
        others = [entry for entry in known.entries if not entry.belongs_to(own, record)]
        alias = _name(names[1]) if len(names) > 1 else _NOBODY
        entry = _Entry(_name(names[0]), alias, record, os.urandom(_SIZE), int(self._clock()))
        known.entries, known.is_new = [entry, *others][:MAX_ACCOUNTS], True

    def deliver(self, context: RequestContext, response: HttpResponseBase) -> None:
        """Give the token to the client, if there is a new one."""
        known, request = context.device, context.request
        if not isinstance(known, _Known) or not known.is_new or request is None:
            return
        known.is_new = False
        payload = _VERSION + b"".join(_ENTRY.pack(*entry) for entry in known.entries)
        token = Signer(salt=_SALT).sign(urlsafe_b64encode(payload).rstrip(b"=").decode())
        if header(request, HEADER) is not None:
            response[HEADER] = token
            return
        response.set_cookie(
            self._cookie,
            token,
            max_age=int(self._age),
            secure=request.is_secure(),
            httponly=True,
            samesite="Lax",
        )

    def _known(self, context: RequestContext, request: HttpRequest) -> _Known:
        if not isinstance(context.device, _Known):
            context.device = _Known(self._read(request))
        return context.device

    def _read(self, request: HttpRequest) -> list[_Entry]:
        given = header(request, HEADER) or request.COOKIES.get(self._cookie)
        if not given or len(given) > MAX_LENGTH or not given.isascii():
            return []
        try:
            text = Signer(salt=_SALT).unsign(given)
            payload = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            if payload[:1] != _VERSION:
                return []
            entries = [_Entry(*fields) for fields in _ENTRY.iter_unpack(payload[1:])]
        except Exception:
            return []  # not ours, or from before a key was replaced
        oldest = self._clock() - self._age
        return [entry for entry in entries if entry.issued > oldest]


def _record(digest: str) -> bytes:
    return bytes.fromhex(digest)[:_SIZE]


def _name(identifier: str) -> bytes:
    """The digest of an identifier under the key in force."""
    return next(_digests(identifier))


def _names(identifier: str) -> set[bytes]:
    """The digests of an identifier under all keys that are still accepted."""
    return set(_digests(identifier))


def _digests(identifier: str) -> Iterator[bytes]:
    value = identifier.encode("utf-8", "surrogatepass")
    for key in (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS):
        yield salted_hmac(_SALT, value, secret=key, algorithm="sha256").digest()[:_SIZE]


def deliver(context: RequestContext, response: HttpResponseBase) -> None:
    """Give the device its token, if the request brought it a new one. Never raises."""
    try:
        get_devices().deliver(context, response)
    except Exception:
        report_failure("a device could not be told that it is known")


@until_settings_change
def get_devices() -> Devices:
    return Devices(get_settings())
