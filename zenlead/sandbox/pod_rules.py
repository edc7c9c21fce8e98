"""The rules of Pods: defaults, container checks, what may change, and the two spellings of an address.

Knows what the API server fills in and refuses. Refuses to know scheduling and running (see kubelet.py). The
rule: podIP is always the first of podIPs, whichever of them the client sent.
Source: Kubernetes API reference, Pod v1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zenlead.sandbox.service_rules import PROTOCOLS
from zenlead.sandbox.validation import (
    check_dns_label,
    check_ip,
    check_port,
    check_port_name,
    check_subdomain,
    duplicate,
    not_permitted,
    required,
    unsupported,
)

if TYPE_CHECKING:
    from zenlead.sandbox.objects import Body
    from zenlead.sandbox.refusals import Cause

GRACE_S = 30  # terminationGracePeriodSeconds when the pod says nothing
EVICT_AFTER_S = 300  # how long a pod tolerates a node that is not ready

_SPEC_DEFAULTS: Body = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "terminationGracePeriodSeconds": GRACE_S,
    "schedulerName": "default-scheduler",
    "enableServiceLinks": True,
    "preemptionPolicy": "PreemptLowerPriority",
    "priority": 0,
}
_CONTAINER_DEFAULTS: Body = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
# Everything else of a pod's spec is fixed when it is created.
_CHANGEABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "nodeName")


def default(body: Body, old: Body | None) -> None:
    """Fill in what the client left out of spec and status."""
    spec = body.setdefault("spec", {})
    for name, value in _SPEC_DEFAULTS.items():
        spec.setdefault(name, value)
    if old is None:
        spec["tolerations"] = _tolerations(spec.get("tolerations") or [])
    spec.setdefault("securityContext", {})
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        for name, value in _CONTAINER_DEFAULTS.items():
            container.setdefault(name, value)
        container.setdefault("imagePullPolicy", _pull_policy(container.get("image", "")))
        container.setdefault("resources", {})
        for port in container.get("ports") or ():
            port.setdefault("protocol", "TCP")
    status = body.setdefault("status", {})
    status.setdefault("phase", "Pending")
    status.setdefault("qosClass", "BestEffort")
    _agree(status, "podIP", "podIPs")
    _agree(status, "hostIP", "hostIPs")
    for condition in status.get("conditions") or ():
        condition.setdefault("lastProbeTime", None)
        condition.setdefault("lastTransitionTime", None)
    for name in ("conditions", "containerStatuses", "initContainerStatuses", "message", "reason"):
        if name in status and not status[name]:
            del status[name]


def _pull_policy(image: str) -> str:
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") and "@" not in image else "IfNotPresent"


def _tolerations(given: list[Body]) -> list[Body]:
    """What the pod tolerates, and for how long a node in trouble."""
    named = {one.get("key") for one in given}
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": EVICT_AFTER_S}
        for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
        if key not in named
    ]
    return given + added


def _agree(status: Body, one: str, many: str) -> None:
    """Keep the old field and the list of its successor the same; empty ones are left out."""
    first = status.get(one) or ""
    listed = [entry for entry in status.get(many) or () if entry.get("ip")]
    if first and (not listed or listed[0]["ip"] != first):
        listed = [{"ip": first}]
    if listed:
        status[one], status[many] = listed[0]["ip"], listed
    else:
        status.pop(one, None)
        status.pop(many, None)


def check(body: Body) -> list[Cause]:
    """Every broken rule of a pod after its defaults."""
    spec = body["spec"]
    causes = check_subdomain("metadata.name", body["metadata"]["name"])
    if not spec.get("containers"):
        causes.append(required("spec.containers"))
    names: set[str] = set()
    for group in ("initContainers", "containers"):
        for at, container in enumerate(spec.get(group) or ()):
            causes += _check_container(f"spec.{group}[{at}]", container, names)
    if spec["restartPolicy"] not in ("Always", "Never", "OnFailure"):
        causes.append(
            unsupported("spec.restartPolicy", spec["restartPolicy"], ("Always", "Never", "OnFailure"))
        )
    for at, entry in enumerate(body["status"].get("podIPs", ())):
        causes += check_ip(f"status.podIPs[{at}]", entry["ip"])
    if spec.get("nodeName"):
        causes += check_subdomain("spec.nodeName", spec["nodeName"])
    return causes


def _check_container(field: str, container: dict[str, Any], names: set[str]) -> list[Cause]:
    causes: list[Cause] = []
    name = container.get("name", "")
    if not name:
        causes.append(required(f"{field}.name"))
    else:
        causes += check_dns_label(f"{field}.name", name)
    if name in names:
        causes.append(duplicate(f"{field}.name", name))
    names.add(name)
    if not container.get("image"):
        causes.append(required(f"{field}.image"))
    port_names: set[str] = set()
    for at, port in enumerate(container.get("ports") or ()):
        place = f"{field}.ports[{at}]"
        if port.get("name"):
            causes += check_port_name(f"{place}.name", port["name"])
            if port["name"] in port_names:
                causes.append(duplicate(f"{place}.name", port["name"]))
            port_names.add(port["name"])
        causes += check_port(f"{place}.containerPort", port.get("containerPort"))
        if port["protocol"] not in PROTOCOLS:
            causes.append(unsupported(f"{place}.protocol", port["protocol"], PROTOCOLS))
    return causes


def check_change(new: Body, old: Body) -> list[Cause]:
    """A pod's spec is fixed, but for images and a few fields; a node is given once, by a binding."""
    if _fixed(new["spec"]) == _fixed(old["spec"]) and new["spec"].get("nodeName") == old["spec"].get(
        "nodeName"
    ):
        return []
    return [not_permitted("spec", "pod updates may only change images, tolerations and deadlines")]


def _fixed(spec: Body) -> Body:
    fixed = {name: value for name, value in spec.items() if name not in _CHANGEABLE}
    for group in ("containers", "initContainers"):
        if spec.get(group):
            fixed[group] = [
                {name: value for name, value in container.items() if name != "image"}
                for container in spec[group]
            ]
    return fixed
