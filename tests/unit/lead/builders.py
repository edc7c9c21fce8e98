"""Objects as the API server sends them, with only what a test cares about spelled out.

Everything goes through JSON and the wire structs, so that tests see what the product sees.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.lead import contract
from zenlead.lead.decide import decide
from zenlead.lead.desired import Serve, Snapshot
from zenlead.lead.wire import WirePod, WireService, WireSlice, decode

if TYPE_CHECKING:
    from zenlead.lead.views import PodView, ServiceView, SliceView

Json = dict[str, Any]
T0 = 1_750_000_000.0  # the tests' now, Unix seconds
NAMESPACE = "t1"


def stamp(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod_json(name: str = "web-0", **over: Any) -> Json:
    """A ready pod. Keywords: uid labels age ready ready_for phase ips deleted containers inits node and
    annotations; ``conditions`` replaces the list as a whole."""
    ready = over.get("ready", True)
    since = stamp(T0 - over.get("ready_for", 100))
    metadata: Json = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": over.get("uid", f"uid-{name}"),
        "labels": over.get("labels", {"app": "web"}),
        "annotations": over.get("annotations"),
        "creationTimestamp": stamp(T0 - over.get("age", 1000)),
        "resourceVersion": over.get("version", "7"),
    }
    if over.get("deleted"):
        metadata["deletionTimestamp"] = stamp(T0 + 30)
    ips = over.get("ips", ["10.1.0.10"])
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": since},
        {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since},
    ]
    return {
        "metadata": metadata,
        "spec": {
            "nodeName": over.get("node", "n1"),
            "containers": over.get("containers", [{"name": "c", "ports": None}]),
            "initContainers": over.get("inits"),
        },
        "status": {
            "phase": over.get("phase", "Running"),
            "podIP": ips[0] if ips else "",
            "podIPs": [{"ip": ip} for ip in ips],
            "conditions": over.get("conditions", conditions),
            "containerStatuses": over.get("statuses"),
        },
    }


def pod(name: str = "web-0", **over: Any) -> PodView:
    view: PodView = decode(WirePod, msgspec.json.encode(pod_json(name, **over)))
    return view


def service_json(name: str = "web", **over: Any) -> Json:
    """An opted-in source. Keywords: uid age selector ports families policy labels version annotations (beside
    the opt-in) and spec (replaces fields)."""
    spec: Json = {
        "type": "ClusterIP",
        "clusterIP": "10.96.0.7",
        "selector": over.get("selector", {"app": "web"}),
        "ports": over.get("ports", [{"port": 80, "protocol": "TCP", "targetPort": 8080}]),
        "ipFamilies": over.get("families", ["IPv4"]),
        "ipFamilyPolicy": over.get("policy", "SingleStack"),
    } | over.get("spec", {})
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": over.get("uid", f"uid-svc-{name}"),
            "resourceVersion": over.get("version", "5"),
            "creationTimestamp": stamp(T0 - over.get("age", 0)),
            "labels": over.get("labels"),
            "annotations": {contract.ENABLED: "true"} | over.get("annotations", {}),
        },
        "spec": spec,
        "status": {"loadBalancer": {}},
    }


def service(name: str = "web", **over: Any) -> ServiceView:
    return service_view(service_json(name, **over))


def service_view(body: Json) -> ServiceView:
    view: ServiceView = decode(WireService, msgspec.json.encode(body))
    return view


def leader_json(source: str = "web", name: str = "", **over: Any) -> Json:
    """The leader Service as it stands in the cluster. Keywords as for ``service_json``, and owner (a UID)."""
    body = service_json(name or f"{source}-leader", **over)
    body["metadata"]["labels"] = over.get(
        "labels", {contract.MANAGED_BY: contract.MANAGER, contract.SOURCE_SERVICE: source}
    )
    body["metadata"]["annotations"] = over.get("annotations", {})
    body["spec"].pop("selector")
    body["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "name": source,
            "uid": over.get("owner", f"uid-svc-{source}"),
            "controller": True,
        }
    ]
    return body


def leader(source: str = "web", name: str = "", **over: Any) -> ServiceView:
    return service_view(leader_json(source, name, **over))


def led_by(target: PodView, epoch: int = 1) -> dict[str, str]:
    """What the leader Service's annotations say when ``target`` leads."""
    return {
        contract.CURRENT_LEADER: target.name,
        contract.LEADER_POD_NAME: target.name,
        contract.LEADER_POD_UID: target.uid,
        contract.LAST_SWITCH_TIME: stamp(T0 - 500),
        contract.EPOCH: str(epoch),
    }


def slice_json(target: PodView | None, name: str = "web-leader", **over: Any) -> Json:
    """A slice of ours that routes to ``target``. Keywords: source service epoch annotations owner owner_name
    labels family address ref version; ``body`` overwrites top-level fields."""
    leader_service = over.get("service", "web-leader")
    family = over.get("family", "IPv4")
    labels = {
        contract.SERVICE_NAME: leader_service,
        contract.SLICE_MANAGED_BY: contract.MANAGER,
        contract.MANAGED_BY: contract.MANAGER,
        contract.SOURCE_SERVICE: over.get("source", "web"),
    }
    endpoints = []
    if target is not None:
        endpoint: Json = {
            "addresses": [over.get("address") or (target.ips or ("10.1.0.10",))[0]],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": target.node,
        }
        if over.get("ref", True):
            endpoint["targetRef"] = {
                "kind": "Pod",
                "namespace": target.namespace,
                "name": target.name,
                "uid": target.uid,
            }
        endpoints.append(endpoint)
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-slice-{name}",
            "resourceVersion": over.get("version", "9"),
            "labels": over.get("labels", labels),
            "annotations": {contract.EPOCH: str(over["epoch"])}
            if "epoch" in over
            else over.get("annotations"),
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": over.get("owner_name", leader_service),
                    "uid": over.get("owner", "uid-svc-web-leader"),
                    "controller": True,
                }
            ],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    } | over.get("body", {})


def slice_of(target: PodView | None, name: str = "web-leader", **over: Any) -> SliceView:
    over.setdefault("epoch", 1)
    view: SliceView = decode(WireSlice, msgspec.json.encode(slice_json(target, name, **over)))
    return view


def snapshot(*pods: PodView, led: PodView | None = None, **over: Any) -> Snapshot:
    """Around Service ``web``: these pods are selected, and ``led`` (if any) is routed to.

    Keywords replace fields of the Snapshot; ``epoch`` is that of the current leadership.
    """
    source = over.pop("source", None) or service()
    epoch = over.pop("epoch", 1)
    fields: dict[str, Any] = {"pods": pods, "source": source}
    if led is not None:
        ours = leader(annotations=led_by(led, epoch))
        fields |= {"at_name": ours, "services": (ours,), "slices": (slice_of(led, epoch=epoch),)}
        now = (p for p in pods if p.name == led.name)
        fields["routed_pod"] = next(now, None)
    return Snapshot(NAMESPACE, source.name, **(fields | over))


def serve(seen: Snapshot, now: float = T0) -> Serve:
    """The decision, which the test expects to be to serve."""
    desired = decide(seen, now)
    assert isinstance(desired, Serve), desired
    return desired


def leads(seen: Snapshot, now: float = T0) -> str | None:
    """The name of the pod that should lead."""
    chosen = serve(seen, now).leader
    return chosen.pod.name if chosen else None
