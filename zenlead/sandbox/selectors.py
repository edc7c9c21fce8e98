"""Label and field selectors: text in, a predicate over bodies out.

Knows the two grammars and which fields each kind can be selected by. Refuses to know lists and watches.
The rule: what the real server answers with 400 is refused here, never silently matched.
Source: Kubernetes concepts, "Labels and selectors" and "Field selectors".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from zenlead.sandbox.objects import Body
from zenlead.sandbox.refusals import bad_request, qualified

if TYPE_CHECKING:
    from zenlead.sandbox.kinds import Kind

Matches = Callable[[Body], bool]
_Requirement = Callable[[Mapping[str, str]], bool]

_KEY = r"[A-Za-z0-9./_-]+"
_SET = re.compile(rf"^({_KEY})\s+(in|notin)\s*\(([^()]*)\)$")
_EQUAL = re.compile(rf"^({_KEY})\s*(==|=|!=)\s*([A-Za-z0-9._-]*)$")
_EXISTS = re.compile(rf"^(!?)\s*({_KEY})$")
_FIELD = re.compile(r"^([^=!\\]+)(==|=|!=)(.*)$")

_EVENT_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
# Field label -> path in the stored body. metadata.name and metadata.namespace work for every kind.
FIELDS: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("", "pods"): {
        "spec.nodeName": ("spec", "nodeName"),
        "spec.restartPolicy": ("spec", "restartPolicy"),
        "spec.schedulerName": ("spec", "schedulerName"),
        "spec.serviceAccountName": ("spec", "serviceAccountName"),
        "spec.hostNetwork": ("spec", "hostNetwork"),
        "status.phase": ("status", "phase"),
        "status.podIP": ("status", "podIP"),
        "status.nominatedNodeName": ("status", "nominatedNodeName"),
    },
    ("", "services"): {"spec.clusterIP": ("spec", "clusterIP"), "spec.type": ("spec", "type")},
    ("", "nodes"): {"spec.unschedulable": ("spec", "unschedulable")},
    ("", "namespaces"): {"status.phase": ("status", "phase")},
    ("", "events"): {
        **{f"involvedObject.{name}": ("involvedObject", name) for name in _EVENT_REFERENCE},
        "reason": ("reason",),
        "reportingComponent": ("reportingComponent",),
        "source": ("source", "component"),
        "type": ("type",),
    },
    ("events.k8s.io", "events"): {
        **{f"regarding.{name}": ("involvedObject", name) for name in _EVENT_REFERENCE},
        "reason": ("reason",),
        "reportingController": ("reportingComponent",),
        "type": ("type",),
    },
}
_COMMON = {"metadata.name": ("metadata", "name"), "metadata.namespace": ("metadata", "namespace")}


def matcher(kind: Kind, query: Mapping[str, str]) -> Matches | None:
    """The predicate of ``labelSelector`` and ``fieldSelector``, or None if both are empty. Raises Refusal."""
    labels = [_requirement(part) for part in _split(query.get("labelSelector", ""))]
    fields = _field_terms(kind, query.get("fieldSelector", ""))
    if not labels and not fields:
        return None

    def matches(body: Body) -> bool:
        held = body["metadata"].get("labels") or {}
        return all(wanted(held) for wanted in labels) and all(wanted(body) for wanted in fields)

    return matches


def _split(text: str) -> list[str]:
    """Parts between commas that are outside parentheses."""
    parts = re.split(r",(?![^(]*\))", text)
    return [part.strip() for part in parts if part.strip()]


def _requirement(text: str) -> _Requirement:
    if found := _SET.match(text):
        key, operator, listed = found.groups()
        values = frozenset(value.strip() for value in listed.split(","))
        if operator == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _EQUAL.match(text):
        key, operator, value = found.groups()
        if operator == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _EXISTS.match(text):
        absent, key = found.groups()
        return lambda labels: (key in labels) != bool(absent)
    raise bad_request(f'unable to parse requirement: found {text!r}, expected: identifier or "!"')


def _field_terms(kind: Kind, text: str) -> list[Matches]:
    known = _COMMON | FIELDS.get((kind.resource.group, kind.resource.plural), {})
    terms: list[Matches] = []
    for part in filter(None, text.split(",")):
        found = _FIELD.match(part)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        label, operator, value = found.groups()
        if label not in known:
            raise bad_request(
                f'Unable to find {qualified(kind.resource)!r} that match field selector "{text}": '
                f"field label not supported: {label}"
            )
        terms.append(_field_term(known[label], operator != "!=", value))
    return terms


def _field_term(path: tuple[str, ...], equal: bool, value: str) -> Matches:
    def matches(body: Body) -> bool:
        return (_text_at(body, path) == value) == equal

    return matches


def _text_at(body: Body, path: tuple[str, ...]) -> str:
    found: Any = body
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    if isinstance(found, bool):
        return "true" if found else "false"
    return "" if found is None else str(found)
