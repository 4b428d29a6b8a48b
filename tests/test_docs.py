"""The documentation says what the code does."""

from __future__ import annotations

import ast
import json
import logging
import re
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
from django.dispatch import Signal
from django.test import RequestFactory
from django.utils.module_loading import import_string

from secguard import signals
from secguard.blocking.response import Refusal
from secguard.conf import KEYS, MODE_VARIABLE, PRESETS, parse
from secguard.detection import Action, Rule, Threat
from secguard.detection.catalogue import ALL_RULES, BRUTE_FORCE
from secguard.detection.rule import SUBJECTS
from secguard.events import VOCABULARY
from secguard.exceptions import InvalidRule
from secguard.logging import SecurityEvent, SecurityEventLogger
from secguard.network import ClientAddressResolver
from tests.docs.pages import (
    BLOCKS,
    ENVIRONMENT,
    PROSE,
    PYTHON,
    ROOT,
    Block,
    assignments,
    block_with,
    cells,
    code,
    headings,
    named,
    page,
    run_block,
    section,
    table,
)

#: What the table of rules calls the events.
COUNTED: dict[object, str] = {
    ("login_failed",): "failures",
    ("trap_hit",): "trap hits",
    ("permission_denied",): "denials",
    ("token_forged",): "forged tokens",
    ("2fa_failed", "code_rejected"): "wrong second factors and codes",
    ("success_after_attack",): "successes under attack",
}

# -- settings --------------------------------------------------------------------------------------------


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    documented = table(page("docs/settings.md"), "key", "default", "takes", "meaning")
    assert [code(row["key"]) for row in documented] == list(KEYS)
    assert [name for name in headings(page("docs/settings.md"), 2) if name.isupper()] == list(KEYS)


@pytest.mark.parametrize(
    "row", table(page("docs/settings.md"), "key", "default", "takes", "meaning"), ids=lambda row: code(row["key"])
)
def test_a_documented_default_is_the_true_one(row: dict[str, str]) -> None:
    documented, true = ast.literal_eval(code(row["default"])), KEYS[code(row["key"])].default
    assert (documented, type(documented)) == (true, type(true))


def test_no_page_speaks_of_a_setting_that_does_not_exist() -> None:
    for path in PROSE:
        mentioned = re.findall(r"SECGUARD\[[\"'](\w+)[\"']\]", path.read_text(encoding="utf-8"))
        assert set(mentioned) <= set(KEYS), path.name


def test_the_environment_variable_of_the_emergency_switch_is_documented() -> None:
    for name in ("docs/settings.md", "docs/blocking.md"):
        assert MODE_VARIABLE in page(name)


# -- checks ----------------------------------------------------------------------------------------------


def test_every_check_is_documented_and_every_documented_check_exists() -> None:
    source = (ROOT / "secguard" / "checks.py").read_text(encoding="utf-8")
    documented = headings(page("docs/checks.md"), 2)
    assert len(documented) == len(set(documented))
    assert set(documented) == set(re.findall(r'id="(secguard\.[EW]\d+)"', source))


# -- events ----------------------------------------------------------------------------------------------

EVENT_COLUMNS = ("type", "constant", "category", "severity", "level", "OWASP term", "logged by")


def test_the_table_of_events_is_that_of_the_code() -> None:
    documented = {code(row["type"]): row for row in table(page("docs/events.md"), *EVENT_COLUMNS)}
    assert list(documented) == [str(event_type) for event_type in VOCABULARY]
    for event_type, spec in VOCABULARY.items():
        row = documented[str(event_type)]
        assert getattr(SecurityEvent, code(row["constant"])) == event_type
        assert row["category"] == spec.category.value
        assert row["severity"] == spec.severity.value
        assert row["level"] == logging.getLevelName(spec.severity.level)
        assert code(row["OWASP term"]) == spec.owasp


def test_every_method_that_logs_is_documented() -> None:
    rows = table(page("docs/events.md"), "method", "event")
    documented = re.findall(r"`(\w+)`", " ".join(row["method"] for row in rows))
    assert sorted(documented) == sorted(name for name in vars(SecurityEventLogger) if name.startswith("log"))


def test_every_other_public_method_of_the_logger_is_documented() -> None:
    text = page("docs/events.md")
    public = {name for name, value in vars(SecurityEventLogger).items() if callable(value) and name[0] != "_"}
    missing = {name for name in public if not name.startswith("log") and f"`{name}(" not in text}
    assert missing == {"effective_rules"}  # of use inside secguard


