"""One connection to a server, spoken to directly, and how long its answers are waited for."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import Any

import redis
from redis import exceptions as errors
from redis.exceptions import NoScriptError, ResponseError

from secguard.stores.budget import Budget, request_budget

try:
    import hiredis
except ImportError:  # an optional part of redis-py
    hiredis = None  # type: ignore[assignment]

#: The server is waited for in slices of a tenth of the time-out, and each counts as long as it was meant to be,
#: whatever it took: a slice that took longer was time in which this process was not served either (a container over
#: its quota, say), and no sign that the server hangs.
_SLICES = 10
#: On a saturated machine a server on the same processors is late without being away: it is waited for as long as a
#: fair scheduler may need to serve all who want to run, and never longer than so many time-outs. (Measured: hashing
#: passwords with 120 threads on two cores held Redis back by 100 to 700 ms, each process then counted for itself,
#: and 25 of 100 parallel guesses were checked instead of 5. Beside 14 endless loops on two cores 15 ms a thread were
#: too short in 2 of 6 bursts.)
_TURN_SECONDS, _LONGEST_WAIT = 0.03, 20


def scheduling_delay() -> float:
    """Seconds for which a thread may have to wait for a processor, if all are served in turn. Only Linux tells.

    As many as want to run now, or wanted to in the last minute if they still do: whoever asks runs himself, so that
    others happen to sleep.
    """
    try:
        with open("/proc/loadavg") as file:
            figures = file.read().split()
        runnable = max(int(figures[3].partition("/")[0]), float(figures[0]) * _contention())
    except (OSError, ValueError, IndexError):
        return 0.0
    return runnable / (os.cpu_count() or 1) * _TURN_SECONDS


def _contention() -> float:
    """Was somebody kept waiting for a processor in the last ten seconds? From 0 to 1, which is half of the time."""
    try:
        with open("/proc/pressure/cpu") as file:
            percent = float(file.read().split()[1].partition("=")[2])
    except (OSError, ValueError, IndexError):
        return 1.0  # kernels before 4.20 do not tell, and some hide it
    return min(1.0, percent / 50)


class Patience:
    """What is left of the time for which a request may wait for the store. ``timeout``: STORE_TIMEOUT."""

    __slots__ = ("_budget", "_slice", "_timeout")

    def __init__(self, timeout: float, budget: Budget | None = None) -> None:
        self._timeout, self._slice = timeout, timeout / _SLICES
        self._budget = request_budget() if budget is None else budget

    def next_slice(self) -> float:
        """For how many seconds to wait next. Raises redis-py's TimeoutError if there is nothing left."""
        left = self._timeout - self._budget.fair
        if left >= self._slice:
            return self._slice
        if left > 0.0001:
            return left
        if self._extension() > 0:
            return self._slice
        raise redis.TimeoutError(f"No answer within the {self._timeout * 1000:g} ms that a request may wait")

    def whole(self) -> float:
        """The same for what cannot be cut into slices."""
        seconds = max(self._timeout - self._budget.fair, self._extension())
        return seconds if seconds > 0 else self.next_slice()

    def _extension(self) -> float:
        return min(self._timeout * _LONGEST_WAIT, scheduling_delay()) - self._budget.real

    def spend(self, began: float, meant: float | None = None) -> None:
        """Waited since ``began``, of which at most ``meant`` seconds count."""
        real = time.monotonic() - began
        self._budget.spend(real, real if meant is None else min(real, meant))


