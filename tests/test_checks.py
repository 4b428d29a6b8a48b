"""The system checks: each misuse is named by its id, with the way out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.backends import ModelBackend
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client, override_settings

from secguard.backends import GuardedBackendMixin, SecurityGuardBackend
from secguard.logging import SecurityEventLogger
from secguard.middleware import SecurityGuardMiddleware
from tests.conftest import without_block_table

if TYPE_CHECKING:
    from tests.conftest import RunPython

GUARD = "secguard.middleware.SecurityGuardMiddleware"
SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
LOGIN = "django.contrib.auth.middleware.AuthenticationMiddleware"
FIRST = "secguard.backends.SecurityGuardBackend"
DJANGOS = "django.contrib.auth.backends.ModelBackend"
OWN_KEY = {"HMAC_KEY": "a key of the project's own"}
SHARED = {"REDIS_URL": "redis://127.0.0.1:1/0"}  # a check asks no server


class OurMiddleware(SecurityGuardMiddleware):
    pass


class OurFirstBackend(SecurityGuardBackend):
    pass


class OurBackend(GuardedBackendMixin, ModelBackend):  # type: ignore[misc] # the mixin takes any credentials
    pass


class Impossible(SecurityEventLogger):
    FAILED_LOGIN_WINDOW_MINUTES = -1


class NoLogger:
    pass


class NeedsMore(SecurityEventLogger):
    def __init__(self, more: object) -> None:
        super().__init__()


class OurFactory:
    """A class may stand for the callable: it makes the answer."""

    def __new__(cls, request: object, refusal: object) -> Any:
        return HttpResponse("refused")


async def awaited_answer(request: object, refusal: object) -> Any:
    return HttpResponse("refused")


NOT_CALLABLE = "a text"


def found(**options: Any) -> dict[str, checks.CheckMessage]:
    """What secguard has to say, by id."""
    messages = [each for each in checks.run_checks(**options) if str(each.id).startswith("secguard.")]
    assert len({each.id for each in messages}) == len(messages)
    return {str(each.id): each for each in messages}


def warned(**options: Any) -> set[str]:
    """The ids, without that of the suite's own cache, which is a process's own."""
    return set(found(**options)) - {"secguard.W001"}


def named(message: checks.CheckMessage) -> str:
    return f"{message.msg} {message.hint}"


# -- a clean configuration ---------------------------------------------------------------------------------------


@pytest.mark.django_db
@override_settings(SECGUARD={**SHARED, **OWN_KEY})
def test_a_clean_configuration_raises_nothing() -> None:
    assert found(include_deployment_checks=True, databases=["default"]) == {}


def test_the_settings_of_this_suite_are_clean_but_for_their_cache() -> None:
    assert set(found()) == {"secguard.W001"}


@pytest.mark.parametrize("read", ["error", "warning"])
def test_every_id_that_the_module_promises_is_tested_here(read: str) -> None:
    from secguard import checks as ours

    letter = read[0].upper()
    promised = {line.split()[0] for line in (ours.__doc__ or "").splitlines() if line.startswith(f"secguard.{letter}")}
    tested = Path(__file__).read_text(encoding="utf-8")
    assert promised
    assert all(f'"{each}"' in tested for each in promised)


# -- E001: the settings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "way_out"),
    [
        ("RULES", {"brute_force": {"threshold": 0}}, "threshold"),
        ("RULES", {"brute_force": {"threshold": -5}}, "threshold"),
        ("RULES", {"brute_force": {"threshold": "5"}}, "whole number"),
        ("RULES", {"brute_force": {"threshold": True}}, "whole number"),
        ("RULES", {"brute_force": {"window": 8 * 86_400}}, "7 days"),
        ("ALLOWLIST", ["0.0.0.0/0"], "too wide"),
        ("TRUSTED_PROXIES", ["::/0"], "too wide"),
        ("TRUSTED_PROXIES", ["10.0.0.0/64"], "10.0.0.0/64"),
        ("BLOCK_DURATION", 0, "seconds"),
        ("BLOCK_DURATION", "900", "seconds"),
        ("MAX_ACTIVE_BLOCKS", True, "whole number"),
        ("BLOCK_DURATIONS", 900, "BLOCK_DURATION"),
        ("BLOCK_DURATION", [900, 0], "has the entry 0"),
        ("BLOCK_DURATION", "no_such_module.duration", "cannot be imported"),
        ("BLOCK_JITTER", 10, "from 0 to 0.5"),
        ("EXEMPT_WHEN", "no_such_module.exempt", "cannot be imported"),
        ("EXEMPT_WHEN", f"{__name__}.awaited_answer", "plain function"),
        ("SUBJECTS", {"client": "no_such_module.client"}, "has for 'client'"),
        ("SUBJECTS", {"account": print}, "'account'"),
        ("TRAP_PATHS", ["/"], "starts with '/'"),
        ("PRESET", "lax", "'strict'"),
        ("RULES", {"account_failures": {"action": "lock"}}, "ACCOUNT_LOCKOUT"),
        ("RULES", {"brute_force": {"subject": "planet"}}, "SUBJECTS"),
        ("UNLOCK_BASE_URL", "example.com", "https://example.com"),
        ("MAX_CONSECUTIVE_FAILURES", 1_000, "from 1 to 100"),
    ],
)
def test_a_setting_out_of_range_is_an_error(key: str, value: object, way_out: str) -> None:
    with override_settings(SECGUARD={key: value}):
        error = found()["secguard.E001"]
    assert error.level == checks.ERROR
    assert f"SECGUARD['{key}']" in error.msg
    assert way_out in named(error)


@override_settings(SECGUARD={"MODE": "on", "BLOCK_STATUS": 200, "COLOUR": "red"})
def test_everything_that_is_wrong_is_named_at_once() -> None:
    errors = [each for each in checks.run_checks() if each.id == "secguard.E001"]
    assert len(errors) == 3
    assert all(each.hint for each in errors)


@override_settings(SECGUARD={"MODE": "on"})
def test_wrong_settings_hide_what_rests_on_them_and_nothing_else() -> None:
    with override_settings(MIDDLEWARE=[], AUTHENTICATION_BACKENDS=[DJANGOS]):
        assert set(found(include_deployment_checks=True)) == {"secguard.E001", "secguard.W002", "secguard.W004"}


@override_settings(SECGUARD={"MODE": "on"})
def test_a_site_with_wrong_settings_does_not_start() -> None:
    with pytest.raises(ImproperlyConfigured, match="MODE"):
        SecurityGuardMiddleware(lambda request: HttpResponse())


def test_a_bad_mode_in_the_environment_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECGUARD_MODE", "of")
    error = found()["secguard.E001"]
    assert "SECGUARD_MODE" in error.msg


# -- E002: the logger --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (f"{__name__}.NoSuchLogger", "NoSuchLogger"),
        ("no_such_module.Logger", "no_such_module"),
        (f"{__name__}.NoLogger", "no subclass of SecurityEventLogger"),
        (NoLogger, "no subclass of SecurityEventLogger"),
        (f"{__name__}.Impossible", "window is -60"),
        (Impossible, "window is -60"),
        (f"{__name__}.NeedsMore", "more"),
    ],
)
def test_a_logger_class_that_cannot_be_used_is_an_error(given: object, problem: str) -> None:
    with override_settings(SECGUARD={"LOGGER_CLASS": given}):
        error = found()["secguard.E002"]
    assert error.level == checks.ERROR
    assert "LOGGER_CLASS" in error.msg
    assert problem in error.msg


def test_a_logger_class_is_not_blamed_for_a_subject_that_cannot_be_found() -> None:
    with override_settings(SECGUARD={"SUBJECTS": {"client": "no_such_module.client"}}):
        assert set(found()) == {"secguard.E001"}


# -- E003 and W001: the store ------------------------------------------------------------------------------------

DUMMY = "django.core.cache.backends.dummy.DummyCache"
FILES = "django.core.cache.backends.filebased.FileBasedCache"


def test_an_alias_that_no_cache_has_is_an_error() -> None:
    with override_settings(SECGUARD={"CACHE_ALIAS": "counters"}):
        error = found()["secguard.E003"]
    assert "'counters'" in error.msg
    assert "'default'" in error.msg
    assert "REDIS_URL" in named(error)


def test_a_cache_that_stores_nothing_is_an_error() -> None:
    with override_settings(CACHES={"default": {"BACKEND": DUMMY}}):
        messages = found()
    assert set(messages) == {"secguard.E003"}
    assert "DummyCache" in messages["secguard.E003"].msg


@pytest.mark.parametrize("backend", ["no_such_module.Cache", "secguard.NoSuchCache", "nonsense"])
def test_a_cache_backend_that_is_not_there_is_an_error(backend: str) -> None:
    # Of our checks alone: Django's own check of caches raises for such a one.
    with override_settings(CACHES={"default": {"BACKEND": backend}}):
        error = found(tags=[checks.Tags.security])["secguard.E003"]
    assert error.level == checks.ERROR


@override_settings(SECGUARD=SHARED)
def test_redis_without_redis_py_is_an_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    for name in [name for name in sys.modules if name.startswith("secguard.stores.redis")]:
        monkeypatch.delitem(sys.modules, name)
    error = found()["secguard.E003"]
    assert "django-secguard[redis]" in error.msg


def test_a_url_that_redis_cannot_read_is_an_error() -> None:
    with override_settings(SECGUARD={"REDIS_URL": "redis://localhost:no-port/0"}):
        assert "secguard.E003" in found()


def test_a_cache_of_one_process_is_a_warning() -> None:
    warning = found()["secguard.W001"]
    assert warning.level == checks.WARNING
    assert "Redis" in str(warning.hint)


def test_a_cache_that_processes_share_is_no_warning(tmp_path: Path) -> None:
    with override_settings(CACHES={"default": {"BACKEND": FILES, "LOCATION": str(tmp_path)}}):
        assert found() == {}


@override_settings(SECGUARD=SHARED, CACHES={"default": {"BACKEND": DUMMY}})
def test_with_a_server_of_its_own_the_caches_do_not_matter() -> None:
    assert found() == {}


DATABASE = "django.core.cache.backends.db.DatabaseCache"


@pytest.mark.parametrize(("atomic", "expected"), [(True, {"secguard.W008"}), (False, set())])
def test_counters_in_the_views_transaction_are_a_warning(
    atomic: bool, expected: set[str], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "ATOMIC_REQUESTS", atomic)
    with override_settings(CACHES={"default": {"BACKEND": DATABASE, "LOCATION": "counters"}}):
        assert set(found()) == expected


# -- E004: the answer --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *(f"{__name__}.no_such_view", "no_such_module.view"),
        *(f"{__name__}.NOT_CALLABLE", f"{__name__}.awaited_answer"),
    ],
)
def test_an_answer_that_cannot_be_called_is_an_error(path: str) -> None:
    with override_settings(SECGUARD={"BLOCKED_RESPONSE": path}):
        error = found()["secguard.E004"]
    assert "BLOCKED_RESPONSE" in error.msg
    assert error.hint


@pytest.mark.parametrize("given", [f"{__name__}.OurFactory", OurFactory, None])
def test_an_answer_that_can_be_called_is_no_error(given: object) -> None:
    with override_settings(SECGUARD={"BLOCKED_RESPONSE": given}):
        assert warned() == set()


# -- E007: REST framework's handler ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["no_such_module.handler", f"{__name__}.no_such_handler"])
def test_a_handler_that_cannot_be_imported_is_an_error(path: str) -> None:
    with override_settings(SECGUARD={"DRF_EXCEPTION_HANDLER": path}):
        error = found()["secguard.E007"]
    assert "DRF_EXCEPTION_HANDLER" in error.msg
    assert error.hint


@pytest.mark.parametrize("given", [f"{__name__}.OurFactory", OurFactory, None])
def test_a_handler_that_can_be_imported_is_no_error(given: object) -> None:
    with override_settings(SECGUARD={"DRF_EXCEPTION_HANDLER": given}):
        assert warned() == set()


# -- E005, W002 and W003: the middleware ---------------------------------------------------------------------------


@pytest.mark.parametrize("late", [[SESSION, GUARD, LOGIN], [SESSION, LOGIN, GUARD], [LOGIN, GUARD]])
def test_a_middleware_behind_the_session_or_the_login_is_an_error(late: list[str]) -> None:
    with override_settings(MIDDLEWARE=late):
        error = found()["secguard.E005"]
    assert error.level == checks.ERROR
    assert f"before '{late[0]}'" in str(error.hint)


@pytest.mark.parametrize(
    "before",
    [[], ["django.middleware.security.SecurityMiddleware"], ["django.middleware.common.CommonMiddleware"]],
)
def test_a_middleware_before_the_session_is_right(before: list[str]) -> None:
    with override_settings(MIDDLEWARE=[*before, GUARD, SESSION, LOGIN]):
        assert warned() == set()


def test_a_missing_middleware_is_a_warning() -> None:
    with override_settings(MIDDLEWARE=[SESSION, LOGIN]):
        warning = found()["secguard.W002"]
    assert GUARD in str(warning.hint)


def test_a_middleware_made_from_ours_is_ours() -> None:
    with override_settings(MIDDLEWARE=[f"{__name__}.OurMiddleware", SESSION, LOGIN]):
        assert warned() == set()


@pytest.mark.parametrize("second", [GUARD, f"{__name__}.OurMiddleware"])
def test_a_middleware_that_is_there_twice_is_a_warning(second: str) -> None:
    with override_settings(MIDDLEWARE=[GUARD, SESSION, second, LOGIN]):
        assert warned() == {"secguard.W003"}


def test_a_middleware_that_cannot_be_imported_is_djangos_to_report() -> None:
    with override_settings(MIDDLEWARE=["no_such_module.Middleware", GUARD, SESSION]):
        assert warned() == set()


# -- W004 and W005: the backends -----------------------------------------------------------------------------------


def test_backends_without_one_of_ours_are_a_warning_that_says_what_is_lost() -> None:
    with override_settings(AUTHENTICATION_BACKENDS=[DJANGOS]):
        warning = found()["secguard.W004"]
    assert FIRST in str(warning.hint)
    assert "parallel guesses" in str(warning.hint)


@pytest.mark.parametrize("first", [FIRST, f"{__name__}.OurFirstBackend"])
def test_our_backend_first_is_right(first: str) -> None:
    with override_settings(AUTHENTICATION_BACKENDS=[first, DJANGOS]):
        assert warned() == set()


@pytest.mark.parametrize("alone", ["secguard.backends.GuardedModelBackend", f"{__name__}.OurBackend"])
def test_a_guarded_backend_alone_is_right(alone: str) -> None:
    with override_settings(AUTHENTICATION_BACKENDS=[alone]):
        assert warned() == set()


@pytest.mark.parametrize("first", [FIRST, f"{__name__}.OurFirstBackend"])
def test_our_backend_behind_another_is_a_warning(first: str) -> None:
    with override_settings(AUTHENTICATION_BACKENDS=[DJANGOS, first]):
        assert warned() == {"secguard.W005"}


# -- W009: the page of unlock links ----------------------------------------------------------------------------------


@override_settings(SECGUARD={"UNLOCK_BASE_URL": "https://example.com"})
def test_unlock_links_that_lead_nowhere_are_a_warning_that_says_what_to_add() -> None:
    warning = found()["secguard.W009"]
    assert warning.level == checks.WARNING
    assert "include('secguard.urls')" in str(warning.hint)
    with override_settings(ROOT_URLCONF="tests.lockout.urls"):
        assert warned() == set()


def test_without_links_no_page_is_missed() -> None:
    assert warned() == set()


# -- W012: alerts to nobody --------------------------------------------------------------------------------------------


@override_settings(SECGUARD={"ALERTS": {"mail": True}})
def test_alerts_to_admins_that_are_not_there_are_a_warning_that_says_where_to_name_them() -> None:
    assert "ADMINS" in str(found()["secguard.W012"].hint)
    with override_settings(ADMINS=[("Anna", "anna@example.com")]):
        assert warned() == set()


# -- W006 and W007: deployment -------------------------------------------------------------------------------------


def test_a_derived_key_is_a_warning_at_deployment() -> None:
    assert "HMAC_KEY" in named(found(include_deployment_checks=True)["secguard.W006"])


@override_settings(SECGUARD=OWN_KEY)
def test_a_key_of_its_own_is_none() -> None:
    assert warned(include_deployment_checks=True) == set()


@override_settings(SECGUARD=OWN_KEY)
def test_a_mode_from_the_environment_is_a_warning_at_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECGUARD_MODE", "off")
    warning = found(include_deployment_checks=True)["secguard.W007"]
    assert "off" in warning.msg
    assert "SECGUARD_MODE" in str(warning.hint)


# -- E006: the tables ----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_missing_tables_are_an_error_that_names_migrate() -> None:
    with without_block_table():
        error = found(databases=["default"])["secguard.E006"]
    assert error.level == checks.ERROR
    assert "migrate" in str(error.hint)


@pytest.mark.django_db(transaction=True)
def test_tables_are_looked_at_only_where_databases_are_checked() -> None:
    with without_block_table():
        assert warned() == set()
        assert warned(databases=[]) == set()


@pytest.mark.django_db(transaction=True)
def test_migrate_is_not_forbidden_by_the_tables_it_would_make(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "migrate"])
    with without_block_table():
        assert warned(databases=["default"]) == set()


@pytest.mark.django_db
def test_tables_that_are_there_are_no_error() -> None:
    call_command("check", databases=["default"], verbosity=0)
    assert warned(databases=["default"]) == set()


@pytest.mark.django_db(transaction=True)
def test_requests_are_served_without_the_tables() -> None:
    with without_block_table():
        response = Client().get("/admin/login/")
    assert response.status_code == 200


SITE = """
import sys
from django.conf import settings
settings.configure(
    SECRET_KEY="x" * 50, ALLOWED_HOSTS=["*"], ROOT_URLCONF="site_urls",
    SECGUARD={"REDIS_URL": "redis://127.0.0.1:1/0"},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "secguard"],
    MIDDLEWARE=["secguard.middleware.SecurityGuardMiddleware"],
    AUTHENTICATION_BACKENDS=["secguard.backends.GuardedModelBackend"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
import django
django.setup()
from django.http import HttpResponse
from django.urls import path
from types import ModuleType
sys.modules["site_urls"] = urls = ModuleType("site_urls")
urls.urlpatterns = [path("", lambda request: HttpResponse("served"))]
"""


def test_a_site_that_was_never_migrated_serves_and_says_so(run_python: RunPython) -> None:
    done = run_python(
        SITE + "from django.test import Client\n"
        "client = Client()\n"
        "print([client.get('/').status_code for _ in range(3)])\n"
    )
    assert done.stdout == "[200, 200, 200]\n", done.stderr
    degraded = [line for line in done.stderr.splitlines() if '"component": "database"' in line]
    assert len(degraded) == 1
    assert "migrate" in degraded[0]


def test_check_of_a_site_that_was_never_migrated_names_migrate(run_python: RunPython) -> None:
    done = run_python(
        SITE + "from django.core.management import execute_from_command_line\n"
        "execute_from_command_line(['manage.py', 'check', '--database', 'default'])\n"
    )
    assert done.returncode == 1
    assert "(secguard.E006)" in done.stderr
    assert "manage.py migrate secguard" in done.stderr


# -- W013: the country database -----------------------------------------------------------------------------------


def test_a_country_database_that_cannot_be_read_is_a_warning_that_says_what_to_name() -> None:
    with override_settings(SECGUARD={"GEOIP_PATH": __file__}):
        warning = found()["secguard.W013"]
    assert warning.level == checks.WARNING
    assert "MMDB" in str(warning.hint)


def test_without_a_country_database_none_is_read() -> None:
    assert "secguard.W013" not in found()
