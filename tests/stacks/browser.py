"""A visitor of a live server, over HTTP: cookies and CSRF tokens as a browser has them; redirects are not followed."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode, urlsplit


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class Browser:
    """Comes from ``address``, which the stacks' settings believe of a forwarding header."""

    def __init__(self, url: str, address: str) -> None:
        self.host = urlsplit(url).netloc
        self.address = address
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, None, headers)

    def post(self, path: str, data: Any = None, **headers: str) -> Answer:
        """A form, with the CSRF token that a page of the site has set as a cookie."""
        form = {"csrfmiddlewaretoken": self.cookies.get("csrftoken", ""), **(data or {})}
        given = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{self.host}", **headers}
        return self.request("POST", path, urlencode(form), given)

    def send_json(self, path: str, data: Any = None, method: str = "POST", **headers: str) -> Answer:
        return self.request(method, path, json.dumps(data or {}), {"Content-Type": "application/json", **headers})

    def request(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given |= {"X-Forwarded-For": self.address}
        if self.cookies:
            given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request(method, path, body, given)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        for line in response.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return Answer(response.status, response.headers, text)
