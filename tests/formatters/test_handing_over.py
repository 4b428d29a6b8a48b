"""The configurations of docs/formats.md, as they stand there: what is logged arrives where it should."""

from __future__ import annotations

import json
import logging.handlers
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from secguard import __version__
from secguard.formatters import CefFormatter, EcsFormatter, OcsfFormatter
from tests.conftest import RunPython
from tests.formatters.samples import record_of
from tests.formatters.test_cef import parse
from tests.test_docs import BLOCKS, Block, page, run_block, section, table

NAME = "a=b|c\nforged"
LOG = """
import json, os, logging.config
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
{before}
logging.config.dictConfig(json.loads(os.environ["HANDED_OVER"]))
from secguard.logging import security_event_logger
for number in range(2):
    security_event_logger.log_login_failed(username="a=b|c\\nforged", ip_address="198.51.100.7")
"""


def blocks(heading: str) -> list[Block]:
    return [block for block in BLOCKS if (block.page, block.heading) == ("formats.md", heading)]


def configuration(heading: str, number: int = 0, **handler: Any) -> dict[str, Any]:
    """The documented LOGGING, but for what only this machine knows."""
    found: dict[str, Any] = run_block(blocks(heading)[number])["LOGGING"]
    found["handlers"]["security"] |= handler
    return found


@pytest.fixture
def log(run_python: RunPython) -> Callable[..., None]:
    """Two failed logins, in a process of its own that logs as it is said."""

    def logged(logging_config: dict[str, Any], before: str = "", **environment: str) -> None:
        config = json.dumps(logging_config)
        code = LOG.format(before=before)
        done = run_python(code, DJANGO_SETTINGS_MODULE="tests.settings", HANDED_OVER=config, **environment)
        assert (done.returncode, done.stderr) == (0, "")

    return logged


def test_lines_arrive_in_a_file(log: Callable[..., None], tmp_path: Path) -> None:
    file = tmp_path / "security.json"
    log(configuration("A file", filename=str(file)))
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [line["event"]["action"] for line in lines] == ["login_failed"] * 2
    assert (lines[0]["user"]["name"], lines[0]["service"]["name"]) == (NAME, "shop")


def test_lines_arrive_at_syslog_over_udp(log: Callable[..., None]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(30)
        log(configuration("Syslog", 0, address=daemon.getsockname()))
        messages = [daemon.recv(65_536) for _ in range(2)]
    for message in messages:
        assert_syslog(message)


def test_lines_arrive_at_syslog_over_tcp(log: Callable[..., None]) -> None:
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as daemon:
        daemon.settimeout(30)

        def receive() -> None:
            connection, _ = daemon.accept()
            with connection:
                while part := connection.recv(65_536):
                    received.append(part)

        thread = threading.Thread(target=receive)
        thread.start()
        log(configuration("Syslog", 1, address=daemon.getsockname()))
        thread.join(30)
    *messages, rest = b"".join(received).split(b"\0")
    assert (len(messages), rest) == (2, b"")
    for message in messages:
        assert_syslog(message)


def assert_syslog(message: bytes) -> None:
    priority, line = message.decode().split(">", 1)
    assert priority == f"<{10 * 8 + 4}"  # authpriv, warning
    found = parse(line)
    assert (found.signature, found.extension["suser"]) == ("login_failed", NAME)


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportLogsServiceRequest]]]:
    """What takes OTLP over HTTP. → its URL, and what it was sent"""
    sent: list[ExportLogsServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/logs"
            sent.append(ExportLogsServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", sent
        finally:
            server.shutdown()
            thread.join()


def test_records_arrive_at_a_collector_of_opentelemetry(log: Callable[..., None]) -> None:
    logging_block, start = blocks("OpenTelemetry")
    assert "LOGGING" in logging_block.code
    with collector() as (url, sent):
        log(
            configuration("OpenTelemetry"),
            before=f"{start.code}\nstart_telemetry()",
            OTEL_EXPORTER_OTLP_ENDPOINT=url,
            OTEL_EXPORTER_OTLP_COMPRESSION="none",
        )
    records = [
        record
        for request in sent
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]
    assert [record.severity_text for record in records] == ["WARN", "WARN"]
    body = json.loads(records[0].body.string_value)
    assert (body["class_uid"], body["user"]["name"]) == (3002, NAME)


# -- what the page shows ---------------------------------------------------------------------------------------------


def test_the_page_shows_what_the_formatters_write() -> None:
    (ecs, *_), (ocsf,), (cef,) = blocks("ECS"), blocks("OCSF"), blocks("CEF")
    assert json.loads(ecs.code) == json.loads(EcsFormatter(service="shop").format(record_of("login_failed")))
    written = json.loads(OcsfFormatter(service="shop").format(record_of("suspicious_activity")))
    assert _unversioned(json.dumps(json.loads(ocsf.code))) == _unversioned(json.dumps(written))
    assert _unversioned(cef.code) == _unversioned(CefFormatter(service="shop").format(record_of("login_failed")) + "\n")


def _unversioned(text: str) -> str:
    return text.replace(__version__, "VERSION")


def test_the_formatters_of_the_page_exist_in_the_versions_that_it_says() -> None:
    from secguard import formatters
    from secguard.formatters.vocabulary import CEF_VERSION, ECS_VERSION, OCSF_VERSION

    rows = table(page("docs/formats.md"), "formatter", "writes", "version")
    names = [row["formatter"].strip("`").rpartition(".")[2] for row in rows]
    assert sorted(names) == sorted(formatters.__all__)
    assert [row["version"] for row in rows] == ["", ECS_VERSION, OCSF_VERSION, str(CEF_VERSION)]


def test_the_keys_of_cef_in_the_page_are_written() -> None:
    text = section(page("docs/formats.md"), "CEF")
    named = set(re.findall(r"`(\w+)`", " ".join(row["key"] for row in table(text, "key", "what"))))
    written = {
        key
        for event_type, details in (
            ("login_failed", {}),
            ("suspicious_activity", {"ip_address": "::1", "reference": "r"}),
        )
        for key in parse(CefFormatter(service="shop").format(record_of(event_type, **details))).extension
    }
    assert named <= written


def test_a_line_of_the_longest_size_fits_into_a_datagram() -> None:
    huge = {f"key {number}": "é" * 200 for number in range(60)}
    line = CefFormatter().format(record_of("login_failed", **huge))
    assert 4_000 < len(line.encode()) <= 8_192
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(30)
        handler = logging.handlers.SysLogHandler(daemon.getsockname())
        handler.setFormatter(CefFormatter())
        handler.handle(record_of("login_failed", **huge))
        handler.close()
        assert parse(daemon.recv(65_536).decode().split(">", 1)[1].rstrip("\0")).extension["suser"] == "alice"
