"""A database of a test's own, and what can go wrong with one."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from sample_project.accounts import PASSWORD
from tests.conftest import _free_port
from tests.end_to_end.serving import ROOT
from tests.faults.proxy import Proxy, proxy

#: A site waits so long for a lock, in seconds, and no longer.
PATIENCE = 0.2


@dataclass
class Database:
    """``settings``: Django's. ``values(table, column)``: what is in it, read behind the site's back."""

    settings: dict[str, Any]
    values: Callable[[str, str], list[str]]
    path: Path | None = None
    admin: psycopg.Connection[Any] | None = None
    proxy: Proxy | None = None


@dataclass(frozen=True)
class Fault:
    """``named``: what the log says of it. ``options``: what is set from the start, for what cannot come later."""

    inflict: Callable[[Database], AbstractContextManager[None]]
    named: str
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Does it end while the site runs?
    ends: bool = True

    @property
    def name(self) -> str:
        return self.inflict.__name__.replace("_", " ")


# -- SQLite ---------------------------------------------------------------------------------------------------------


def sqlite(path: Path) -> Database:
    settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": {"timeout": PATIENCE}}

    def values(table: str, column: str) -> list[str]:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            return [value for (value,) in connection.execute(f"SELECT {column} FROM {table}")]  # noqa: S608

    return Database(settings, values, path=path)


@contextmanager
def _locked(it: Database, how: str) -> Iterator[None]:
    with closing(sqlite3.connect(it.path or "", isolation_level=None)) as connection:
        connection.execute(f"BEGIN {how}")
        yield
        connection.execute("ROLLBACK")


def locked_by_a_writer(it: Database) -> AbstractContextManager[None]:
    return _locked(it, "IMMEDIATE")


def locked_altogether(it: Database) -> AbstractContextManager[None]:
    return _locked(it, "EXCLUSIVE")


@contextmanager
def gone(it: Database) -> Iterator[None]:
    assert it.path is not None
    away = it.path.parent.with_name("away")
    it.path.parent.rename(away)
    yield
    away.rename(it.path.parent)


@contextmanager
def damaged(it: Database) -> Iterator[None]:
    assert it.path is not None
    whole = it.path.read_bytes()
    it.path.write_bytes(os.urandom(len(whole)))
    yield
    it.path.write_bytes(whole)


@contextmanager
def without_our_tables(it: Database) -> Iterator[None]:
    tables = ("secguard_block", "secguard_accountlock", "secguard_allowednetwork")
    with closing(sqlite3.connect(it.path or "", timeout=30)) as connection:
        for table in tables:
            connection.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
        connection.commit()
        yield
        for table in tables:
            connection.execute(f"ALTER TABLE {table}_away RENAME TO {table}")
        connection.commit()


@contextmanager
def full(it: Database) -> Iterator[None]:
    """No page can be added to it: for SQLite a full disk."""
    yield


@contextmanager
def read_only(it: Database) -> Iterator[None]:
    yield


SQLITE_FAULTS = [
    Fault(locked_by_a_writer, "locked"),
    Fault(locked_altogether, "locked"),
    Fault(gone, "unable to open"),
    Fault(damaged, "file is not a database"),
    Fault(without_our_tables, "no such table"),
    Fault(full, "full", {"init_command": "PRAGMA max_page_count=1"}, ends=False),
    Fault(read_only, "readonly", {"init_command": "PRAGMA query_only=1"}, ends=False),
]


# -- PostgreSQL -----------------------------------------------------------------------------------------------------


def postgres_url() -> str | None:
    """The server that SECGUARD_TEST_POSTGRES_URL names, or the one on this machine; None if there is none."""
    url = os.environ.get("SECGUARD_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return None
    return url


@contextmanager
def postgres(url: str) -> Iterator[Database]:
    """A database with the sample site's accounts, which is dropped in the end, behind a proxy."""
    name = f"secguard_faults_{os.getpid()}_{_free_port()}"
    parts = urlsplit(url)
    with psycopg.connect(url, autocommit=True) as admin, proxy(parts.port or 5432) as between:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        settings = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": parts.username or "postgres",
            "PASSWORD": parts.password or "",
            "HOST": "127.0.0.1",
            "PORT": between.port,
            "OPTIONS": {"connect_timeout": 5, "options": f"-c lock_timeout={int(PATIENCE * 1000)}"},
        }

        def values(table: str, column: str) -> list[str]:
            query = sql.SQL("SELECT {} FROM {}").format(sql.Identifier(column), sql.Identifier(table))
            with psycopg.connect(url, dbname=name) as connection:
                return [str(value) for (value,) in connection.execute(query)]

        try:
            yield Database(settings, values, admin=admin, proxy=between)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def fill(settings: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Migrate, and create the one user there is."""
    code = (
        "import django; django.setup()\n"
        "from django.core.management import call_command; call_command('migrate', verbosity=0)\n"
        "from django.contrib.auth.models import User; User.objects.create_user('alice', '', {!r})\n"
    )
    subprocess.run([sys.executable, "-c", code.format(PASSWORD)], cwd=ROOT, env=dict(environment), check=True)


@contextmanager
def refusing_connections(it: Database) -> Iterator[None]:
    assert it.proxy is not None
    target, it.proxy.target = it.proxy.target, _free_port()
    it.proxy.hang_up()
    yield
    it.proxy.target = target


@contextmanager
def taking_no_writes(it: Database) -> Iterator[None]:
    _alter(it, "SET default_transaction_read_only TO on")
    yield
    _alter(it, "RESET default_transaction_read_only")


@contextmanager
def with_our_tables_locked(it: Database) -> Iterator[None]:
    assert it.admin is not None
    with psycopg.connect(it.admin.info.dsn, dbname=it.settings["NAME"]) as connection:
        connection.execute("LOCK TABLE secguard_block IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


def _alter(it: Database, what: str) -> None:
    assert it.admin is not None
    statement = sql.SQL("ALTER DATABASE {} " + what)  # type: ignore[arg-type] # a constant of this file
    it.admin.execute(statement.format(sql.Identifier(it.settings["NAME"])))


POSTGRES_FAULTS = [
    Fault(refusing_connections, "connection"),
    Fault(taking_no_writes, "read-only"),
    Fault(with_our_tables_locked, "lock timeout"),
]
