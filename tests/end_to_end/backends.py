"""Backends that the tests put behind, or instead of, the guarded ones."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.db.models import Q

from secguard.backends import GuardedBackendMixin
from tests.views import CrashError

#: The user names whose passwords were really looked at, in order.
checked: list[object] = []


class CountingBackend(ModelBackend):
    """Django's own, and it tells which passwords it looked at."""

    def authenticate(self, request: Any, username: Any = None, password: Any = None, **kwargs: Any) -> Any:
        checked.append(username)
        return super().authenticate(request, username, password, **kwargs)

    async def aauthenticate(self, request: Any, username: Any = None, password: Any = None, **kwargs: Any) -> Any:
        checked.append(username)
        return await super().aauthenticate(request, username, password, **kwargs)


class CrashingBackend(BaseBackend):
    """Its directory server is away whenever somebody called "crash" comes by."""

    def authenticate(self, request: Any, username: Any = None, password: Any = None) -> None:
        if password == "crash":
            raise CrashError("the directory is away")


class MailBackend(ModelBackend):
    """Takes a mail address for a user name."""

    def authenticate(self, request: Any, username: Any = None, password: Any = None, **kwargs: Any) -> Any:
        user = get_user_model().objects.filter(email=username).first()
        return user if user is not None and user.check_password(password) else None

    async def aauthenticate(self, request: Any, username: Any = None, password: Any = None, **kwargs: Any) -> Any:
        user = await get_user_model().objects.filter(email=username).afirst()
        return user if user is not None and await user.acheck_password(password) else None


class NameOrMailBackend(ModelBackend):
    """Takes a user name or a mail address, and whoever of several the password is right for."""

    def authenticate(self, request: Any, username: Any = None, password: Any = None, **kwargs: Any) -> Any:
        checked.append(username)
        found = get_user_model().objects.filter(Q(username=username) | Q(email__iexact=username))
        return next((user for user in found if user.check_password(password)), None)

    async def aauthenticate(self, request: Any, username: Any = None, password: Any = None, **kwargs: Any) -> Any:
        return await sync_to_async(self.authenticate)(request, username, password, **kwargs)


class BadgeReader(BaseBackend):
    """A backend with a narrow signature: it takes a badge and a PIN, and nothing else."""

    def authenticate(self, request: Any, badge: str, pin: str) -> Any:
        checked.append(badge)
        return get_user_model().objects.filter(username=badge).first() if pin == "1234" else None


class GuardedBadgeReader(GuardedBackendMixin, BadgeReader):
    """The same, guarded."""


class NobodyBackend(BaseBackend):
    """Knows nobody, and asks no database: which some names cannot be asked for."""

    def authenticate(self, request: Any, username: Any = None, password: Any = None) -> None:
        return None
