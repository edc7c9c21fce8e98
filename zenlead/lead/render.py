"""How the objects that zenlead writes look.

Knows every field of the leader Service and its EndpointSlices. Refuses to know what exists already.
Rule: an allow-list. Nothing of the source gets into a leader Service but what is named here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from zenlead.lead import contract
from zenlead.lead.routed import epoch_of

if TYPE_CHECKING:
    from zenlead.lead.desired import Serve
    from zenlead.lead.views import EndpointView, ServicePort, ServiceView, SlicePort

Json: TypeAlias = dict[str, Any]


def service_body(serve: Serve, namespace: str) -> Json:
    """The leader Service as it is created."""
    source = serve.source
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": serve.policy.leader_name,
            "namespace": namespace,
            "labels": service_labels(serve),
            "annotations": {k: v for k, v in service_annotations(serve, {}).items() if v is not None},
            "ownerReferences": [_owner(source)],
        },
        "spec": {"type": service_type(serve), **({"clusterIP": "None"} if headless(serve) else {})}
        | following(source),
    }


def service_labels(serve: Serve) -> dict[str, str]:
    return {contract.MANAGED_BY: contract.MANAGER, contract.SOURCE_SERVICE: serve.source.name}


def service_annotations(serve: Serve, observed: dict[str, str]) -> dict[str, str | None]:
    """Our annotations; None for one that should not be there. The switch time moves with the leader only."""
    pod = serve.leader.pod if serve.leader else None
    wanted: dict[str, str | None] = {
        contract.CURRENT_LEADER: pod.name if pod else None,
        contract.LEADER_POD_NAME: pod.name if pod else None,
        contract.LEADER_POD_UID: pod.uid if pod else None,
        contract.EPOCH: str(serve.epoch),
    }
    extra = dict(serve.policy.extra)
    listed = observed.get(contract.EXTRA_ANNOTATIONS, "").split(",")
    gone = (key for key in listed if contract.PLAIN_KEY.fullmatch(key) and key not in extra)
    wanted |= dict.fromkeys(gone, None) | extra
    wanted[contract.EXTRA_ANNOTATIONS] = ",".join(extra) or None
    same = observed.get(contract.LEADER_POD_UID) == wanted[contract.LEADER_POD_UID]
    same = same and epoch_of(observed) in (0, serve.epoch)
    if not same or (pod is not None and contract.LAST_SWITCH_TIME not in observed):
        wanted[contract.LAST_SWITCH_TIME] = rfc3339(serve.decided_at)
    return wanted


def headless(serve: Serve) -> bool:
    """Asked for, or the only way: a Service with a cluster IP must have ports."""
    source = serve.source
    return serve.policy.service_type == "Headless" or (source.headless and not source.ports)


def service_type(serve: Serve) -> str:
    """spec.type; headless is a ClusterIP Service without a cluster IP."""
    return "ClusterIP" if headless(serve) else serve.policy.service_type


def following(source: ServiceView) -> Json:
    """The spec fields that follow the source."""
    spec: Json = {"ports": [_service_port(port) for port in source.ports]}
    if source.ip_families:
        spec["ipFamilies"] = list(source.ip_families)
    if source.ip_family_policy:
        spec["ipFamilyPolicy"] = source.ip_family_policy
    return spec


def _service_port(port: ServicePort) -> Json:
    optional = {
        "name": port.name or None,
        "targetPort": port.target_port,
        "appProtocol": port.app_protocol,
    }
    return {
        "port": port.port,
        "protocol": port.protocol,
        **{key: value for key, value in optional.items() if value is not None},
    }


def slice_names(serve: Serve) -> list[str]:
    """One slice per family: the leader Service's own name, then that name with the family."""
    name = serve.policy.leader_name
    return [name if index == 0 else f"{name}-{family.lower()}" for index, family in enumerate(serve.families)]


def slice_body(serve: Serve, index: int, namespace: str, leader_service_uid: str) -> Json:
    """The EndpointSlice of the family at ``index``, as it is created."""
    name = serve.policy.leader_name
    owner = {"apiVersion": "v1", "kind": "Service", "name": name, "uid": leader_service_uid}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": slice_names(serve)[index],
            "namespace": namespace,
            "labels": {
                contract.SERVICE_NAME: name,
                contract.SLICE_MANAGED_BY: contract.MANAGER,
                **service_labels(serve),
            },
            "annotations": _slice_annotations(serve),
            "ownerReferences": [owner | {"controller": True}],
        },
        "addressType": serve.families[index],
        "endpoints": [_endpoint(endpoint) for endpoint in serve.endpoints(index)],
        "ports": [_slice_port(port) for port in serve.ports],
    }


def _slice_annotations(serve: Serve) -> dict[str, str]:
    wanted = {contract.EPOCH: str(serve.epoch)}
    if serve.trigger_at is not None:
        wanted[contract.TRIGGER_TIME] = rfc3339(serve.trigger_at)
    return wanted


def _endpoint(endpoint: EndpointView) -> Json:
    body: Json = {
        "addresses": list(endpoint.addresses),
        "conditions": {
            "ready": endpoint.ready,
            "serving": endpoint.serving,
            "terminating": endpoint.terminating,
        },
        "targetRef": {
            "kind": endpoint.target_kind,
            "namespace": endpoint.target_namespace,
            "name": endpoint.target_name,
            "uid": endpoint.target_uid,
        },
    }
    if endpoint.node:
        body["nodeName"] = endpoint.node
    if endpoint.zone:
        body["zone"] = endpoint.zone
    return body


def _slice_port(port: SlicePort) -> Json:
    body: Json = {"name": port.name, "port": port.port, "protocol": port.protocol}
    if port.app_protocol is not None:
        body["appProtocol"] = port.app_protocol
    return body


def _owner(owner: ServiceView) -> Json:
    return {"apiVersion": "v1", "kind": "Service", "name": owner.name, "uid": owner.uid, "controller": True}


def rfc3339(unix_s: float) -> str:
    """UTC, whole seconds, as the API server writes metav1.Time."""
    return datetime.fromtimestamp(int(unix_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
