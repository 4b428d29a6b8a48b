"""The page on monitoring says what is counted; its alerts and its dashboard speak of nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Gauge, Histogram, generate_latest
from prometheus_client.registry import CollectorRegistry

from secguard.detection.catalogue import ALL_RULES
from secguard.events import VOCABULARY
from secguard.integrations.prometheus import METRICS
from tests.test_docs import ROOT, code, page, table

FOLDER = ROOT / "docs" / "monitoring"
ALERTS = FOLDER / "alerts.yml"


def name_of(metric: Any) -> str:
    return metric._name + ("_total" if metric._type == "counter" else "")


#: Every name of a sample that Prometheus stores, by the metric that it belongs to.
SAMPLES = {name_of(metric): metric for metric in METRICS} | {
    f"{metric._name}_{part}": metric
    for metric in METRICS
    if isinstance(metric, Histogram)
    for part in ("bucket", "count", "sum")
}


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    rows = table(page("docs/monitoring.md"), "metric", "type", "labels", "what", "several processes")
    assert [
        (code(row["metric"]), row["type"], row["labels"], row["what"], row["several processes"]) for row in rows
    ] == [
        (
            name_of(metric),
            metric._type,
            ", ".join(f"`{label}`" for label in metric._labelnames),
            metric._documentation,
            metric._multiprocess_mode if isinstance(metric, Gauge) else "sum",
        )
        for metric in METRICS
    ]


def expressions() -> list[tuple[str, str]]:
    """Whatever asks Prometheus something, by where it stands."""
    dashboard = json.loads((FOLDER / "grafana.json").read_text(encoding="utf-8"))
    found = [(panel["title"], each["expr"]) for panel in dashboard["panels"] for each in panel["targets"]]
    found += [
        (each["name"], each["query"]["query"]) for each in dashboard["templating"]["list"] if each["type"] == "query"
    ]
    rules = re.split(r"^      - alert: ", ALERTS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return found + [(rule.splitlines()[0], rule.split("labels:")[0].split("expr:")[1]) for rule in rules]


@pytest.mark.parametrize(("where", "asked"), expressions())
def test_what_is_asked_is_counted(where: str, asked: str) -> None:
    names = set(re.findall(r"secguard_\w+", asked))
    assert names
    assert names <= set(SAMPLES)
    for name, labels in re.findall(r"(secguard_\w+)\{([^}]*)\}", asked):
        asked_for = set(re.findall(r"(\w+)=", labels)) - {"job", "instance"}
        assert asked_for <= set(SAMPLES[name]._labelnames) | {"le"}
    assert set(re.findall(r'type="(\w+)"', asked)) <= set(VOCABULARY)
    assert set(re.findall(r'rule="(\w+)"', asked)) <= {rule.name for rule in ALL_RULES}


def test_the_dashboard_shows_every_metric() -> None:
    dashboard = (FOLDER / "grafana.json").read_text(encoding="utf-8")
    shown = {SAMPLES[name] for name in re.findall(r"secguard_\w+", dashboard)}
    assert [name_of(metric) for metric in METRICS if metric not in shown] == []


def test_every_alert_is_documented_and_every_documented_alert_exists() -> None:
    text = ALERTS.read_text(encoding="utf-8")
    existing = re.findall(r"- alert: (\w+).*?severity: (\w+)", text, flags=re.DOTALL)
    rows = table(page("docs/monitoring.md"), "alert", "severity", "when")
    assert [(code(row["alert"]), row["severity"]) for row in rows] == existing


# -- by Prometheus' own tool ---------------------------------------------------------------------------------------


def promtool(*arguments: str, given: bytes | None = None) -> str:
    binary = shutil.which("promtool")
    if binary is None:
        pytest.skip("promtool is not installed: Debian's package prometheus has it")
    done = subprocess.run([binary, *arguments], input=given, capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said


def test_the_alerts_are_rules_for_prometheus() -> None:
    assert f"SUCCESS: {len(CASES)} rules found" in promtool("check", "rules", str(ALERTS))


def test_the_metrics_are_named_as_prometheus_wants_them() -> None:
    registry = CollectorRegistry()
    for metric in METRICS:
        registry.register(metric)
    assert promtool("check", "metrics", given=generate_latest(registry)) == ""


#: For each alert: series as promtool writes them ("value+growth x times", a value a minute), a minute in which it is
#: quiet, and one in which it fires.
CASES: dict[str, tuple[dict[str, str], int, int]] = {
    "SecguardSuccessUnderAttack": (
        {'secguard_threats_total{rule="success_after_attack",severity="critical"JOB}': "0x10 1x60"},
        10,
        12,
    ),
    "SecguardThreats": ({'secguard_threats_total{rule="brute_force",severity="critical"JOB}': "0x10 0+5x60"}, 10, 30),
    "SecguardManyFailedLogins": (
        {'secguard_events_total{type="login_failed",outcome="failure"JOB}': "0+2x1500 3000+600x60"},
        1500,
        1530,
    ),
    "SecguardManyBlocks": ({"secguard_blocks_active{JOB}": "50000x20 60000x60"}, 30, 40),
    "SecguardStoreAway": ({"secguard_store_breaker_open{JOB}": "0x20 1x60"}, 21, 24),
    "SecguardStoreSlow": (
        {
            'secguard_store_seconds_bucket{outcome="answered",le="0.001"JOB}': "0+100x20 2000+1x60",
            'secguard_store_seconds_bucket{outcome="answered",le="0.05"JOB}': "0+100x80",
            'secguard_store_seconds_bucket{outcome="answered",le="+Inf"JOB}': "0+100x80",
        },
        20,
        50,
    ),
    "SecguardReplicaOld": ({"secguard_replica_age_seconds{JOB}": "0x20 60+60x60"}, 25, 32),
    "SecguardRowsDropped": ({"secguard_dropped_rows_total{JOB}": "0x20 7x60"}, 20, 22),
    "SecguardEventsLost": ({"secguard_lost_events_total{JOB}": "0x20 7x60"}, 20, 22),
}


def test_every_alert_has_a_case() -> None:
    assert list(CASES) == re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_fires_when_it_should_and_not_before(alert: str, tmp_path: Path) -> None:
    series, quiet, fires = CASES[alert]
    firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    case = {
        "interval": "1m",
        "input_series": [
            {"series": name.replace("{JOB", "{" + JOB[1:]).replace("JOB", JOB), "values": values}
            for name, values in series.items()
        ],
        "promql_expr_test": [
            {"expr": firing, "eval_time": f"{quiet}m", "exp_samples": []},
            {"expr": firing, "eval_time": f"{fires}m", "exp_samples": [{"labels": "{}", "value": 1}]},
        ],
    }
    path = tmp_path / "case.json"  # which is YAML, too
    path.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [case]}))
    assert "SUCCESS" in promtool("test", "rules", str(path))


#: The labels that Prometheus gives what it scrapes.
JOB = ',instance="shop:8000",job="django"'