def test_every_threshold_of_the_logger_is_documented() -> None:
    rows = table(page("docs/logging.md"), "attribute", "rule", "default")
    documented = {code(row["attribute"]): float(row["default"]) for row in rows}
    assert documented == {name: value for name, value in vars(SecurityEventLogger).items() if name.isupper()}
    for row in rows:
        changed = type("Changed", (SecurityEventLogger,), {code(row["attribute"]): 7})().effective_rules()
        assert [rule.name for rule in changed if rule not in ALL_RULES] == [code(row["rule"])]


def test_every_signal_is_documented_and_every_documented_signal_exists() -> None:
    rows = table(page("docs/events.md"), "signal", "sent with")
    existing = [name for name, value in vars(signals).items() if isinstance(value, Signal)]
    assert [code(row["signal"]) for row in rows] == existing


def test_every_reason_not_to_block_is_documented() -> None:
    (told,) = re.findall(r"`reason` is (.*?)\.\n", page("docs/events.md"), flags=re.DOTALL)
    source = (ROOT / "secguard" / "blocking" / "policy.py").read_text(encoding="utf-8")
    (reasons,) = re.findall(r"``reason``: (.*?)\.\n", source, flags=re.DOTALL)
    known = set(re.findall(r"\w+", re.sub(r"\(.*?\)|\bor\b", "", reasons, flags=re.DOTALL)))
    assert known == set(re.findall(r"`([a-z_]+)`", told))
    rows = table(page("docs/blocking.md"), "who", "said by", "`reason` in `block_suppressed`")
    assert {code(row["`reason` in `block_suppressed`"]) for row in rows} == known - {"full"}


# -- presets ---------------------------------------------------------------------------------------------


def test_every_preset_is_documented_and_every_documented_preset_exists() -> None:
    documented = headings(page("docs/presets.md"), 2)
    assert [name for name in documented if name in PRESETS] == list(PRESETS)
    assert all(f'`"{preset}"`' in page("docs/settings.md") for preset in PRESETS)


@pytest.mark.parametrize("preset", [preset for preset, values in PRESETS.items() if values])
def test_a_documented_preset_has_the_true_values_and_says_what_it_costs(preset: str) -> None:
    text = section(page("docs/presets.md"), preset)
    documented = {code(row["setting"]): ast.literal_eval(code(row["value"])) for row in table(text, "setting", "value")}
    assert documented == PRESETS[preset]
    assert "**What it costs:**" in text


# -- rules -----------------------------------------------------------------------------------------------


def test_the_table_of_rules_is_that_of_the_code() -> None:
    columns = ("rule", "counts", "subject", "threshold", "window", "action", "technique")
    documented = [tuple(row.values()) for row in table(page("docs/rules.md"), *columns)]
    assert documented == [
        (
            f"`{rule.name}`",
            f"distinct {rule.distinct}" if rule.distinct else COUNTED[rule.events],
            rule.subject,
            str(rule.threshold),
            f"{rule.window / 60:g} min",
            rule.action.value,
            rule.technique,
        )
        for rule in ALL_RULES
    ]


def test_every_rule_has_its_page_with_false_positives() -> None:
    text = page("docs/rules.md")
    assert headings(text, 3) == [rule.name for rule in ALL_RULES]
    assert all("**False positives:**" in " ".join(section(text, rule.name).split()) for rule in ALL_RULES)


def test_every_action_is_documented_with_the_subjects_that_it_goes_with() -> None:
    rows = table(page("docs/rules.md"), "action", "what follows when the threat opens", "for the subjects")
    assert [code(row["action"]) for row in rows] == [action.value for action in Action]
    for row in rows:
        named_here = set(re.findall(r"`(\w+)`", row["for the subjects"]))
        said = set(SUBJECTS) - named_here if row["for the subjects"].startswith("all") else named_here
        assert said == {subject for subject in SUBJECTS if goes_with(code(row["action"]), subject)}


def goes_with(action: str, subject: str) -> bool:
    try:
        Rule(name="any", events="login_failed", subject=subject, threshold=1, window=1, action=Action(action))
    except InvalidRule:
        return False
    return True


def test_every_field_of_a_rule_is_documented() -> None:
    rows = table(page("docs/rules.md"), "field", "takes")
    existing = {item.name for item in fields(Rule) if item.init} - {"name"}
    assert {code(row["field"]) for row in rows} == existing
    (subjects,) = (row["takes"] for row in rows if code(row["field"]) == "subject")
    assert re.findall(r"`(\w+)`", subjects) == list(SUBJECTS)


