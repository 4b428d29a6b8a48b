"""The Chromium that is installed here, if there is one, and a person who sits before it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from sample_project.accounts import PASSWORD, STAFF

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: Milliseconds until what never comes is given up: far more than a slow machine needs.
PATIENCE = 60_000


def installed() -> str | None:
    """The program that SECGUARD_TEST_CHROMIUM names, or the first one on PATH."""
    return os.environ.get("SECGUARD_TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def started(program: str) -> Iterator[Browser]:
    """Playwright's own event loop runs in this thread until the end: no test may use the ORM meanwhile."""
    with sync_playwright() as playwright:
        # Root has no sandbox to give, and containers give no shared memory.
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """Somebody at a browser, whose address a proxy names."""

    def __init__(self, browser: Browser, port: int, address: str, **options: Any) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.context: BrowserContext = browser.new_context(
            base_url=self.url, extra_http_headers={"X-Forwarded-For": address}, **options
        )
        self.context.set_default_timeout(PATIENCE)
        self.complaints: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, message: Any) -> None:
        # No site has to have an icon.
        if message.type in ("error", "warning") and "favicon.ico" not in message.location.get("url", ""):
            self.complaints.append(message.text)

    def log_in(self, name: str = STAFF, at: str = "/admin/secguard/") -> None:
        """Through the admin's own form."""
        self.page.goto(at)
        self.page.fill("#id_username", name)
        self.page.fill("#id_password", PASSWORD)
        self.page.click("[type=submit]")
        self.page.wait_for_load_state()

    def number(self, kind: str) -> int:
        """What a tile of the dashboard says."""
        return int(self.page.inner_text(f".sgd-tile-{kind} .sgd-number").replace(",", ""))
