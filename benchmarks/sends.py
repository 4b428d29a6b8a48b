"""Counts trips to the store."""

from __future__ import annotations

import socket
from typing import Any
from unittest.mock import patch


def counted_sends(sends: list[int]) -> Any:
    """What is written to a socket: this process has none but the store's."""

    def counted(self: socket.socket, data: bytes) -> None:
        sends.append(len(data))
        while data:
            data = data[self.send(data) :]

    return patch.object(socket.socket, "sendall", counted)
