"""The test site's pages, once with sync and once with async views.

Both read alike on purpose: what differs between the two entry points is ``await``, and the names of
Django's own functions.
"""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import (
    aauthenticate,
    alogin,
    alogout,
    authenticate,
    get_user_model,
    login,
    logout,
)
from django.contrib.auth.decorators import login_required, permission_required
from django.core.exceptions import PermissionDenied, SuspiciousFileOperation
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from rest_framework.authentication import BasicAuthentication
from rest_framework.permissions import IsAdminUser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.backends import SecurityGuardBackend
from secguard.decorators import logs_data_access, throttle
from secguard.signals import permission_denied

#: The requests that hang.
hanging: list[HttpRequest] = []


class Wrapper:
    """What REST framework does to a request: the view sees this, Django's own is inside."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request


class CrashError(Exception):
    """Raised by the pages that fail."""


def typed(request: HttpRequest) -> dict[str, Any]:
    """The credentials in a form or in a JSON body, unchecked, whatever their type."""
    if request.content_type == "application/json":
        body = json.loads(request.body)
        return {"username": body.get("username"), "password": body.get("password")}
    return {"username": request.POST.get("username"), "password": request.POST.get("password")}


def basic(request: HttpRequest) -> dict[str, str]:
    """The credentials in the Authorization header."""
    encoded = request.headers.get("Authorization", "").removeprefix("Basic ")
    username, _, password = base64.b64decode(encoded).decode().partition(":")
    return {"username": username, "password": password}


def answer(user: object) -> HttpResponse:
    """What login pages say: a redirect, or that the password was wrong."""
    return HttpResponse("wrong password") if user is None else HttpResponseRedirect("/")


class sync_pages:  # noqa: N801 - a namespace
    """Pages as sync views."""

    @staticmethod
    def home(request: HttpRequest) -> HttpResponse:
        return HttpResponse("welcome")

    @staticmethod
    def whoami(request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.user.get_username())

    @staticmethod
    def log_in(request: HttpRequest) -> HttpResponse:
        user = authenticate(request, **typed(request))
        if user is not None:
            login(request, user)
        return answer(user)

    @staticmethod
    def log_in_by_mail_or_name(request: HttpRequest) -> HttpResponse:
        given = typed(request)
        user = authenticate(request, username=request.POST["email"], password=given["password"])
        user = user or authenticate(request, **given)
        if user is not None:
            login(request, user)
        return answer(user)

    @staticmethod
    def log_in_without_request(request: HttpRequest) -> HttpResponse:
        return answer(authenticate(None, **typed(request)))

    @staticmethod
    def log_in_wrapped(request: HttpRequest) -> HttpResponse:
        return answer(authenticate(Wrapper(request), **typed(request)))

    @staticmethod
    def log_in_and_crash(request: HttpRequest) -> HttpResponse:
        get_user_model().objects.create(username=f"rolled back {request.POST['number']}")
        authenticate(request, **typed(request))
        raise CrashError("after authenticate()")

    @staticmethod
    def swallow(request: HttpRequest) -> HttpResponse:
        with suppress(CrashError):
            authenticate(request, **typed(request))
        return HttpResponse("all is well")

    @staticmethod
    def basic(request: HttpRequest) -> HttpResponse:
        user = authenticate(request, **basic(request))
        if user is None:
            return HttpResponse(status=401)
        request.user = user
        return HttpResponse("welcome")

    @staticmethod
    def basic_unmarked(request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=200 if authenticate(request, **basic(request)) else 401)

    @staticmethod
    def remote(request: HttpRequest) -> HttpResponse:
        return answer(authenticate(request, remote_user=request.POST["remote_user"]))

    @staticmethod
    def pin(request: HttpRequest) -> HttpResponse:
        return answer(authenticate(request, badge=request.POST["badge"], pin=request.POST["pin"]))

    @staticmethod
    def sign_up(request: HttpRequest) -> HttpResponse:
        given = typed(request)
        get_user_model().objects.create_user(**given)
        user = authenticate(request, **given)
        login(request, user)
        return answer(user)

    @staticmethod
    def sign_up_unchecked(request: HttpRequest) -> HttpResponse:
        user = get_user_model().objects.create_user(**typed(request))
        login(request, user)
        return answer(user)

    @staticmethod
    def log_out(request: HttpRequest) -> HttpResponse:
        logout(request)
        return HttpResponse("good bye")

    @staticmethod
    def deny(request: HttpRequest) -> HttpResponse:
        raise PermissionDenied("not yours")

    @staticmethod
    def forbid(request: HttpRequest) -> HttpResponse:
        return HttpResponse("not yours", status=403)

    @staticmethod
    def suspect(request: HttpRequest) -> HttpResponse:
        raise SuspiciousFileOperation("../../etc/passwd")

    @staticmethod
    @permission_required("auth.delete_user")
    def for_the_permitted(request: HttpRequest) -> HttpResponse:
        return HttpResponse("yours")

    @staticmethod
    @login_required
    def for_users(request: HttpRequest) -> HttpResponse:
        return HttpResponse("yours")

    @staticmethod
    def confirm(request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(f"/accounts/confirm/?next={request.get_full_path()}")

    @staticmethod
    @throttle("2/m")
    def two_a_minute(request: HttpRequest) -> HttpResponse:
        return HttpResponse("fine")

    @staticmethod
    @logs_data_access("payroll", action="export")
    def payroll(request: HttpRequest) -> HttpResponse:
        return HttpResponse("1,000", status=int(request.GET.get("status", 200)))

    @staticmethod
    def deny_by_hand(request: HttpRequest) -> HttpResponse:
        permission_denied.send(None, request=request, user=request.user, reason="by hand", room="vault")
        return HttpResponse(status=403)


class async_pages:  # noqa: N801 - a namespace
    """The same pages as async views."""

    @staticmethod
    async def home(request: HttpRequest) -> HttpResponse:
        return HttpResponse("welcome")

    @staticmethod
    async def whoami(request: HttpRequest) -> HttpResponse:
        return HttpResponse((await request.auser()).get_username())

    @staticmethod
    async def log_in(request: HttpRequest) -> HttpResponse:
        user = await aauthenticate(request, **typed(request))
        if user is not None:
            await alogin(request, user)
        return answer(user)

    @staticmethod
    async def log_in_by_mail_or_name(request: HttpRequest) -> HttpResponse:
        given = typed(request)
        user = await aauthenticate(request, username=request.POST["email"], password=given["password"])
        user = user or await aauthenticate(request, **given)
        if user is not None:
            await alogin(request, user)
        return answer(user)

    @staticmethod
    async def log_in_without_request(request: HttpRequest) -> HttpResponse:
        return answer(await aauthenticate(None, **typed(request)))

    @staticmethod
    async def log_in_wrapped(request: HttpRequest) -> HttpResponse:
        return answer(await aauthenticate(Wrapper(request), **typed(request)))

    @staticmethod
    async def log_in_and_crash(request: HttpRequest) -> HttpResponse:
        await aauthenticate(request, **typed(request))
        raise CrashError("after aauthenticate()")

    @staticmethod
    async def swallow(request: HttpRequest) -> HttpResponse:
        with suppress(CrashError):
            await aauthenticate(request, **typed(request))
        return HttpResponse("all is well")

    @staticmethod
    async def basic(request: HttpRequest) -> HttpResponse:
        user = await aauthenticate(request, **basic(request))
        if user is None:
            return HttpResponse(status=401)
        request.user = user
        return HttpResponse("welcome")

    @staticmethod
    async def basic_unmarked(request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=200 if await aauthenticate(request, **basic(request)) else 401)

    @staticmethod
    async def remote(request: HttpRequest) -> HttpResponse:
        return answer(await aauthenticate(request, remote_user=request.POST["remote_user"]))

    @staticmethod
    async def pin(request: HttpRequest) -> HttpResponse:
        return answer(await aauthenticate(request, badge=request.POST["badge"], pin=request.POST["pin"]))

    @staticmethod
    async def sign_up(request: HttpRequest) -> HttpResponse:
        given = typed(request)
        await sync_to_async(get_user_model().objects.create_user)(**given)
        user = await aauthenticate(request, **given)
        await alogin(request, user)
        return answer(user)

    @staticmethod
    async def sign_up_unchecked(request: HttpRequest) -> HttpResponse:
        user = await sync_to_async(get_user_model().objects.create_user)(**typed(request))
        await alogin(request, user)
        return answer(user)

    @staticmethod
    async def hang(request: HttpRequest) -> HttpResponse:
        """Reserves an attempt and never comes to its end."""
        await SecurityGuardBackend().aauthenticate(request, **typed(request))
        hanging.append(request)
        await asyncio.Event().wait()
        return HttpResponse("never")

    @staticmethod
    async def log_out(request: HttpRequest) -> HttpResponse:
        await alogout(request)
        return HttpResponse("good bye")

    @staticmethod
    async def deny(request: HttpRequest) -> HttpResponse:
        raise PermissionDenied("not yours")

    @staticmethod
    async def forbid(request: HttpRequest) -> HttpResponse:
        return HttpResponse("not yours", status=403)

    @staticmethod
    async def suspect(request: HttpRequest) -> HttpResponse:
        raise SuspiciousFileOperation("../../etc/passwd")

    @staticmethod
    @permission_required("auth.delete_user")
    async def for_the_permitted(request: HttpRequest) -> HttpResponse:
        return HttpResponse("yours")

    @staticmethod
    @login_required
    async def for_users(request: HttpRequest) -> HttpResponse:
        return HttpResponse("yours")

    @staticmethod
    async def confirm(request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(f"/accounts/confirm/?next={request.get_full_path()}")

    @staticmethod
    @throttle("2/m")
    async def two_a_minute(request: HttpRequest) -> HttpResponse:
        return HttpResponse("fine")

    @staticmethod
    @logs_data_access("payroll", action="export")
    async def payroll(request: HttpRequest) -> HttpResponse:
        return HttpResponse("1,000", status=int(request.GET.get("status", 200)))

    @staticmethod
    async def deny_by_hand(request: HttpRequest) -> HttpResponse:
        user = await request.auser()
        await permission_denied.asend(None, request=request, user=user, reason="by hand", room="vault")
        return HttpResponse(status=403)


class Api(APIView):
    """REST framework's: a sync view, which an ASGI server runs in a thread."""

    authentication_classes = [BasicAuthentication]
    permission_classes = [IsAdminUser]
    renderer_classes = [JSONRenderer]

    def get(self, request: Request) -> Response:
        return Response({"hello": request.user.get_username()})


def _patterns(pages: type) -> list[URLPattern]:
    names = [name for name in vars(pages) if not name.startswith("_")]
    return [path(f"{name}/", getattr(pages, name), name=name) for name in names]


sync_patterns, async_patterns = _patterns(sync_pages), _patterns(async_pages)
