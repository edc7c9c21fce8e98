"""The kinds of the Prometheus operator, as far as the chart uses them, so that an API server can judge them.

Knows names and types of fields. Refuses to know the rest of the operator. Source: its API reference v1. An
unknown field is refused under strict validation, as with the operator's own definitions.
"""

from __future__ import annotations

from typing import Any

GROUP = "monitoring.coreos.com"
Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
DURATION: Schema = {
    "type": "string",
    "pattern": r"^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?(([0-9]+)ms)?)$",
}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    found: Schema = {"type": "object", "properties": properties}
    return found | ({"required": list(required)} if required else {})


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _texts() -> Schema:
    return {"type": "object", "additionalProperties": TEXT}


RELABELING = _object(
    action=TEXT,
    modulus={"type": "integer"},
    regex=TEXT,
    replacement=TEXT,
    separator=TEXT,
    sourceLabels=_list(TEXT),
    targetLabel=TEXT,
)
ENDPOINT = _object(
    port=TEXT,
    path=TEXT,
    scheme=TEXT,
    honorLabels={"type": "boolean"},
    interval=DURATION,
    scrapeTimeout=DURATION,
    relabelings=_list(RELABELING),
    metricRelabelings=_list(RELABELING),
)
SELECTION = {
    "namespaceSelector": _object(any={"type": "boolean"}, matchNames=_list(TEXT)),
    "selector": _object(matchLabels=_texts()),
    "jobLabel": TEXT,
}
RULE = _object(
    ("expr",),
    alert=TEXT,
    record=TEXT,
    expr={"x-kubernetes-int-or-string": True},
    **{"for": DURATION},
    keep_firing_for=DURATION,
    labels=_texts(),
    annotations=_texts(),
)
KINDS: dict[str, Schema] = {
    "ServiceMonitor": _object(("endpoints", "selector"), endpoints=_list(ENDPOINT), **SELECTION),
    "PodMonitor": _object(("selector",), podMetricsEndpoints=_list(ENDPOINT), **SELECTION),
    "PrometheusRule": _object(
        groups=_list(_object(("name",), name=TEXT, interval=DURATION, labels=_texts(), rules=_list(RULE)))
    ),
}


def definition(kind: str) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    plural = f"{kind.lower()}s"
    schema = _object(("spec",), apiVersion=TEXT, kind=TEXT, metadata={"type": "object"}, spec=KINDS[kind])
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [version],
        },
    }