class Wire:
    """A connection that redis-py made (address, TLS, password).

    Measured in a failed login: redis-py's own sending and reading cost 80 µs more for the two trips. Where
    hiredis is missing, or the socket is none (a fake server), redis-py's reading is used.
    """

    __slots__ = ("_connection", "_reader", "_sock", "_timeout", "since")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._sock: Any = getattr(connection, "_sock", None)
        usable = hiredis is not None and isinstance(self._sock, socket.socket)
        self._reader: Any = hiredis.Reader(replyError=_server_error) if usable else None
        self._timeout = 0.0
        #: When it was laid aside.
        self.since = 0.0

    def send(self, packed: bytes, patience: Patience) -> None:
        self._set_timeout(patience.next_slice())
        if self._reader is None:
            self._connection.send_packed_command([packed], check_health=False)
            return
        try:
            self._sock.sendall(packed)
        except TimeoutError as error:
            self.close()
            raise redis.TimeoutError("Timeout writing to socket") from error
        except OSError as error:
            self.close()
            raise redis.ConnectionError(f"Error while writing to socket: {error}") from error

    def read(self, patience: Patience) -> Any:
        """One reply; an error of the server is returned."""
        while True:
            seconds = patience.next_slice()
            self._set_timeout(seconds)
            began = time.monotonic()
            try:
                return self._next_reply()
            except ResponseError as error:
                return error
            except redis.TimeoutError:
                continue
            finally:
                patience.spend(began, seconds)

    def _set_timeout(self, seconds: float) -> None:
        if seconds != self._timeout and hasattr(self._sock, "settimeout"):
            self._sock.settimeout(seconds)
            self._timeout = seconds

    def _next_reply(self) -> Any:
        if self._reader is None:
            return self._connection.read_response(disconnect_on_error=False)
        reader = self._reader
        reply = reader.gets()
        while reply is False:  # not all of it is there
            try:
                data = self._sock.recv(65_536)
            except TimeoutError as error:
                raise redis.TimeoutError("Timeout reading from socket") from error
            except OSError as error:
                raise redis.ConnectionError(f"Error while reading from socket: {error}") from error
            if not data:
                raise redis.ConnectionError("Connection closed by server.")
            reader.feed(data)
            reply = reader.gets()
        return reply

    def is_stale(self) -> bool:
        """Nothing is outstanding on an idle connection: what can be read is its end."""
        self._timeout = 0.0  # looking at it sets the whole time-out again, before redis-py 8
        try:
            return bool(self._connection.can_read(timeout=0))
        except (redis.RedisError, OSError):
            return True

    def close(self) -> None:
        self._connection.disconnect()


class AsyncWire:
    """The same, awaited: by redis-py's means."""

    __slots__ = ("_connection", "since")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.since = 0.0

    async def exchange(self, packed: bytes, replies: int, patience: Patience) -> list[Any]:
        """Send, and read so many replies; errors of the server are returned. Closed if anything else goes wrong."""
        try:
            if not self._connection.is_connected:
                await self._connect(patience)
            await self._connection.send_packed_command([packed], check_health=False)
            return [await self._read(patience) for _ in range(replies)]
        except BaseException:
            # Whatever stopped the reading, a late reply must not be taken for the next one's.
            await self.close()
            raise

    async def _connect(self, patience: Patience) -> None:
        began = time.monotonic()
        try:
            # All of it: the name's resolution, TLS, the password.
            await asyncio.wait_for(self._connection.connect(), patience.whole())
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise redis.TimeoutError("Timeout connecting to server") from error
        finally:
            patience.spend(began)

    async def _read(self, patience: Patience) -> Any:
        connection = self._connection
        whole = connection.socket_timeout
        try:
            while True:
                # Not the argument timeout: when that runs out redis-py answers None, as for a key that is missing.
                connection.socket_timeout = seconds = patience.next_slice()
                began = time.monotonic()
                try:
                    return await connection.read_response(disconnect_on_error=False)
                except ResponseError as error:
                    return error
                except redis.TimeoutError:
                    continue
                finally:
                    patience.spend(began, seconds)
        finally:
            connection.socket_timeout = whole

    async def is_stale(self) -> bool:
        try:
            # redis-py 8 renamed it, and warns of the old name.
            can_read = getattr(self._connection, "can_read", None) or self._connection.can_read_destructive
            return bool(await can_read())
        except (redis.RedisError, OSError):
            return True

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)


_SERVER_ERRORS: dict[str, type[redis.RedisError]] = {
    "CLUSTERDOWN": errors.ClusterDownError,
    "LOADING": errors.BusyLoadingError,
    "NOAUTH": errors.AuthenticationError,
    "NOPERM": errors.NoPermissionError,
    "NOSCRIPT": NoScriptError,
    "OOM": errors.OutOfMemoryError,
    "READONLY": errors.ReadOnlyError,
    "TRYAGAIN": errors.TryAgainError,
}
_REDIRECTIONS: dict[str, type[errors.AskError]] = {"ASK": errors.AskError, "MOVED": errors.MovedError}


def _server_error(text: str) -> redis.RedisError:
    """The exception that redis-py has for what the server answered."""
    if "unauthenticated" in text:  # how a server without our password takes a long command
        return errors.AuthenticationError(f"NOAUTH {text}")
    code, _, rest = text.partition(" ")
    if code in _REDIRECTIONS:
        return _REDIRECTIONS[code](rest)  # where to, is found in it
    return _SERVER_ERRORS.get(code, ResponseError)(text)
