"""From the wire to a view: what counts is kept, null is as nothing, and hostile bytes raise ValueError."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.lead.builders import T0, Json, leader_json, pod, pod_json, service_json, slice_json, stamp
from tests.unit.profiles import THOROUGH
from zenlead.lead import contract
from zenlead.lead.views import NodeView, PortName, ServicePort, SlicePort
from zenlead.lead.wire import WireNode, WirePod, WireService, WireSlice, decode

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = (WirePod, WireService, WireSlice, WireNode)


def encode(body: Json) -> bytes:
    return msgspec.json.encode(body)


FULL: dict[Any, Json] = {
    WirePod: pod_json(
        annotations={"note": "リーダー🚀"},
        deleted=True,
        containers=[{"name": "c", "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}]}],
        inits=[{"name": "s", "restartPolicy": "Always", "ports": [{"name": "x", "containerPort": 81}]}],
    ),
    WireService: leader_json(annotations={contract.EPOCH: "1"})
    | {
        "status": {
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "r",
                    "message": "m",
                    "lastTransitionTime": stamp(T0),
                    "observedGeneration": 1,
                }
            ]
        }
    },
    WireSlice: slice_json(pod(), epoch=1),
    WireNode: {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z1"}}},
}

# What the API server always fills in: without these there is no object.
REQUIRED = {
    "metadata",
    "name",
    "uid",
    "resourceVersion",
    "type",
    "status",
    "port",
    "containerPort",
    "addressType",
}


def paths(body: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to every field below ``body``."""
    if isinstance(body, dict):
        for key, value in body.items():
            yield (*at, key)
            yield from paths(value, (*at, key))
    elif isinstance(body, list):
        for index, value in enumerate(body):
            yield from paths(value, (*at, index))


def with_null(body: Json, path: tuple[Any, ...]) -> Json:
    changed: Any = copy.deepcopy(body)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = None
    return changed


OPTIONAL = [
    (kind, path)
    for kind, body in FULL.items()
    for path in paths(body)
    if not (path[-1] in REQUIRED and path != ("status",) and "targetRef" not in path)
    and not (len(path) > 1 and path[-2] in ("labels", "annotations", "selector"))
]


@pytest.mark.parametrize(("kind", "path"), OPTIONAL, ids=[".".join(map(str, path)) for _, path in OPTIONAL])
def test_null_can_stand_for_whatever_may_be_left_out(kind: Any, path: tuple[Any, ...]) -> None:
    left_out: Any = copy.deepcopy(FULL[kind])
    inner = left_out
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    assert decode(kind, encode(with_null(FULL[kind], path))) == decode(kind, encode(left_out))


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_is_no_more_than_a_name(kind: Any) -> None:
    assert decode(kind, b'{"metadata":{"name":"x"}}').name == "x"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"metadata":null}',
        b'{"metadata":[]}',
        b'{"metadata":{"name":null}}',
        b'{"metadata":{"name":7}}',
        b'{"metadata":{"name":"\xff\xfe"}}',
        b'{"metadata":{"name":"a"},"more":' + b"[" * 50_000,
        b'{"metadata":{"name":"a"},"more":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"metadata":{"name":"a","creationTimestamp":"yesterday"}}',
        b'{"metadata":{"name":"a","labels":{"a":1}}}',
        b'{"metadata":{"name":"a"}',
        b'{"metadata":{"name":"a"}}{}',
    ],
)
def test_what_is_no_object_raises_value_error(kind: Any, body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(kind, body)


def test_a_time_before_all_times_is_refused() -> None:
    with pytest.raises(ValueError, match="year 0"):
        decode(WirePod, b'{"metadata":{"name":"a","creationTimestamp":"0001-01-01T00:00:00"}}')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(KINDS), st.data())
@THOROUGH
def test_hostile_values_in_any_place_raise_nothing_else(kind: Any, data: st.DataObject) -> None:
    body: Any = copy.deepcopy(FULL[kind])
    for path in data.draw(st.sets(st.sampled_from(list(paths(body))), min_size=1, max_size=3)):
        inner = body
        for step in path[:-1]:
            try:
                inner = inner[step]
            except (KeyError, IndexError, TypeError):
                break
        if isinstance(inner, dict):
            inner[path[-1]] = data.draw(json_values)
    _decode_or_refuse(kind, encode(body))


