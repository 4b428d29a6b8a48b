"""``make screenshots``: the dashboard as it looks, into docs/screenshots. Attackers are real, against a real site."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser

from sample_project.demo.servers import ROOT, Site, create_database, redis_protocol_server, site
from tests.browser.chromium import NAMES, Person, installed, started
from tests.browser.conftest import manage
from tests.browser.places import write_countries

FOLDER = ROOT / "docs" / "screenshots"
ATTACKERS = {
    "198.51.100.3": "bob",
    "198.51.100.40": "alice",
    "203.0.113.66": "alice",
    "203.0.113.130": "carol",
    "198.51.100.99": "root",
    "192.0.2.14": "alice",
}
#: Colours of a picture: no more are needed, and its file is a third as large.
COLOURS = 96


def main() -> int:
    program = installed()
    if program is None:
        print(f"No Chromium was found: install one of {', '.join(NAMES)}.", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="secguard-screenshots-")))
        redis_url, _ = stack.enter_context(redis_protocol_server(folder))
        countries = write_countries(folder / "countries.mmdb")
        create_database(folder / "site.sqlite3", office=0)
        guard = {"TRUSTED_PROXIES": ["127.0.0.1"], "GEOIP_PATH": str(countries)}
        running = stack.enter_context(site(folder / "site", folder / "site.sqlite3", redis_url, guard))
        browser = stack.enter_context(started(program))
        _picture(browser, running, "empty", window="7d", height=1000)
        manage(running, "from tests.browser import history; history.write()", GEOIP_PATH=str(countries))
        _attack(running)
        _picture(browser, running, "light")
        _picture(browser, running, "dark", color_scheme="dark")
        _picture(browser, running, "narrow", width=390)
        _picture(browser, running, "top", height=1010, whole=False)
    return 0


def _attack(running: Site) -> None:
    for address, name in ATTACKERS.items():
        attacker = running.visitor(address)
        attacker.open_login_page()
        for number in range(8):
            attacker.log_in(name, f"guess {number}")


def _picture(
    browser: Browser,
    running: Site,
    name: str,
    *,
    width: int = 1280,
    height: int = 900,
    whole: bool = True,
    window: str = "24h",
    **options: Any,
) -> None:
    person = Person(browser, running.port, "203.0.113.250", viewport={"width": width, "height": height}, **options)
    person.log_in(at=f"/admin/secguard/?window={window}")
    person.page.wait_for_selector("#secguard-chart canvas")
    path = FOLDER / f"dashboard-{name}.png"
    person.page.screenshot(path=path, full_page=whole, animations="disabled")
    person.context.close()
    with Image.open(path) as picture:
        reduced = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    reduced.save(path, optimize=True)
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    sys.exit(main())
