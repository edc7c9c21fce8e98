"""The rules of Services: defaults, address families, cluster IPs, ports.

Knows what the API server fills in and refuses. Refuses to know endpoints and proxies. The rule: a primary
cluster IP and family never change while the Service has one.
Source: Kubernetes concepts "Service", "IPv4/IPv6 dual-stack"; API reference, ServiceSpec.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from zenlead.sandbox.service_ips import ServiceAddresses, family_of
from zenlead.sandbox.validation import (
    bad,
    check_dns_label,
    check_labels,
    check_port,
    check_port_name,
    check_qualified_name,
    duplicate,
    not_permitted,
    required,
    unsupported,
)

if TYPE_CHECKING:
    from zenlead.sandbox.objects import Body
    from zenlead.sandbox.refusals import Cause

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
FAMILIES = ("IPv4", "IPv6")
POLICIES = ("SingleStack", "PreferDualStack", "RequireDualStack")


def is_headless(spec: Body) -> bool:
    """``clusterIP: None``."""
    return bool(spec.get("clusterIP") == "None")


class ServiceRules:
    """Defaults and checks of Services, with the addresses they are given."""

    def __init__(self, addresses: ServiceAddresses) -> None:
        self._addresses = addresses

    def __repr__(self) -> str:
        return f"ServiceRules({self._addresses!r})"

    def default(self, body: Body, old: Body | None) -> None:
        """Fill in what the client left out; ``old`` lends its addresses to an update without them."""
        spec = body.setdefault("spec", {})
        spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        for empty in ("ports", "selector", "clusterIPs", "ipFamilies", "externalIPs"):
            if empty in spec and not spec[empty]:
                del spec[empty]
        for port in spec.get("ports", ()):
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port.get("port"))
            if port["targetPort"] in (0, ""):
                port["targetPort"] = port.get("port")
        if spec["type"] == "ExternalName":
            return
        if spec["type"] in ("NodePort", "LoadBalancer"):
            spec.setdefault("externalTrafficPolicy", "Cluster")
        if spec["type"] == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)
        spec.setdefault("internalTrafficPolicy", "Cluster")
        for condition in body.get("status", {}).get("conditions", ()):
            condition.setdefault("reason", "")
            condition.setdefault("message", "")
        if old is not None:
            _keep_addresses(spec, old["spec"])
            _keep_node_ports(spec, old["spec"])
        self._addresses.assign(spec)

    def check(self, body: Body) -> list[Cause]:
        """Every broken rule of a Service after its defaults."""
        spec = body["spec"]
        causes = check_dns_label("metadata.name", body["metadata"]["name"])
        causes += check_labels("spec.selector", spec.get("selector") or {})
        if spec["type"] not in TYPES:
            causes.append(unsupported("spec.type", spec["type"], TYPES))
        if spec["sessionAffinity"] not in ("ClientIP", "None"):
            causes.append(unsupported("spec.sessionAffinity", spec["sessionAffinity"], ("ClientIP", "None")))
        if spec["type"] == "ExternalName":
            if not spec.get("externalName"):
                causes.append(required("spec.externalName"))
            return causes + _check_ports(spec)
        if not spec.get("ports") and not is_headless(spec):
            causes.append(required("spec.ports"))
        return causes + _check_ports(spec) + self._check_addresses(spec)

    def check_change(self, new: Body, old: Body) -> list[Cause]:
        """What may not change: the primary cluster IP and family, unless the type becomes ExternalName."""
        now, was = new["spec"], old["spec"]
        if "ExternalName" in (now["type"], was["type"]):
            return []
        causes = []
        if now.get("clusterIP") != was.get("clusterIP"):
            causes.append(bad("spec.clusterIPs[0]", [now.get("clusterIP")], "may not change once set"))
        if now["ipFamilies"][:1] != was["ipFamilies"][:1]:
            causes.append(bad("spec.ipFamilies[0]", now["ipFamilies"][0], "may not change once set"))
        return causes

    def _check_addresses(self, spec: Body) -> list[Cause]:
        causes: list[Cause] = []
        policy, families = spec.get("ipFamilyPolicy"), spec.get("ipFamilies", [])
        if policy not in POLICIES:
            causes.append(unsupported("spec.ipFamilyPolicy", policy, POLICIES))
        causes += [
            unsupported(f"spec.ipFamilies[{at}]", family, FAMILIES)
            for at, family in enumerate(families)
            if family not in FAMILIES
        ]
        if len(set(families)) != len(families):
            causes.append(duplicate("spec.ipFamilies[1]", families[1]))
        selectorless_headless = is_headless(spec) and not spec.get("selector")
        if policy == "RequireDualStack" and not self._addresses.dual and not selectorless_headless:
            causes.append(bad("spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack"))
        if policy == "SingleStack" and len(families) > 1:
            why = "must be RequireDualStack or PreferDualStack when there are two families"
            causes.append(bad("spec.ipFamilyPolicy", policy, why))
        causes += [
            bad(f"spec.ipFamilies[{at}]", family, "not configured on this cluster")
            for at, family in enumerate(families)
            if family in FAMILIES and not self._addresses.has(family) and not selectorless_headless
        ]
        return causes + _check_cluster_ips(spec)


def _keep_addresses(spec: Body, was: Body) -> None:
    """An update that says nothing about addresses keeps them; SingleStack gives the second one back."""
    kept_or_unsaid = ("", None, was.get("clusterIP"))
    if spec.get("clusterIPs") == was.get("clusterIPs") and spec.get("clusterIP") not in kept_or_unsaid:
        # Only the older field was changed: the newer follows it, and the change is refused as one.
        spec["clusterIPs"] = [spec["clusterIP"], *was.get("clusterIPs", [])[1:]]
    if not spec.get("clusterIP") and was.get("clusterIP"):
        spec["clusterIP"] = was["clusterIP"]
        spec.setdefault("clusterIPs", was.get("clusterIPs", []))
    for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if name in was and name not in spec:
            spec[name] = was[name]
    if spec.get("ipFamilyPolicy") == "SingleStack" and was.get("ipFamilyPolicy") != "SingleStack":
        for name in ("ipFamilies", "clusterIPs"):
            if spec.get(name) == was.get(name):
                spec[name] = spec[name][:1]


def _keep_node_ports(spec: Body, was: Body) -> None:
    """Node ports stay with their port, and go with the types that have them."""
    node_ports = {port.get("name", ""): port.get("nodePort") for port in was.get("ports", ())}
    if spec["type"] in ("NodePort", "LoadBalancer"):
        for port in spec.get("ports", ()):
            kept = node_ports.get(port.get("name", ""))
            if not port.get("nodePort") and kept:
                port["nodePort"] = kept
    elif was["type"] in ("NodePort", "LoadBalancer"):
        spec.pop("externalTrafficPolicy", None)
        for port in spec.get("ports", ()):
            if port.get("nodePort") and port["nodePort"] == node_ports.get(port.get("name", "")):
                del port["nodePort"]


def _check_cluster_ips(spec: Body) -> list[Cause]:
    addresses = spec.get("clusterIPs", [])
    if addresses == ["None"]:
        return []
    causes = []
    for at, address in enumerate(addresses):
        field = f"spec.clusterIPs[{at}]"
        try:
            ipaddress.ip_address(address)
        except ValueError:
            causes.append(bad(field, address, "must be a valid IP address"))
            continue
        families = spec.get("ipFamilies", [])
        if at < len(families) and family_of(address) != families[at]:
            causes.append(bad(field, address, f"expected an {families[at]} value"))
    if addresses and spec.get("clusterIP") != addresses[0]:
        causes.append(bad("spec.clusterIPs[0]", addresses[0], "must match clusterIP"))
    return causes


def _check_ports(spec: Body) -> list[Cause]:
    causes: list[Cause] = []
    ports: list[dict[str, Any]] = spec.get("ports") or []
    names: set[str] = set()
    numbers: set[tuple[Any, Any]] = set()
    for at, port in enumerate(ports):
        field = f"spec.ports[{at}]"
        name = port.get("name", "")
        if name:
            causes += check_dns_label(f"{field}.name", name)
            if name in names:
                causes.append(duplicate(f"{field}.name", name))
            names.add(name)
        elif len(ports) > 1:
            causes.append(required(f"{field}.name"))
        causes += check_port(f"{field}.port", port.get("port"))
        causes += _check_target(f"{field}.targetPort", port.get("targetPort"))
        if port["protocol"] not in PROTOCOLS:
            causes.append(unsupported(f"{field}.protocol", port["protocol"], PROTOCOLS))
        number = (port["protocol"], port.get("port"))
        if number in numbers:
            causes.append(duplicate(field, {"protocol": number[0], "port": number[1]}))
        numbers.add(number)
        if port.get("nodePort") and spec["type"] not in ("NodePort", "LoadBalancer"):
            causes.append(not_permitted(f"{field}.nodePort", f"may not be used when type is {spec['type']}"))
        if port.get("appProtocol"):
            causes += check_qualified_name(f"{field}.appProtocol", port["appProtocol"])
    return causes


def _check_target(field: str, target: Any) -> list[Cause]:
    return check_port_name(field, target) if isinstance(target, str) else check_port(field, target)