@given(st.sampled_from(KINDS), st.data())
@THOROUGH
def test_hostile_bytes_raise_nothing_else(kind: Any, data: st.DataObject) -> None:
    body = bytearray(encode(FULL[kind]))
    at = data.draw(st.integers(0, len(body)))
    body[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    _decode_or_refuse(kind, bytes(body))


def _decode_or_refuse(kind: Any, body: bytes) -> None:
    try:
        view = decode(kind, body)
    except ValueError:
        return
    assert decode(kind, body) == view


# --- what is kept -------------------------------------------------------------------------------------------


def test_a_finished_pod_has_no_address_but_what_it_declared() -> None:
    view = pod(phase="Succeeded", containers=[{"ports": [{"name": "http", "containerPort": 80}]}])
    assert (view.ips, view.ports) == ((), (PortName("http", "TCP", 80),))


def test_ports_come_in_the_order_in_which_they_resolve() -> None:
    view: Any = decode(WirePod, encode(FULL[WirePod]))
    assert view.ports == (PortName("http", "TCP", 80), PortName("x", "TCP", 81))
    assert view.deleted_at == T0 + 30


def test_pods_of_one_template_share_what_they_have_in_common() -> None:
    declared = [{"ports": [{"name": "http", "containerPort": 80}]}]
    one, two = pod("a", containers=declared), pod("b", containers=declared)
    assert one.labels is two.labels
    assert one.ports is two.ports


def test_a_label_goes_before_an_annotation() -> None:
    view = pod(labels={contract.CANDIDATE: "false"}, annotations={contract.CANDIDATE: "true"})
    assert view.candidate == "false"


def test_what_says_nothing_new_makes_an_equal_view() -> None:
    assert pod(version="7") == pod(version="8", annotations={"unrelated": "x"})
    a, b = service_json(version="5"), service_json(version="6", annotations={"unrelated": "x"})
    assert decode(WireService, encode(a)) == decode(WireService, encode(b))


def test_strangers_keep_their_name_only() -> None:
    body = service_json(labels={"a": "b"}, annotations={contract.ENABLED: "no"})
    view: Any = decode(WireService, encode(body))
    assert (view.name, view.uid) == ("web", "uid-svc-web")
    assert not (view.labels)
    assert not (view.annotations)
    assert not (view.selector)
    assert not (view.ports)
    assert not (view.resource_version)


def test_of_a_source_only_our_annotations_are_kept() -> None:
    body = service_json(annotations={"helm.sh/x": "1", "leader.zen-lead.io/note": "n"}, labels={"a": "b"})
    view: Any = decode(WireService, encode(body))
    assert view.annotations == {contract.ENABLED: "true", "leader.zen-lead.io/note": "n"}
    assert view.labels == {}


def test_of_a_service_of_ours_the_version_the_owner_and_the_conditions_are_kept() -> None:
    view: Any = decode(WireService, encode(FULL[WireService]))
    assert (view.resource_version, view.owner.uid) == ("5", "uid-svc-web")
    assert view.conditions[0].last_transition_time == stamp(T0)
    assert msgspec.to_builtins(view.conditions[0]) == FULL[WireService]["status"]["conditions"][0]


def test_only_a_controller_is_an_owner() -> None:
    body = leader_json()
    body["metadata"]["ownerReferences"][0]["controller"] = None
    assert decode(WireService, encode(body)).owner is None
    body["metadata"]["ownerReferences"].append({"kind": "X", "name": "y", "uid": "z", "controller": True})
    assert decode(WireService, encode(body)).owner.uid == "z"


def test_ports_of_services_and_slices() -> None:
    view: Any = decode(
        WireService,
        encode(
            service_json(
                ports=[{"port": 80}, {"name": "b", "port": 1, "targetPort": "http", "protocol": "UDP"}]
            )
        ),
    )
    assert view.ports == (ServicePort(80), ServicePort(1, "b", "UDP", "http"))
    body = slice_json(None) | {"ports": [{"port": None}, {"name": "a", "port": 1, "appProtocol": "x"}]}
    assert decode(WireSlice, encode(body)).ports == (SlicePort("", None), SlicePort("a", 1, "TCP", "x"))


def test_headless_is_the_word_none() -> None:
    assert decode(WireService, encode(service_json(spec={"clusterIP": "None"}))).headless
    assert not decode(WireService, encode(service_json(spec={"clusterIP": ""}))).headless
    assert not decode(WireService, encode(service_json(spec={"clusterIP": None}))).headless


def test_a_node_is_its_zone() -> None:
    assert decode(WireNode, encode(FULL[WireNode])) == NodeView("n1", "z1")
