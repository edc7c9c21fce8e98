"""Whatever a client sends is answered by an object or a refusal, never by a crash."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zenlead.kube.resources import ENDPOINT_SLICES, EVENTS, LEASES, NODES, PODS, SERVICES, Resource
from zenlead.sandbox import patches
from zenlead.sandbox.apiserver import NAMESPACES_AT_START, ApiServer
from zenlead.sandbox.kinds import CONFIG_MAPS, CORE_EVENTS, NAMESPACES
from zenlead.sandbox.parsing import Target
from zenlead.sandbox.refusals import Refusal

META = {
    "name": "web",
    "labels": {"app": "web"},
    "annotations": {"a": "b"},
    "finalizers": ["example.com/hold"],
    "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "Set", "name": "a", "uid": "u", "controller": True}
    ],
}
PORT = {"name": "http", "port": 80, "protocol": "TCP", "appProtocol": "http"}
EVENT = {
    "metadata": {"name": "web"},
    "eventTime": "2026-01-01T00:00:00.000000Z",
    "reportingInstance": "i",
    "reason": "R",
    "action": "A",
    "type": "Normal",
    "series": {"count": 1, "lastObservedTime": "2026-01-01T00:00:00.000000Z"},
}
CONDITION = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
BODIES: list[tuple[Resource, dict[str, Any]]] = [
    (
        SERVICES,
        {
            "metadata": META,
            "spec": {
                "type": "NodePort",
                "selector": {"app": "web"},
                "ports": [{**PORT, "targetPort": "http", "nodePort": 30001}],
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
                "clusterIP": "10.96.0.77",
                "clusterIPs": ["10.96.0.77"],
                "sessionAffinity": "None",
            },
            "status": {"conditions": [CONDITION]},
        },
    ),
    (
        ENDPOINT_SLICES,
        {
            "metadata": META,
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.1.0.1"], "conditions": {"ready": True}, "nodeName": "n1", "hostname": "h"}
            ],
            "ports": [PORT],
        },
    ),
    (
        PODS,
        {
            "metadata": META,
            "spec": {
                "nodeName": "n1",
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 5,
                "tolerations": [{"key": "a"}],
                "containers": [
                    {"name": "app", "image": "a", "ports": [{"name": "http", "containerPort": 80}]}
                ],
                "initContainers": [{"name": "init", "image": "a"}],
            },
            "status": {"phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}]},
        },
    ),
    (LEASES, {"metadata": META, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15}}),
    (EVENTS, {**EVENT, "reportingController": "c", "note": "n", "regarding": {"namespace": "default"}}),
    (CORE_EVENTS, {**EVENT, "reportingComponent": "c", "involvedObject": {"namespace": "default"}}),
    (NAMESPACES, {"metadata": {**META, "finalizers": []}, "spec": {"finalizers": ["kubernetes"]}}),
    (NODES, {"metadata": META, "spec": {"unschedulable": True}, "status": {"conditions": [CONDITION]}}),
    (CONFIG_MAPS, {"metadata": META, "data": {"a": "b"}}),
]

anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.text(max_size=3) | st.just(1.5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for step, held in inner for found in _paths(held, (*path, step)))]


def _spoiled(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    spoiled = copy.deepcopy(body)
    held: Any = spoiled
    for step in path[:-1]:
        held = held[step]
    held[path[-1]] = value
    return spoiled


@pytest.mark.parametrize("at", range(len(BODIES)), ids=lambda at: BODIES[at][0].path())
@given(data=st.data(), value=anything)
def test_any_field_may_hold_anything(at: int, data: st.DataObject, value: Any) -> None:
    resource, body = BODIES[at]
    server = ApiServer(lambda: 0.0, random.Random(1))
    kind = server.kind(resource.group, resource.version, resource.plural)
    namespace = "default" if resource.namespaced else ""
    spoiled = _spoiled(body, data.draw(st.sampled_from(_paths(body))), value)
    text = json.dumps(spoiled).encode()
    with contextlib.suppress(Refusal):
        server.create(Target(kind, namespace), text, {})
    with contextlib.suppress(Refusal):
        server.create(Target(kind, namespace), json.dumps(body).encode(), {})
    [made, *_] = [
        stored.body
        for _, stored in server.objects.find(kind.storage, namespace)
        if stored.body["metadata"]["name"] not in NAMESPACES_AT_START
    ]
    target = Target(kind, namespace, made["metadata"]["name"])
    form = data.draw(st.sampled_from(patches.FORMATS))
    part = data.draw(st.sampled_from(["", "status"])) if "status" in kind.subresources else ""
    patched = Target(kind, namespace, target.name, part)
    with contextlib.suppress(Refusal):
        server.patch(patched, text, form, {"fieldManager": "me", "force": "true"})
    json.loads(server.delete(target, json.dumps({"gracePeriodSeconds": 0}).encode(), {}))


@given(data=st.data(), value=anything)
def test_any_option_of_a_deletion_may_hold_anything(data: st.DataObject, value: Any) -> None:
    server = ApiServer(lambda: 0.0, random.Random(1))
    kind = server.kind("", "v1", "configmaps")
    target = Target(kind, "default", "web")
    server.create(Target(kind, "default"), b'{"metadata":{"name":"web"}}', {})
    options = {
        "gracePeriodSeconds": 1,
        "preconditions": {"uid": "u"},
        "propagationPolicy": "Background",
        "dryRun": ["All"],
    }
    spoiled = _spoiled(options, data.draw(st.sampled_from(_paths(options))), value)
    with contextlib.suppress(Refusal):
        server.delete(target, json.dumps(spoiled).encode(), {})


@given(st.binary(max_size=20).map(lambda tail: b"k8s\x00" + tail))
def test_protobuf_may_be_anything(body: bytes) -> None:
    server = ApiServer(lambda: 0.0, random.Random(1))
    with pytest.raises(Refusal):
        server.create(Target(server.kind("", "v1", "namespaces")), body, {})
