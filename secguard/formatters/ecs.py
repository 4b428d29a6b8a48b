"""Lines in the words of the Elastic Common Schema (ECS)."""

from __future__ import annotations

import json
from typing import Any

from secguard.formatters.json_lines import LogData
from secguard.formatters.shaped import TECHNIQUES, VENDOR, Facts, JsonShapedFormatter
from secguard.formatters.vocabulary import CEF_SEVERITIES, ECS_VERSION

LAST_RESORT = json.dumps(
    {
        "@timestamp": "1970-01-01T00:00:00.000Z",
        "ecs": {"version": ECS_VERSION},
        "message": "<unprintable record>",
        "error": {"type": "RecursionError"},
    }
)


class EcsFormatter(JsonShapedFormatter):
    """Write records as ECS documents, one line of JSON each.

    What ECS has no field for stands under ``secguard``; map that as ``flattened``. ``service``: for ``service.name``.
    A client that is no IP address is ``source.address`` alone, since ``source.ip`` would refuse the document.
    """

    last_resort = LAST_RESORT
    place = VENDOR

    def document(self, facts: Facts) -> LogData:
        data, technique = facts.data, facts.technique
        if technique:
            facts.take("technique")
        return {
            "@timestamp": data["timestamp"],
            "ecs": {"version": ECS_VERSION},
            "message": data["message"],
            "event": _event(facts),
            "log": {
                "level": data["level"].lower(),
                "logger": data["logger"],
                "origin": {
                    "file": {"name": data["location"]["file"], "line": data["location"]["line"]},
                    "function": data["location"]["function"],
                },
            },
            "service": {"name": self.service},
            **_client(facts),
            "rule": {"name": facts.text("rule")},
            "threat": _threat(technique),
            "error": {"stack_trace": data.get("exception") or data.get("stack_info") or ""},
        }


def _event(facts: Facts) -> dict[str, Any]:
    terms = facts.terms
    if not facts.event_type:
        return {"kind": "event", "dataset": facts.data["logger"]}
    return {
        "kind": terms.ecs_kind,
        "category": list(terms.ecs_category),
        "type": list(terms.ecs_type),
        "action": facts.event_type,
        "outcome": terms.outcome,
        "severity": CEF_SEVERITIES[facts.severity],
        "reason": facts.text("reason"),
        "id": facts.text("event_id"),
        "module": VENDOR,
        "dataset": f"{VENDOR}.events",
    }


def _client(facts: Facts) -> dict[str, Any]:
    address = facts.address()
    user = {"id": facts.text("user_id"), "name": facts.text("username"), "email": facts.text("email")}
    return {
        "source": {"ip": address, "address": address or facts.text("ip_address")},
        "user": user,
        "user_agent": {"original": facts.text("user_agent")},
        "url": {"path": facts.text("path")},
        "http": {"request": {"id": facts.text("request_id"), "method": facts.text("method")}},
        "related": {
            "ip": [address],
            "user": list(dict.fromkeys(name for name in (user["name"], user["email"]) if name)),
        },
    }


def _threat(technique: list[str]) -> dict[str, Any]:
    if not technique:
        return {}
    above, *below = technique
    return {
        "framework": "MITRE ATT&CK",
        "technique": {
            "id": [above],
            "name": [TECHNIQUES.get(above, "")],
            "subtechnique": {"id": below, "name": [TECHNIQUES.get(each, "") for each in below]},
        },
    }
