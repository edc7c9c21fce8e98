"""Two spellings of one Event: core/v1 (stored) and events.k8s.io/v1.

Knows which field is called what. Refuses to know rules. The rule: to and fro loses nothing.
Source: Kubernetes API reference, Event v1 and Event events.k8s.io/v1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zenlead.kube.resources import EVENTS

if TYPE_CHECKING:
    from zenlead.sandbox.kinds import Kind
    from zenlead.sandbox.objects import Body

_RENAMED = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_BACK = {stored: shown for shown, stored in _RENAMED.items()}


def to_stored(kind: Kind, body: Body) -> Body:
    """The body as it is stored."""
    if kind.resource != EVENTS:
        return body
    return {_RENAMED.get(name, name): value for name, value in body.items()}


def to_shown(kind: Kind, body: Body) -> Body:
    """The stored body as this kind spells it."""
    if kind.resource != EVENTS:
        return body
    return {_BACK.get(name, name): value for name, value in body.items()}
