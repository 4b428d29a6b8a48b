"""The dashboard in a real browser, on a real site that is being attacked."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from sample_project.demo.servers import Site
from tests.browser.chromium import PATIENCE, Person
from tests.browser.conftest import Somebody, manage

INDEX = "/admin/secguard/"
DATA = "**/dashboard/data/**"
#: Milliseconds; the page asks every five seconds, and waits for five minutes at most.
A_WHILE = 10 * 60_000

expect.set_options(timeout=PATIENCE)


def attack(running: Site, address: str, name: str, guesses: int = 8) -> list[int]:
    """→ the statuses of the answers."""
    attacker = running.visitor(address)
    attacker.open_login_page()
    return [attacker.log_in(name, f"guess {number}").status for number in range(guesses)]


def counted(person: Person, running: Site, kind: str, least: int) -> None:
    """Wait until a tile says so much, and be there meanwhile: workers write their counts as requests come."""
    for _ in range(60):
        if person.number(kind) >= least:
            return
        for _ in range(8):
            running.visitor("192.0.2.201").get("/")
        person.page.wait_for_timeout(500)
    raise AssertionError(f"{kind} stays at {person.number(kind)}, below {least}")


def axe(page: Page) -> list[str]:
    """What axe-core finds wrong: rules and elements."""
    spec = find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.origin is not None
    # From within the debugger, since the page's policy allows no script but its own.
    page.evaluate(Path(spec.origin).with_name("axe.min.js").read_text())
    # The breadcrumbs are Django's own: a link in them differs from their text by its colour alone.
    found = page.evaluate("() => axe.run({exclude: ['.breadcrumbs']}, {resultTypes: ['violations']})")
    return [
        f"{violation['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


# -- live --------------------------------------------------------------------------------------------------------------


def test_the_numbers_rise_while_somebody_looks(somebody: Somebody, running: Site) -> None:
    person = somebody()
    person.log_in()
    page = person.page
    page.evaluate("window.notReloaded = true")
    failed, threats = person.number("failed"), person.number("open")
    assert 403 in attack(running, "198.51.100.7", "bob")
    counted(person, running, "failed", failed + 5)
    counted(person, running, "open", threats + 1)
    expect(page.locator('[data-panel="threats"]')).to_contain_text("198.51.100.7")
    expect(page.locator('[data-panel="addresses"]')).to_contain_text("198.51.100.7")
    expect(page.locator('[data-panel="origins"]')).to_contain_text("Brazil")
    # The map has a shade for the country, and the chart a line.
    assert page.locator("#secguard-map path[data-level]").count() == 1
    assert page.locator("#secguard-chart canvas").count() == 1
    expect(page.locator("#secguard-news")).to_contain_text("Open threats")
    assert page.evaluate("window.notReloaded")
    assert person.complaints == []


def test_whoever_stands_on_a_link_stays_there_when_the_numbers_change(somebody: Somebody, running: Site) -> None:
    attack(running, "198.51.100.40", "carol")
    person = somebody()
    person.log_in()
    page = person.page
    page.locator('[data-panel="addresses"] a', has_text="198.51.100.40").focus()
    attack(running, "198.51.100.70", "carol")
    expect(page.locator('[data-panel="addresses"]')).to_contain_text("198.51.100.70")
    assert page.evaluate("document.activeElement.textContent") == "198.51.100.40"


def test_a_threat_is_followed_to_its_block_which_is_lifted_and_the_address_is_let_in(
    somebody: Somebody, running: Site
) -> None:
    address = "198.51.100.99"
    attack(running, address, "dave")
    assert running.visitor(address).get("/").status == 403
    person = somebody()
    person.log_in()
    page = person.page
    # The threat's own event, and back.
    page.locator('[data-panel="threats"] tr', has_text=address).locator("th a").click()
    expect(page.locator("#result_list")).to_contain_text("brute_force")
    page.go_back()
    # The address: its page has the button.
    page.locator('[data-panel="threats"] tr', has_text=address).get_by_role("link", name=address, exact=True).click()
    expect(page).to_have_url(re.compile(f"/address/{re.escape(address)}/"))
    form = page.locator("form[action$='/lift/']").first
    form.locator("[name=reason]").fill("It was our own scanner")
    form.locator("[type=submit]").click()
    expect(page.locator("body")).to_contain_text("It was our own scanner")
    assert_soon(lambda: running.visitor(address).get("/").status == 200, page)
    page.goto(f"{INDEX}eventrecord/?event_type__exact=address_unblocked&network={address}")
    expect(page.locator("#result_list")).to_contain_text(address)
    assert person.complaints == []


def test_a_lift_needs_a_post_and_the_pages_token(somebody: Somebody, running: Site) -> None:
    address = "198.51.100.101"
    attack(running, address, "dave")
    person = somebody()
    person.log_in(at=f"{INDEX}eventrecord/address/{address}/")
    action = person.page.locator("form[action$='/lift/']").first.get_attribute("action")
    assert action
    asked = person.context.request
    assert asked.get(action, max_redirects=0).status == 405
    origin = {"Origin": person.url, "Referer": f"{person.url}/"}
    assert asked.post(action, form={"reason": "none"}, headers=origin, max_redirects=0).status == 403
    assert running.visitor(address).get("/").status == 403


def assert_soon(happened: Callable[[], bool], page: Page) -> None:
    """The other workers hear of it within a second."""
    for _ in range(100):
        if all(happened() for _ in range(8)):
            return
        page.wait_for_timeout(200)
    raise AssertionError("not all workers have heard of it")


# -- who may -----------------------------------------------------------------------------------------------------------


def test_nobody_sees_it_without_logging_in(somebody: Somebody) -> None:
    person = somebody()
    person.page.goto(INDEX)
    expect(person.page.locator("#login-form")).to_be_visible()
    assert person.context.request.get(f"{INDEX}eventrecord/dashboard/data/", max_redirects=0).status == 401


def test_staff_who_may_not_see_events_see_the_admin_without_it(somebody: Somebody, running: Site) -> None:
    manage(
        running,
        "from django.contrib.auth.models import Permission, User\n"
        "clerk = User.objects.get(username='alice'); clerk.is_staff = True; clerk.save()\n"
        "clerk.user_permissions.set(Permission.objects.filter(codename='view_block'))",
    )
    person = somebody()
    person.log_in("alice", at="/admin/")
    expect(person.page.locator("#user-tools")).to_contain_text("alice")
    person.page.goto(INDEX)
    assert person.page.locator("#secguard-dashboard").count() == 0
    answer = person.context.request.get(f"{INDEX}eventrecord/dashboard/data/", max_redirects=0)
    assert answer.status == 403


# -- what stops it -----------------------------------------------------------------------------------------------------


@pytest.fixture
def watching(somebody: Somebody) -> tuple[Person, list[str]]:
    """A person at the dashboard whose clock the test moves, and the questions that the page has asked since."""
    person = somebody()
    person.log_in()
    person.page.clock.install()
    asked: list[str] = []
    person.page.on("request", lambda request: asked.append(request.url) if "/dashboard/data/" in request.url else None)
    person.page.goto(INDEX)
    expect(person.page.locator("#secguard-live")).to_be_visible()
    return person, asked


def next_answer(page: Page) -> None:
    with page.expect_response(DATA):
        page.clock.run_for(6_000)


def test_it_stops_for_good_when_the_session_has_ended(watching: tuple[Person, list[str]]) -> None:
    person, asked = watching
    person.context.clear_cookies()
    next_answer(person.page)
    expect(person.page.locator("#secguard-state")).to_contain_text("You are logged out")
    expect(person.page.locator("#secguard-news")).to_contain_text("You are logged out")
    person.page.clock.run_for(A_WHILE)
    assert len(asked) == 1


def test_it_rests_while_nobody_looks_and_goes_on_at_once(watching: tuple[Person, list[str]]) -> None:
    person, asked = watching
    page = person.page
    turn = "hidden => {Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});" \
           "document.dispatchEvent(new Event('visibilitychange'))}"  # fmt: skip
    page.evaluate(turn, True)
    page.clock.run_for(A_WHILE)
    assert asked == []
    expect(page.locator("#secguard-state")).to_contain_text("Paused")
    with page.expect_response(DATA):
        page.evaluate(turn, False)
    expect(page.locator("#secguard-state")).to_contain_text("Updated")


def test_whoever_pauses_it_has_peace_until_it_is_resumed(watching: tuple[Person, list[str]]) -> None:
    person, asked = watching
    page = person.page
    page.click("#secguard-pause")
    page.clock.run_for(A_WHILE)
    assert asked == []
    with page.expect_response(DATA):
        page.click("#secguard-pause")


def test_a_site_that_does_not_answer_is_asked_less_and_less_often(watching: tuple[Person, list[str]]) -> None:
    person, asked = watching
    page = person.page
    page.route(DATA, lambda route: route.abort())
    for waited, wait in pairwise((5, 10, 20, 40, 80, 160, 300, 300)):
        page.clock.run_for(waited * 1_000 + 100)
        expect(page.locator("#secguard-state")).to_contain_text(f"Next attempt in {wait} s")
    assert len(asked) == 7
    page.unroute(DATA)
    with page.expect_response(DATA):
        page.clock.run_for(300_100)
    expect(page.locator("#secguard-state")).to_contain_text("Updated")


def test_an_answer_that_is_no_json_is_an_error_and_no_end(watching: tuple[Person, list[str]]) -> None:
    person, _ = watching

    def answer(route: Route) -> None:
        route.fulfill(status=200, content_type="text/html", body="<h1>Under repair</h1>")

    person.page.route(DATA, answer)
    next_answer(person.page)
    expect(person.page.locator("#secguard-state")).to_contain_text("Next attempt in 10 s")


# -- for everybody -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("dark", 360)])
def test_axe_finds_nothing(somebody: Somebody, running: Site, scheme: Any, width: int) -> None:
    attack(running, "203.0.113.70", "carol")
    person = somebody(color_scheme=scheme, viewport={"width": width, "height": 900})
    person.log_in()
    page = person.page
    page.click("#secguard-table summary")
    page.wait_for_selector("#secguard-table table")
    page.wait_for_selector("#secguard-chart canvas")
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_axe_finds_nothing_where_there_is_nothing_to_see(somebody: Somebody, running: Site) -> None:
    manage(
        running,
        "from secguard.models import EventCount, EventRecord\n"
        "EventCount.objects.all().delete(); EventRecord.objects.all().delete()",
    )
    person = somebody()
    person.log_in()
    expect(person.page.locator('[data-panel="threats"]')).to_contain_text("No threat is open")
    assert axe(person.page) == []


def test_everything_is_reached_by_keyboard(somebody: Somebody) -> None:
    person = somebody()
    person.log_in()
    page = person.page
    wanted = page.evaluate(
        "() => document.querySelectorAll('#secguard-dashboard :is(a, button, summary, [tabindex])').length"
    )
    page.focus(".sgd-windows a")
    reached = 1
    for _ in range(400):
        page.keyboard.press("Tab")
        if not page.evaluate("document.activeElement.closest('#secguard-dashboard') !== null"):
            break
        reached += 1
    hidden = page.evaluate(
        "() => [...document.querySelectorAll('#secguard-dashboard :is(a, button, summary, [tabindex])')]"
        ".filter(each => !each.checkVisibility()).length"
    )
    assert reached == wanted - hidden


def test_the_theme_that_the_admin_is_switched_to_is_the_charts_too(somebody: Somebody) -> None:
    person = somebody()
    person.log_in()
    page = person.page
    colour = "getComputedStyle(document.getElementById('secguard-chart')).getPropertyValue('--sgd-failed').trim()"
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    dark = page.evaluate(colour)
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    assert page.evaluate(colour) != dark


def test_without_javascript_the_numbers_are_there(somebody: Somebody, running: Site) -> None:
    attack(running, "203.0.113.100", "carol")
    person = somebody(java_script_enabled=False)
    person.log_in(at=f"{INDEX}?window=7d")
    page = person.page
    expect(page.locator("[aria-current=true]")).to_have_text("7 days")
    expect(page.locator('[data-panel="addresses"]')).to_contain_text("203.0.113.100")
    expect(page.locator("#secguard-chart")).to_be_hidden()
    page.click("#secguard-table summary")
    page.click("#secguard-table a")
    expect(page.locator("#secguard-table table")).to_contain_text("Failed logins")


def test_countries_are_named_in_the_readers_language(somebody: Somebody, running: Site) -> None:
    attack(running, "203.0.113.133", "carol")
    person = somebody()
    person.log_in()
    page = person.page
    page.route("**/admin/secguard/", lambda route: _in_german(route))
    page.reload()
    expect(page.locator('[data-panel="origins"] [data-country="SG"]')).to_have_text("Singapur")


def _in_german(route: Route) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, body=answer.text().replace('"language": "en"', '"language": "de"'))
