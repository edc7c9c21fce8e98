"""Bytes that no API server should send: real objects with parts replaced, repeated, cut and scrambled.

Knows JSON and what has broken decoders before. Refuses to know what zenlead makes of it. The rule: everything
follows from the choices of hypothesis, so that a failure can be repeated.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

META = {
    "name": "web",
    "namespace": "t1",
    "uid": "u-1",
    "resourceVersion": "12",
    "creationTimestamp": "2025-01-01T00:00:00Z",
    "labels": {"app": "web", "app.kubernetes.io/managed-by": "zen-lead", "zen-lead.io/source-service": "web"},
    "annotations": {
        "zen-lead.io/enabled": "true",
        "zen-lead.io/min-ready-duration": "5s",
        "zen-lead.io/failback": "after:5m",
        "zen-lead.io/ports-mode": "subset:http",
        "zen-lead.io/strategy": "ordinal",
        "zen-lead.io/leader-epoch": "3",
        "zen-lead.io/leader-pod-uid": "u-2",
        "zen-lead.io/priority": "5",
    },
    "ownerReferences": [{"kind": "Service", "name": "web", "uid": "u-1", "controller": True}],
}
PORT = {"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http", "appProtocol": "h2c"}
SERVICE = {
    "metadata": META,
    "spec": {
        "type": "ClusterIP",
        "clusterIP": "10.0.0.1",
        "selector": {"app": "web"},
        "ports": [PORT, {**PORT, "name": "b", "targetPort": 8080}],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    },
    "status": {"conditions": [{"type": "zen-lead.io/LeaderReady", "status": "True", "reason": "x"}]},
}
LEADER_SERVICE = {**SERVICE, "metadata": {**META, "name": "web-leader"}}
POD = {
    "metadata": {**META, "name": "web-0", "uid": "u-2"},
    "spec": {
        "nodeName": "n1",
        "containers": [
            {"name": "main", "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]}
        ],
        "initContainers": [{"name": "side", "restartPolicy": "Always", "ports": []}],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.1.0.1",
        "podIPs": [{"ip": "10.1.0.1"}, {"ip": "fd00::1"}],
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2025-01-01T00:00:05Z"}],
        "containerStatuses": [{"name": "main", "restartCount": 2}],
    },
}
SLICE = {
    "metadata": {**META, "name": "web-leader", "uid": "u-3"},
    "addressType": "IPv4",
    "endpoints": [
        {
            "addresses": ["10.1.0.1"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "n1",
            "zone": "z1",
            "targetRef": {"kind": "Pod", "namespace": "t1", "name": "web-0", "uid": "u-2"},
        }
    ],
    "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
}
NODE = {"metadata": {"name": "n1", "resourceVersion": "3", "labels": {"topology.kubernetes.io/zone": "z1"}}}

TEXTS = (
    "",
    " ",
    "²",  # a digit that is no number
    "9" * 5000,  # a number that Python refuses to read
    "-1",
    "\x00",
    "\ud800",  # half a character
    "a" * 70,
    "0001-01-01T00:00:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00",
    "2025-02-30T00:00:00Z",
    "2025-01-01T00:00:00",
    "fe80::1%eth0",
    "999.1.1.1",
    "Pod",
    "true",
    "after:1s",
    "1e400s",
)
NUMBERS = (0, -1, 65536, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 0.5, 1e308, -0.0)
hostile_values = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.text(max_size=5),
    st.sampled_from([[], {}, [None], [[]], {"": None}, [{}], {"a": 1}, ["x"] * 300]),
    st.just([[[[[[[[{"deep": [[[[]]]]}]]]]]]]]),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every way into a JSON value."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += _places(inner, (*path, key))
    return found


@st.composite
def mutated(draw: st.DrawFn, base: dict[str, Any]) -> bytes:
    """``base`` with up to three of its parts replaced, taken away or renamed."""
    body = copy.deepcopy(base)
    for _ in range(draw(st.integers(0, 3))):
        places = _places(body)
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        holder: Any = body
        for key in way:
            holder = holder[key]
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "rename"])):
            case "replace":
                holder[last] = copy.deepcopy(draw(hostile_values))
            case "remove":
                del holder[last]
            case _ if isinstance(holder, dict):
                holder[draw(st.sampled_from(TEXTS))] = holder.pop(last)
    return json.dumps(body).encode()


@st.composite
def scrambled(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of ``bodies`` with something done to them that JSON does not foresee, or nothing."""
    body = draw(bodies)
    at = draw(st.integers(0, max(0, len(body) - 1)))
    match draw(st.sampled_from(["as it is"] * 4 + ["cut", "byte", "insert", "twice", "nan", "deep", "huge"])):
        case "cut":
            return body[:at]
        case "byte":
            return body[:at] + bytes([draw(st.integers(0, 255))]) + body[at + 1 :]
        case "insert":
            return body[:at] + draw(st.binary(max_size=6)) + body[at:]
        case "twice":  # the same key two times: the last one counts, or the first
            return body.replace(b'"metadata":', b'"metadata": null, "metadata":', 1)
        case "nan":
            return body.replace(
                b"80", draw(st.sampled_from([b"NaN", b"Infinity", b"-Infinity", b"8" * 400])), 1
            )
        case "deep":
            return body[:at] + b"[" * 1_200
        case "huge":
            return body.replace(b'"12"', b"1" * 5000, 1)
    return body
