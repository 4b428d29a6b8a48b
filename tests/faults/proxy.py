"""A proxy in front of a server, which can be made slow, rude and forgetful; with TLS, if asked."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

#: What a server of another kind would say.
GARBAGE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


class Proxy:
    """Passes bytes between a free port and ``target`` on loopback.

    ``delay``: seconds that each reply takes longer. ``garbles``: replies are nonsense. ``cuts``: connections end in
    the middle of a reply. ``loses``: connections end before a reply to what contains these bytes, once.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.delay = 0.0
        self.garbles = self.cuts = False
        self.loses: bytes | None = None
        self.lost = 0
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        # Shut down first: a thread that waits in accept() does not notice that the descriptor is closed.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """End all connections."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            client.close()
            return
        if self._tls is not None:
            try:
                client = self._tls.wrap_socket(client, server_side=True)
            except OSError:
                client.close()
                server.close()
                return
        self._open += [client, server]
        doomed = threading.Event()
        for source, sink, replies in ((client, server, False), (server, client, True)):
            threading.Thread(target=self._pass_on, args=(source, sink, replies, doomed), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, replies: bool, doomed: threading.Event) -> None:
        with suppress(OSError, ValueError):
            while data := source.recv(65_536):
                if replies:
                    data = self._reply(data, doomed)
                elif self.loses and self.loses in data:
                    self.loses = None
                    self.lost += 1
                    doomed.set()
                if data:
                    sink.sendall(data)
                if replies and (self.cuts or doomed.is_set()):
                    break
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _reply(self, data: bytes, doomed: threading.Event) -> bytes:
        if doomed.is_set():
            return b""
        if self.delay:
            time.sleep(self.delay)
        if self.garbles:
            return GARBAGE
        return data[: len(data) // 2] if self.cuts else data


@contextmanager
def proxy(target: int, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    with closing(Proxy(target, tls)) as running:
        yield running
