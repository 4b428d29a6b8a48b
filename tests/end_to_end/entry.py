"""The two ways into the test site, behind one interface: a visitor at an address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractBaseUser
from django.db import connections
from django.http import HttpResponse
from django.test import AsyncClient, Client

from secguard.pipeline import get_store
from tests.stores.drive import hang_up

T = TypeVar("T")

ADDRESS = "192.0.2.1"
RIGHT, WRONG = "correct horse battery staple", "guess"


class Entry(Protocol):
    """One entry point. ``views``: the prefix under which its kind of views is served."""

    views: str

    def visitor(self, address: str | None = ADDRESS, **headers: str) -> Visitor: ...

    def where_sync_code_runs(self, function: Callable[[], T]) -> T: ...

    def hang_up(self) -> None:
        """Close the connections that this entry point opened to the store."""

    def close(self) -> None: ...


class Visitor:
    """Somebody at an address, with cookies of their own. ``headers`` are sent with each request."""

    def __init__(self, entry: Entry, headers: Mapping[str, str]) -> None:
        self.entry, self.headers = entry, dict(headers)

    def request(self, method: str, path: str, **arguments: Any) -> HttpResponse:
        raise NotImplementedError

    def force_login(self, user: AbstractBaseUser) -> None:
        raise NotImplementedError

    def get(self, page: str = "home/", **headers: str) -> HttpResponse:
        return self.request("get", self.path(page), headers={**self.headers, **headers})

    def post(self, page: str, data: Any = None, *, content_type: str | None = None, **headers: str) -> HttpResponse:
        arguments = {"content_type": content_type} if content_type else {}
        return self.request("post", self.path(page), data=data or {}, headers={**self.headers, **headers}, **arguments)

    def path(self, page: str) -> str:
        """A page of this entry's kind of views, or any other path if it begins with a slash."""
        return page if page.startswith("/") else f"/{self.entry.views}/{page}"

    def log_in(self, username: str = "anna", password: str = RIGHT) -> HttpResponse:
        return self.post("log_in/", {"username": username, "password": password})

    def guess(self, times: int = 1, username: str = "anna") -> list[int]:
        """Wrong passwords. → the status of each answer."""
        return [self.log_in(username, WRONG).status_code for _ in range(times)]


class WsgiVisitor(Visitor):
    def __init__(self, entry: Entry, address: str | None, headers: Mapping[str, str]) -> None:
        super().__init__(entry, headers)
        self.client = Client(raise_request_exception=False, REMOTE_ADDR=address or "")

    def request(self, method: str, path: str, **arguments: Any) -> HttpResponse:
        return getattr(self.client, method)(path, **arguments)

    def force_login(self, user: AbstractBaseUser) -> None:
        self.client.force_login(user)


class Wsgi:
    """Django's WSGI handler, sync middleware and sync views."""

    views = "sync"

    def visitor(self, address: str | None = ADDRESS, **headers: str) -> Visitor:
        return WsgiVisitor(self, address, headers)

    def where_sync_code_runs(self, function: Callable[[], T]) -> T:
        return function()

    def hang_up(self) -> None:
        pass

    def close(self) -> None:
        pass


class AsgiClient(AsyncClient):
    """Django's, at an address. ``raw_headers`` go out as they are: Django's own would tidy up their names."""

    peer: list[Any] | None = None
    raw_headers: list[tuple[bytes, bytes]] = []

    async def request(self, **scope: Any) -> HttpResponse:
        # Django 5.1's client writes the names as a WSGI server does; nobody sends them like that.
        headers = [(name.replace(b"_", b"-"), value) for name, value in scope["headers"]]
        scope.update(client=self.peer, headers=[*headers, *self.raw_headers])
        return await super().request(**scope)


class AsgiVisitor(Visitor):
    entry: Asgi

    def __init__(self, entry: Asgi, address: str | None, headers: Mapping[str, str]) -> None:
        super().__init__(entry, headers)
        self.client = AsgiClient(raise_request_exception=False)
        self.client.peer = None if address is None else [address, 50_000]

    def request(self, method: str, path: str, **arguments: Any) -> HttpResponse:
        return self.entry.loop.run_until_complete(getattr(self.client, method)(path, **arguments))

    def force_login(self, user: AbstractBaseUser) -> None:
        self.entry.loop.run_until_complete(self.client.aforce_login(user))


class Asgi:
    """Django's ASGI handler, async middleware and async views, on one event loop as under a server."""

    views = "async"

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def visitor(self, address: str | None = ADDRESS, **headers: str) -> Visitor:
        return AsgiVisitor(self, address, headers)

    def where_sync_code_runs(self, function: Callable[[], T]) -> T:
        return self.loop.run_until_complete(sync_to_async(function)())

    def close(self) -> None:
        self.where_sync_code_runs(connections.close_all)
        self.hang_up()
        self.loop.close()

    def hang_up(self) -> None:
        self.loop.run_until_complete(hang_up(get_store().primary))


ENTRIES: dict[str, Callable[[], Entry]] = {"wsgi": Wsgi, "asgi": Asgi}