# -- code in the pages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("block", PYTHON, ids=named)
def test_python_in_the_pages_runs(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    run_block(block)


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project that the pages speak of: what it defines is what the pages show."""
    defined: dict[str, Any] = {}
    for block in PYTHON:
        names = [node.name for node in ast.parse(block.code).body if isinstance(node, ast.FunctionDef)]
        if names:
            found = run_block(block)
            defined |= {name: found[name] for name in names}
    for name in ("myproject", "myproject.security", "myproject.views"):
        module = ModuleType(name)
        vars(module).update(defined)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("block", [block for block in PYTHON if "SECGUARD" in assignments(block.code)], ids=named)
def test_settings_in_the_pages_are_valid(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    settings, problems = parse(run_block(block)["SECGUARD"], environ={})
    assert problems == []
    assert settings is not None


@pytest.mark.parametrize("block", PYTHON, ids=named)
def test_dotted_paths_in_the_pages_lead_somewhere(block: Block) -> None:
    for path in re.findall(r"\"((?:secguard|django)\.[a-z_.]+\.[A-Z]\w+)\"", block.code):
        assert import_string(path)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "json"], ids=named)
def test_json_in_the_pages_is_json(block: Block) -> None:
    assert json.loads(block.code)


def test_a_documented_log_line_has_only_keys_that_are_explained() -> None:
    rows = table(page("docs/events.md"), "key", "in", "what")
    explained = set(re.findall(r"`(\w+)`", " ".join(row["key"] for row in rows)))
    for text in ('"login_failed"', '"suspicious_activity"'):
        for block in BLOCKS:
            if block.language == "json" and text in block.code:
                assert set(json.loads(block.code).get("context", ())) <= explained


def test_the_logger_class_in_the_pages_changes_the_rule() -> None:
    logger = run_block(block_with("logging.md", "class StrictLogger"))["StrictLogger"]()
    (rule,) = (rule for rule in logger.effective_rules() if rule.name == "brute_force")
    assert (rule.threshold, rule.window) == (3, 1800)
    assert logger.log_login_failed(username="somebody").context["site"] == "shop"


def test_the_answer_in_the_pages_is_an_answer() -> None:
    refused = run_block(block_with("blocking.md", "def refused("))["refused"]
    response = refused(RequestFactory().get("/"), Refusal("blocked", "a reference", 60))
    assert (response.status_code, response["Retry-After"]) == (429, "60")


def test_the_exemption_in_the_pages_knows_who_has_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    is_monitoring = run_block(block_with("settings.md", "def is_monitoring("))["is_monitoring"]
    monkeypatch.setenv("MONITORING_KEY", "a secret")
    keys = [{"X-Monitoring-Key": "a secret"}, {"X-Monitoring-Key": "a guess"}, {"X-Monitoring-Key": "gehö"}, {}]
    assert [is_monitoring(RequestFactory().get("/", headers=key)) for key in keys] == [True, False, False, False]


def test_the_subjects_in_the_pages_tell_clients_apart() -> None:
    found = run_block(block_with("settings.md", "def client("))
    request = RequestFactory().get("/admin/login/", headers={"User-Agent": "Firefox"}, REMOTE_ADDR="2001:db8::1")
    assert found["client"](request, "anna") == "2001:db8::/64 Firefox"
    assert found["admin_login"](request, None) == "2001:db8::/64"
    assert found["admin_login"](RequestFactory().get("/login/"), None) is None
    assert found["client"](RequestFactory().get("/", REMOTE_ADDR=""), None) is None


def test_the_duration_in_the_pages_doubles() -> None:
    days = run_block(block_with("settings.md", "def days("))["days"]
    threat = Threat(BRUTE_FORCE, "192.0.2.1", 5)
    assert [days(offence, threat) / 86_400 for offence in (1, 2, 3, 6, 99)] == [1, 2, 4, 30, 30]


# -- proxies ---------------------------------------------------------------------------------------------

VISITOR, FORGED = "203.0.113.7", "192.0.2.66"


@pytest.mark.parametrize(
    ("heading", "number", "peer", "sent"),
    [
        ("nginx, over TCP", 0, "127.0.0.1", f"{FORGED}, {VISITOR}"),
        ("nginx, over a unix socket", 0, "", f"{FORGED}, {VISITOR}"),
        ("HAProxy", 0, "10.0.3.10", f"{FORGED},{VISITOR}"),
        ("Cloudflare", 0, "173.245.48.9", VISITOR),
        ("Cloudflare", 1, "127.0.0.1", VISITOR),
        ("AWS Application Load Balancer", 0, "10.0.2.7", f"{FORGED}, {VISITOR}"),
        ("AWS Application Load Balancer", 1, "10.0.2.7", f"{FORGED}, {VISITOR}, 198.51.100.200"),
    ],
)
def test_the_settings_for_a_proxy_find_the_client(heading: str, number: int, peer: str, sent: str) -> None:
    blocks = [block for block in PYTHON if block.page == "proxies.md" and block.heading == heading]
    settings, _ = parse(run_block(blocks[number])["SECGUARD"], environ={})
    assert settings is not None
    trusted = settings.trusted_proxies
    resolver = ClientAddressResolver(trusted.networks, hops=trusted.hops, header=settings.client_ip_header)
    assert resolver.resolve(peer, {settings.client_ip_header: sent}.get).text == VISITOR


# -- the README ------------------------------------------------------------------------------------------

PEERS = (
    "bare Django",
    "django-axes, cache handler",
    "django-axes, database handler",
    "django-defender",
    "django-ratelimit",
    "secguard",
)
#: The README's row → the benchmarks', and what of its cells.
MEASURED = {
    "passwords checked of 100 at once, with a limit of 5": ("passwords checked of 100 at once", r".+"),
    "a login while Redis is dead": ("store killed: first login; later", r"(?<=; )\d+"),
    "… while it hangs": ("store hung: first login; later", r"(?<= in )[\d.]+ m?s(?=;)"),
    "a login that is refused, µs": ("a login that is refused: µs", r"\S+"),
    "a failed login, µs": ("a failed login from a new address: µs", r"\S+"),
    "a right login, µs": ("a right login: µs", r"\S+"),
}


def test_the_figures_of_the_readme_are_those_of_the_benchmarks() -> None:
    there = {row["measured"]: row for row in table(page("docs/benchmarks.md"), "measured", *PEERS)}
    here = table(page("README.md"), "measured, as they come", *PEERS)
    assert [row["measured, as they come"] for row in here] == list(MEASURED)
    for row in here:
        name, part = MEASURED[row["measured, as they come"]]
        found = {peer: re.search(part, there[name][peer]) for peer in PEERS}
        assert {peer: row[peer] for peer in PEERS} == {peer: match[0] for peer, match in found.items() if match}


# -- links -----------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    found = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", found, flags=re.MULTILINE)
    plain = [re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", title).lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain}


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"(?<!`)\[[^\]]+\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_a_picture_is_told_to_those_who_do_not_see_it(path: Path) -> None:
    for told, target in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        assert told, f"{path.name} shows {target} without a word"
        if target.endswith(".svg"):
            picture = ElementTree.parse(path.parent / target).getroot()  # noqa: S314 - our own
            names = [element.tag.rpartition("}")[2] for element in picture if element.text]
            assert picture.get("role") == "img"
            assert names[:2] == ["title", "desc"]


@cache
def names_of_tests(path: str) -> set[str]:
    """The names of a file's tests, those of classes as ``Class::name``.

    By their lines: Python 3.11.7 and older may fail to parse while another thread does, such as one that an earlier
    test left behind and that writes a traceback (CPython issue 106905).
    """
    found, inside = set(), ""
    for indent, kind, name in re.findall(r"^( {4})?(class|def|async def) (\w+)", page(path), re.MULTILINE):
        if not indent:
            inside = name if kind == "class" else ""
        if kind != "class" and name.startswith("test_"):
            found.add(f"{inside}::{name}" if indent else name)
    return found


def rows_of(text: str) -> list[str]:
    """The rows of all tables, without their heads."""
    lines = text.splitlines()
    heads = {at for at, line in enumerate(lines) if line.startswith("| ---")}
    return [line for at, line in enumerate(lines) if line.startswith("| ") and not {at, at + 1} & heads]


def names_a_test(cell: str) -> bool:
    path, _, name = code(cell).partition("::")
    return (ROOT / path).is_file() and name in names_of_tests(path)


def test_everything_that_holds_names_a_test_that_shows_it() -> None:
    rows = rows_of(section(page("docs/threat-model.md"), "What holds"))
    assert len(rows) > 50
    assert [row for row in rows if not names_a_test(cells(row)[2])] == []


def test_everything_done_for_a_standard_names_its_settings_and_a_test_that_shows_it() -> None:
    rows = rows_of(section(page("docs/compliance.md"), "Requirements"))
    assert len(rows) > 30
    assert [row for row in rows if not names_a_test(cells(row)[3])] == []
    mentioned = set(re.findall(r"`([A-Z_]{4,})`", " ".join(cells(row)[2] for row in rows)))
    assert mentioned <= {*KEYS, "LOGGING"}


#: Pages that stand for a file of the root, to which the README links itself.
MIRRORED = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md", "security.md": "SECURITY.md"}


@pytest.mark.parametrize("start", ["README.md", "docs/index.md"])
def test_every_page_can_be_found_from_the_start(start: str) -> None:
    links = re.findall(r"\]\((?:docs/|\.\./)?([\w.-]+\.md)", page(start))
    pages = {MIRRORED.get(path.name, path.name) for path in (ROOT / "docs").glob("*.md")} - {Path(start).name}
    assert pages <= set(links)
