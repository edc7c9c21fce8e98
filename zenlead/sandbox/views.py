"""Stored objects as bytes for a reader.

Knows how kind and apiVersion are put in front, and that items of a list go without. Refuses to know
transports and tables. The rule: the common path copies bytes and never encodes an object again.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.kube.resources import ENDPOINT_SLICES, EVENTS, NODES, PODS, SERVICES
from zenlead.sandbox.event_views import to_shown
from zenlead.sandbox.kinds import CORE_EVENTS, Kind

if TYPE_CHECKING:
    from zenlead.sandbox.objects import Body, Stored

# What an empty object of a kind looks like on the wire: the body of a bookmark, null containers included.
_EMPTY: dict[Any, Body] = {
    PODS: {"spec": {"containers": None}, "status": {}},
    SERVICES: {"spec": {}, "status": {"loadBalancer": {}}},
    NODES: {
        "spec": {},
        "status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "nodeInfo": {"machineID": ""}},
    },
    ENDPOINT_SLICES: {"addressType": "", "endpoints": None, "ports": None},
    EVENTS: {"eventTime": None, "regarding": {}},
    CORE_EVENTS: {"involvedObject": {}, "source": {}, "eventTime": None},
}
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


def timestamp(unix_s: float) -> str:
    """A ``Time`` as the API writes it: whole seconds, UTC."""
    moment = datetime.datetime.fromtimestamp(int(unix_s), datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def type_of(kind: Kind) -> bytes:
    """The two fields that say what an object is, with the opening brace."""
    return f'{{"kind":"{kind.resource.kind}","apiVersion":"{kind.resource.api_version}",'.encode()


def item(kind: Kind, stored: Stored) -> bytes:
    """The object as an item of a list: without kind and apiVersion."""
    if kind.resource != EVENTS:
        return stored.raw
    return msgspec.json.encode(to_shown(kind, stored.body))


def whole(kind: Kind, stored: Stored) -> bytes:
    """The object as the answer to a GET or in a watch event."""
    return type_of(kind) + item(kind, stored)[1:]


def shown(kind: Kind, body: Body) -> Body:
    """A body with kind and apiVersion, as a client would have read it; the caller may change it."""
    named = {"kind": kind.resource.kind, "apiVersion": kind.resource.api_version, **to_shown(kind, body)}
    copy: Body = msgspec.json.decode(msgspec.json.encode(named))
    return copy


def bookmark(kind: Kind, revision: int, *, initial_end: bool) -> Body:
    """The object of a BOOKMARK event: nothing but a resourceVersion, around empty containers."""
    meta: Body = {"resourceVersion": str(revision)}
    if initial_end:
        meta["annotations"] = {INITIAL_EVENTS_END: "true"}
    empty = _EMPTY.get(kind.resource, {})
    return {
        "kind": kind.resource.kind,
        "apiVersion": kind.resource.api_version,
        "metadata": meta,
        **empty,
    }


def success(details: Body | None = None) -> bytes:
    """The ``Status`` of a deletion (with details) or of an action that is done."""
    told = {"details": details} if details else {"code": 201}
    return msgspec.json.encode(
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", **told}
    )
