"""What is written, in which order, and what is never touched."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.unit.lead.builders import (
    T0,
    leader_json,
    led_by,
    pod,
    pod_json,
    service_json,
    slice_json,
    stamp,
)
from tests.unit.lead.world import World
from zenlead.lead import contract
from zenlead.lead.contract import Routing
from zenlead.lead.decide import decide
from zenlead.lead.desired import Serve
from zenlead.lead.writes import Create, Delete, Patch, Target, Write, diff

SERVICES, SLICES = Target.SERVICES, Target.SLICES
OLD, NEW = pod_json("web-0", age=2000), pod_json("web-1", age=1000, ips=["10.1.0.11"])


def world(*pods: dict[str, Any], **over: Any) -> World:
    return World(over.pop("source", None) or service_json(**over), list(pods or (OLD, NEW)))


def standing(*pods: dict[str, Any], **over: Any) -> World:
    """A world in which everything is as it should be; nothing has been written from here on."""
    made = world(*pods, **over)
    made.settle(T0)
    made.writes.clear()
    return made


def pending(w: World, now: float = T0, *, conditions: bool = True) -> list[Write]:
    seen = w.snapshot()
    return diff(seen, decide(seen, now), conditions=conditions)


def body_of(write: Write) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(write.body)
    return decoded


def told(writes: list[Write]) -> list[tuple[str, str, str]]:
    return [(type(w).__name__, w.target.value, w.name) for w in writes]


# --- from nothing -------------------------------------------------------------------------------------------


def test_the_service_comes_first_and_its_slice_when_the_uid_is_known() -> None:
    w = world()
    assert told(pending(w)) == [("Create", "services", "web-leader")]
    w.apply(pending(w)[0])
    first, *rest = pending(w)
    assert told([first]) == [("Create", "endpointslices", "web-leader")]
    assert first.urgent
    assert not any(write.urgent for write in rest)
    owner = body_of(first)["metadata"]["ownerReferences"][0]
    assert owner["uid"] == w.objects[SERVICES]["web-leader"]["metadata"]["uid"]


def test_all_that_is_written_from_nothing() -> None:
    w = world(ports=[{"name": "http", "port": 80, "targetPort": 8080, "appProtocol": "http"}])
    w.zones["n1"] = "z1"
    w.settle(T0)
    assert told(w.writes) == [
        ("Create", "services", "web-leader"),
        ("Create", "endpointslices", "web-leader"),
        ("Patch", "services", "web-leader"),
    ]
    made = w.objects[SERVICES]["web-leader"]
    assert made["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "zen-lead",
        "zen-lead.io/source-service": "web",
    }
    assert made["metadata"]["annotations"] == {
        "zen-lead.io/current-leader": "web-0",
        "zen-lead.io/leader-pod-name": "web-0",
        "zen-lead.io/leader-pod-uid": "uid-web-0",
        "zen-lead.io/leader-epoch": "1",
        "zen-lead.io/leader-last-switch-time": stamp(T0),
    }
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "uid-svc-web", "controller": True}
    ]
    assert made["spec"] == {
        "type": "ClusterIP",
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080, "appProtocol": "http"}],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }
    (condition,) = made["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("zen-lead.io/LeaderReady", "True")
    assert (condition["reason"], condition["lastTransitionTime"]) == ("LeaderElected", stamp(T0))

    written = w.objects[SLICES]["web-leader"]
    assert written["metadata"]["labels"] == {
        "kubernetes.io/service-name": "web-leader",
        "endpointslice.kubernetes.io/managed-by": "zen-lead",
        "app.kubernetes.io/managed-by": "zen-lead",
        "zen-lead.io/source-service": "web",
    }
    assert written["metadata"]["annotations"] == {
        "zen-lead.io/leader-epoch": "1",
        "endpoints.kubernetes.io/last-change-trigger-time": stamp(T0),
    }
    assert written["addressType"] == "IPv4"
    assert written["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "http"}]
    assert written["endpoints"] == [
        {
            "addresses": ["10.1.0.10"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "n1",
            "zone": "z1",
            "targetRef": {"kind": "Pod", "namespace": "t1", "name": "web-0", "uid": "uid-web-0"},
        }
    ]


def test_an_hour_later_nothing_is_written() -> None:
    w = standing()
    assert pending(w, T0 + 3600) == []


def test_without_conditions_none_is_written() -> None:
    w = world()
    for write in pending(w, conditions=False):
        w.apply(write)
    for write in pending(w, conditions=False):
        w.apply(write)
    assert pending(w, conditions=False) == []
    assert "status" not in w.objects[SERVICES]["web-leader"]


def test_with_nobody_to_lead_there_is_a_slice_without_endpoints() -> None:
    w = standing(pod_json(ready=False))
    written = w.objects[SLICES]["web-leader"]
    assert (written["endpoints"], written["ports"][0]["port"]) == ([], 8080)
    (condition,) = w.objects[SERVICES]["web-leader"]["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "NoReadyPods")


# --- the hostile source -------------------------------------------------------------------------------------

HOSTILE_LABELS = {
    "argocd.argoproj.io/instance": "shop",
    "app.kubernetes.io/managed-by": "Helm",
    "service.kubernetes.io/headless": "",
    "service.kubernetes.io/service-proxy-name": "other",
    "helm.sh/chart": "web-1",
}
HOSTILE_ANNOTATIONS = {
    "argocd.argoproj.io/tracking-id": "shop:/Service:t1/web",
    "meta.helm.sh/release-name": "web",
    "kubectl.kubernetes.io/last-applied-configuration": "{}",
    "external-dns.alpha.kubernetes.io/hostname": "web.example",
    "service.kubernetes.io/topology-mode": "Auto",
    "zen-lead.io/invented": "x",
}


def test_nothing_of_the_source_is_copied_that_is_not_named() -> None:
    hostile = {
        "type": "LoadBalancer",
        "externalTrafficPolicy": "Local",
        "internalTrafficPolicy": "Local",
        "trafficDistribution": "PreferClose",
        "sessionAffinity": "ClientIP",
        "publishNotReadyAddresses": True,
        "externalIPs": ["192.0.2.1"],
        "loadBalancerClass": "x",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080}],
    }
    plain, loud = standing(), standing(annotations=HOSTILE_ANNOTATIONS, labels=HOSTILE_LABELS, spec=hostile)
    for target in (SERVICES, SLICES):
        assert loud.objects[target] == plain.objects[target]


# --- failover -----------------------------------------------------------------------------------------------


def test_failover_is_one_write_and_the_rest_comes_after() -> None:
    w = standing()
    w.pods[0] = pod_json("web-0", age=2000, ready=False, ready_for=2)
    first, *rest = pending(w)
    assert told([first]) == [("Patch", "endpointslices", "web-leader")]
    assert first.urgent
    assert not any(write.urgent for write in rest)
    body = body_of(first)
    assert (
        body["metadata"]["resourceVersion"] == w.objects[SLICES]["web-leader"]["metadata"]["resourceVersion"]
    )
    assert [e["addresses"] for e in body["endpoints"]] == [["10.1.0.11"]]
    assert body["metadata"]["annotations"] == {contract.EPOCH: "2", contract.TRIGGER_TIME: stamp(T0 - 2)}
    assert set(body) == {"metadata", "endpoints"}, "what does not change is not sent"
    w.apply(first)
    assert told(pending(w)) == [("Patch", "services", "web-leader")]
    w.settle(T0 + 1)
    annotations = w.objects[SERVICES]["web-leader"]["metadata"]["annotations"]
    assert annotations[contract.LEADER_POD_NAME] == "web-1"
    assert annotations[contract.EPOCH] == "2"
    assert annotations[contract.LAST_SWITCH_TIME] == stamp(T0 + 1)


def test_a_lost_leader_without_successor_is_one_write_too() -> None:
    w = standing(OLD)
    w.pods.clear()
    first, *rest = pending(w)
    assert body_of(first)["endpoints"] == []
    assert first.urgent
    assert not any(write.urgent for write in rest)
    w.settle(T0 + 9)
    made = w.objects[SERVICES]["web-leader"]
    assert set(made["metadata"]["annotations"]) == {contract.EPOCH, contract.LAST_SWITCH_TIME}
    (condition,) = made["status"]["conditions"]
    assert (condition["reason"], condition["lastTransitionTime"]) == ("NoPodsFound", stamp(T0 + 9))


def test_a_new_address_is_written_without_a_new_epoch() -> None:
    w = standing()
    w.pods[0] = pod_json("web-0", age=2000, ips=["10.1.0.77"])
    (write,) = pending(w)
    assert body_of(write)["endpoints"][0]["addresses"] == ["10.1.0.77"]
    assert write.urgent
    w.apply(write)
    assert w.objects[SLICES]["web-leader"]["metadata"]["annotations"][contract.EPOCH] == "1"


def test_the_condition_keeps_its_time_while_only_the_reason_changes() -> None:
    w = standing(pod_json(ready=False))
    w.pods.clear()
    w.settle(T0 + 60)
    (condition,) = w.objects[SERVICES]["web-leader"]["status"]["conditions"]
    assert (condition["reason"], condition["lastTransitionTime"]) == (Routing.NO_PODS_FOUND, stamp(T0))


def test_other_conditions_are_sent_back_as_they_were() -> None:
    w = standing()
    made = w.objects[SERVICES]["web-leader"]
    theirs = {
        "type": "LoadBalancerReady",
        "status": "Unknown",
        "reason": "Waiting",
        "message": "für später",
        "lastTransitionTime": stamp(T0 - 7),
        "observedGeneration": 3,
    }
    bare = {"type": "Bare", "status": "True", "reason": "", "message": "", "lastTransitionTime": None}
    made["status"]["conditions"] = [theirs, *made["status"]["conditions"], bare]
    w.pods.clear()
    w.settle(T0 + 1)
    left, other, ours = w.objects[SERVICES]["web-leader"]["status"]["conditions"]
    assert left == theirs
    assert (other["type"], other["status"]) == ("Bare", "True")
    assert ours["type"] == contract.LEADER_READY


# --- repair -------------------------------------------------------------------------------------------------

EDITS: list[tuple[str, dict[str, Any]]] = [
    ("another pod at the same epoch", {"endpoints": [slice_json(pod("web-1"))["endpoints"][0]]}),
    ("no pod", {"endpoints": None, "ports": None}),
    ("emptied", {"endpoints": [], "ports": []}),
    ("two endpoints", {"endpoints": slice_json(pod("web-0"))["endpoints"] * 2}),
    ("an address of nobody", {"endpoints": [{"addresses": ["192.0.2.66"]}]}),
    ("another port", {"ports": [{"name": "", "port": 9999, "protocol": "TCP"}]}),
    (
        "not ready",
        {"endpoints": [slice_json(pod("web-0"))["endpoints"][0] | {"conditions": {"ready": False}}]},
    ),
]


@pytest.mark.parametrize(("what", "edit"), EDITS, ids=[what for what, _ in EDITS])
def test_an_edited_slice_is_repaired_in_one_urgent_write(what: str, edit: dict[str, Any]) -> None:
    w = standing()
    good = dict(w.objects[SLICES]["web-leader"])
    w.put(SLICES, good | edit)
    first = pending(w)[0]
    assert told([first]) == [("Patch", "endpointslices", "web-leader")]
    assert first.urgent
    w.settle(T0 + 5)
    repaired = w.objects[SLICES]["web-leader"]
    assert repaired["ports"] == good["ports"]
    assert len(repaired["endpoints"]) == 1
    assert repaired["endpoints"][0]["addresses"] in (["10.1.0.10"], ["10.1.0.11"])
    assert repaired["endpoints"][0]["conditions"]["ready"] is True


def test_an_edit_at_the_same_epoch_does_not_move_the_leader() -> None:
    w = standing()
    good = w.objects[SLICES]["web-leader"]
    w.put(SLICES, good | {"endpoints": slice_json(pod("web-1"))["endpoints"]})
    w.settle(T0 + 5)
    assert w.objects[SLICES]["web-leader"]["endpoints"] == good["endpoints"]


@pytest.mark.parametrize("label", [contract.SERVICE_NAME, contract.MANAGED_BY])
def test_a_lost_label_is_put_back(label: str) -> None:
    w = standing()
    labels = w.objects[SLICES]["web-leader"]["metadata"]["labels"]
    lost = labels.pop(label)
    (write,) = pending(w)
    assert not write.urgent
    w.apply(write)
    assert w.objects[SLICES]["web-leader"]["metadata"]["labels"][label] == lost


def test_an_edited_leader_service_is_repaired() -> None:
    w = standing()
    spec = w.objects[SERVICES]["web-leader"]["spec"]
    spec |= {"type": "NodePort", "selector": {"app": "web"}, "ports": [{"port": 1, "protocol": "TCP"}]}
    (write,) = pending(w)
    assert body_of(write)["spec"]["selector"] is None
    w.settle(T0)
    repaired = w.objects[SERVICES]["web-leader"]["spec"]
    assert (repaired["type"], "selector" in repaired) == ("ClusterIP", False)
    assert repaired["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 8080}]


def test_the_ports_follow_the_source() -> None:
    w = standing()
    assert w.source
    w.source["spec"]["ports"] = [{"name": "a", "port": 81}, {"name": "b", "port": 82, "targetPort": 83}]
    w.settle(T0)
    assert [p["port"] for p in w.objects[SLICES]["web-leader"]["ports"]] == [81, 83]
    assert [p["name"] for p in w.objects[SLICES]["web-leader"]["ports"]] == ["a", "b"]
    assert [p["port"] for p in w.objects[SERVICES]["web-leader"]["spec"]["ports"]] == [81, 82]


def test_a_terminating_slice_is_kept_right_and_not_made_again() -> None:
    """A finalizer holds it: proxies go on reading it."""
    w = standing()
    w.objects[SLICES]["web-leader"]["metadata"]["deletionTimestamp"] = stamp(T0)
    assert pending(w) == []
    w.pods[0] = pod_json("web-0", ready=False)
    assert told(pending(w))[0] == ("Patch", "endpointslices", "web-leader")


# --- ownership ----------------------------------------------------------------------------------------------


def test_a_stranger_at_the_leader_name_is_never_written_to() -> None:
    w = world()
    w.put(SERVICES, service_json("web-leader", annotations={contract.ENABLED: "false"}))
    assert pending(w) == []
    assert w.source
    w.source["metadata"]["annotations"] = {}
    assert pending(w) == []


@pytest.mark.parametrize(
    "over",
    [
        {"labels": {contract.SOURCE_SERVICE: "web"}},
        {"owner": "uid-of-somebody", "owner_name": "somebody"},
        {"labels": {contract.SLICE_MANAGED_BY: "hand", contract.SOURCE_SERVICE: "web"}},
    ],
)
def test_a_strangers_slice_is_never_patched_or_deleted(over: dict[str, Any]) -> None:
    w = standing()
    w.put(SLICES, slice_json(pod("web-1"), "web-leader-extra", **over))
    assert pending(w) == []
    assert w.source
    w.source["metadata"]["annotations"] = {}
    w.settle(T0)
    assert set(w.objects[SLICES]) == {"web-leader-extra"}


def test_a_slice_of_an_earlier_leader_service_is_taken_over_without_a_gap() -> None:
    w = standing()
    w.objects[SERVICES]["web-leader"]["metadata"]["uid"] = "uid-anew"
    (write,) = pending(w)
    assert body_of(write)["metadata"]["ownerReferences"][0]["uid"] == "uid-anew"
    assert "endpoints" not in body_of(write)


def test_a_leader_service_that_was_deleted_comes_back_with_the_same_leader() -> None:
    w = standing()
    w.pods.append(pod_json("web-9", age=90_000))
    del w.objects[SERVICES]["web-leader"]
    w.settle(T0)
    assert w.objects[SLICES]["web-leader"]["endpoints"][0]["targetRef"]["name"] == "web-0"
    said = w.objects[SERVICES]["web-leader"]["metadata"]["annotations"]
    assert (said[contract.LEADER_POD_NAME], said[contract.EPOCH]) == ("web-0", "1")


def test_objects_of_an_older_install_are_taken_over_without_moving_the_leader() -> None:
    w = world(OLD, NEW)
    said = led_by(pod("web-1"))
    del said[contract.EPOCH]
    w.put(SERVICES, leader_json(annotations=said))
    w.put(SLICES, slice_json(pod("web-1", ips=["10.1.0.11"]), ref=False))
    first = pending(w)[0]
    assert [e["addresses"] for e in body_of(first)["endpoints"]] == [["10.1.0.11"]]
    desired, _ = w.settle(T0)
    assert isinstance(desired, Serve)
    assert desired.leader is not None
    assert desired.leader.pod.name == "web-1"
    annotations = w.objects[SERVICES]["web-leader"]["metadata"]["annotations"]
    assert annotations[contract.EPOCH] == "1"
    assert annotations[contract.LAST_SWITCH_TIME] == said[contract.LAST_SWITCH_TIME]
    assert w.objects[SLICES]["web-leader"]["endpoints"][0]["targetRef"]["name"] == "web-1"


def test_opting_out_removes_slice_and_service_as_they_were_seen() -> None:
    w = standing()
    assert w.source
    w.source["metadata"]["annotations"][contract.ENABLED] = "no"
    for target in ("endpointslices", "services"):
        (write,) = pending(w)
        assert told([write]) == [("Delete", target, "web-leader")]
        meta = w.objects[write.target][write.name]["metadata"]
        seen = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        assert body_of(write)["preconditions"] == seen
        w.apply(write)
    assert w.objects == {SERVICES: {}, SLICES: {}}


def test_after_opting_out_a_slice_that_is_held_leads_nowhere_before_its_service_goes() -> None:
    w = standing()
    assert w.source
    w.source["metadata"]["annotations"][contract.ENABLED] = "no"
    w.objects[SLICES]["web-leader"]["metadata"]["deletionTimestamp"] = stamp(T0)
    (write,) = pending(w)
    assert body_of(write)["endpoints"] == []
    w.apply(write)
    assert told(pending(w)) == [("Delete", "services", "web-leader")]


def test_what_is_being_deleted_is_not_deleted_again() -> None:
    w = standing()
    assert w.source
    w.source["metadata"]["annotations"] = {}
    w.objects[SERVICES]["web-leader"]["metadata"]["deletionTimestamp"] = stamp(T0)
    assert told(pending(w)) == [("Delete", "endpointslices", "web-leader")]


def test_a_source_that_is_gone_is_the_garbage_collectors() -> None:
    w = standing()
    w.source = None
    assert pending(w) == []


def test_a_source_that_makes_no_sense_any_more_loses_its_slice_only() -> None:
    w = standing()
    assert w.source
    w.source["spec"]["selector"] = None
    assert told(pending(w)) == [("Delete", "endpointslices", "web-leader")]


def test_on_a_rename_the_old_one_goes_after_the_new_one_routes() -> None:
    w = standing()
    assert w.source
    w.source["metadata"]["annotations"][contract.LEADER_SERVICE_NAME] = "front"
    assert told(pending(w)) == [("Create", "services", "front")]
    w.apply(pending(w)[0])
    writes = pending(w)
    assert told(writes)[0] == ("Create", "endpointslices", "front")
    while writes:
        gone = [write.target for write in writes if isinstance(write, Delete)]
        assert not gone or "front" in w.objects[SLICES]
        assert gone in ([], [Target.SLICES], [Target.SERVICES]), "the slice first: its name is needed, too"
        w.apply(writes[0])
        writes = pending(w)
    assert (set(w.objects[SERVICES]), set(w.objects[SLICES])) == ({"front"}, {"front"})
    assert w.objects[SLICES]["front"]["metadata"]["annotations"][contract.EPOCH] == "1"


# --- families and headless ----------------------------------------------------------------------------------

BOTH = pod_json(ips=["10.1.0.10", "fd00::10"])


def test_two_families_are_two_slices() -> None:
    w = standing(BOTH, families=["IPv6", "IPv4"], policy="RequireDualStack")
    slices = w.objects[SLICES]
    assert {name: body["addressType"] for name, body in slices.items()} == {
        "web-leader": "IPv6",
        "web-leader-ipv4": "IPv4",
    }
    assert slices["web-leader"]["endpoints"][0]["addresses"] == ["fd00::10"]
    assert slices["web-leader-ipv4"]["endpoints"][0]["addresses"] == ["10.1.0.10"]


def test_a_dual_stack_failover_is_one_urgent_write_for_each_family() -> None:
    other = pod_json("web-1", age=1, ips=["10.1.0.11", "fd00::11"])
    w = standing(BOTH, other, families=["IPv4", "IPv6"], policy="RequireDualStack")
    w.pods.pop(0)
    assert told([write for write in pending(w) if write.urgent]) == [
        ("Patch", "endpointslices", "web-leader"),
        ("Patch", "endpointslices", "web-leader-ipv6"),
    ]


def test_a_family_that_is_dropped_takes_its_slice_along() -> None:
    w = standing(BOTH, families=["IPv4", "IPv6"], policy="PreferDualStack")
    assert w.source
    w.source["spec"] |= {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
    w.settle(T0)
    assert set(w.objects[SLICES]) == {"web-leader"}
    assert w.objects[SERVICES]["web-leader"]["spec"]["ipFamilies"] == ["IPv4"]


def test_a_slice_of_the_wrong_family_is_made_anew() -> None:
    w = standing(BOTH)
    w.objects[SLICES]["web-leader"]["addressType"] = "IPv6"
    assert told(pending(w))[0] == ("Delete", "endpointslices", "web-leader")
    w.settle(T0)
    assert w.objects[SLICES]["web-leader"]["addressType"] == "IPv4"


def test_another_first_family_makes_the_leader_service_anew() -> None:
    w = standing(BOTH)
    assert w.source
    w.source["spec"]["ipFamilies"] = ["IPv6"]
    assert told(pending(w)) == [("Delete", "services", "web-leader")]
    w.settle(T0)
    assert w.objects[SLICES]["web-leader"]["addressType"] == "IPv6"


def test_a_headless_source_without_ports_gets_a_headless_leader_without_ports() -> None:
    w = standing(spec={"clusterIP": "None", "ports": None})
    spec = w.objects[SERVICES]["web-leader"]["spec"]
    assert (spec["clusterIP"], spec["ports"]) == ("None", [])
    written = w.objects[SLICES]["web-leader"]
    assert (written["ports"], len(written["endpoints"])) == ([], 1)


def test_a_headless_source_with_ports_gets_an_ordinary_leader() -> None:
    w = standing(spec={"clusterIP": "None"})
    assert "clusterIP" not in w.objects[SERVICES]["web-leader"]["spec"]


def test_named_ports_keep_their_names() -> None:
    declared = [{"name": "c", "ports": [{"name": "http", "containerPort": 8081}]}]
    ports = [{"name": "a", "port": 1, "targetPort": "http"}, {"name": "b", "port": 2}]
    w = standing(pod_json(containers=declared), ports=ports)
    assert w.objects[SERVICES]["web-leader"]["spec"]["ports"][0]["targetPort"] == "http"
    assert [(p["name"], p["port"]) for p in w.objects[SLICES]["web-leader"]["ports"]] == [
        ("a", 8081),
        ("b", 2),
    ]


def test_a_family_policy_that_the_source_does_not_say_is_left_to_the_server() -> None:
    """Objects of a time before dual stack may have families and no policy."""
    w = standing(policy=None)
    assert pending(w) == []


def test_kinds_of_writes_are_what_they_say() -> None:
    assert Create(SERVICES, "x", b"").urgent is False
    assert Patch(SERVICES, "x", b"").subresource == ""
