"""Cluster IPs, families and node ports: who has which.

Knows the ranges and what is taken. Refuses to know the rest of a Service. The rule: what is taken follows the
store, so a dry run takes nothing and a deletion gives everything back.
Source: Kubernetes concepts, "Service ClusterIP allocation" and "IPv4/IPv6 dual-stack".
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zenlead.sandbox.objects import Body, Objects, Occurrence

NODE_PORTS = range(30000, 32768)  # the default range of a real server
_FIRST_HOST = 10  # addresses below are kept for well-known Services (DNS is .10 by habit)


def family_of(address: str) -> str:
    """``IPv4`` or ``IPv6``."""
    return "IPv6" if ":" in address else "IPv4"


class ServiceAddresses:
    """Gives addresses out of one range per family; the first range is the primary family."""

    def __init__(self, objects: Objects, ranges: Sequence[str]) -> None:
        self._networks = {
            f"IPv{network.version}": network for network in (ipaddress.ip_network(text) for text in ranges)
        }
        self._next = dict.fromkeys(self._networks, _FIRST_HOST)
        self._taken: set[str] = set()
        self._node_ports: set[int] = set()
        objects.subscribe(self._follow)

    def __repr__(self) -> str:
        return f"ServiceAddresses({list(self._networks)}, taken={len(self._taken)})"

    @property
    def dual(self) -> bool:
        """Whether both families are configured."""
        return len(self._networks) > 1

    def has(self, family: str) -> bool:
        """Whether that family is configured."""
        return family in self._networks

    def assign(self, spec: Body) -> None:
        """Fill in families, policy, cluster IPs and node ports of a Service that is no ExternalName."""
        self._assign_families(spec)
        if spec.get("clusterIP") == "None":
            spec["clusterIPs"] = ["None"]
        else:
            self._assign_ips(spec)
        wants_ports = spec["type"] == "NodePort" or (
            spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts", True)
        )
        if wants_ports:
            given = {port.get("nodePort") for port in spec.get("ports", ())}
            free = (port for port in NODE_PORTS if port not in self._node_ports and port not in given)
            for port in spec.get("ports", ()):
                if not port.get("nodePort"):
                    port["nodePort"] = next(free)

    def _assign_families(self, spec: Body) -> None:
        families: list[str] = list(spec.get("ipFamilies", []))
        if not families:
            given = [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip and ip != "None"]
            families = [family_of(ip) for ip in given] or list(self._networks)[:1]
        headless = spec.get("clusterIP") == "None"
        selectorless = headless and not spec.get("selector")
        if "ipFamilyPolicy" not in spec:
            # A headless Service without a selector is not bound to what the cluster is configured for.
            spec["ipFamilyPolicy"] = "RequireDualStack" if selectorless else "SingleStack"
        wants_two = spec["ipFamilyPolicy"] in ("PreferDualStack", "RequireDualStack")
        if wants_two and len(families) == 1 and (self.dual or selectorless):
            families.append("IPv6" if families[0] == "IPv4" else "IPv4")
        if spec["ipFamilyPolicy"] == "SingleStack" and "ipFamilies" not in spec:
            families = families[:1]
        spec["ipFamilies"] = families

    def _assign_ips(self, spec: Body) -> None:
        given: list[str] = list(spec.get("clusterIPs") or filter(None, [spec.get("clusterIP")]))
        given = given[: len(spec["ipFamilies"])]
        given += [self._free(family) for family in spec["ipFamilies"][len(given) :] if self.has(family)]
        if given:
            spec["clusterIPs"] = given
            if not spec.get("clusterIP"):
                spec["clusterIP"] = given[0]

    def _free(self, family: str) -> str:
        network = self._networks[family]
        size = network.num_addresses
        for step in range(size):
            offset = (self._next[family] + step) % size
            address = str(network[offset])
            if offset >= _FIRST_HOST and address not in self._taken:
                self._next[family] = offset + 1
                return address
        return ""

    def _follow(self, occurrence: Occurrence) -> None:
        if occurrence.key[0] != "services":
            return
        if occurrence.before is not None:
            spec = occurrence.before.body.get("spec", {})
            self._taken.difference_update(spec.get("clusterIPs", ()))
            self._node_ports.difference_update(port.get("nodePort", 0) for port in spec.get("ports", ()))
        if occurrence.after is not None:
            spec = occurrence.after.body.get("spec", {})
            self._taken.update(ip for ip in spec.get("clusterIPs", ()) if ip != "None")
            self._node_ports.update(
                port["nodePort"] for port in spec.get("ports", ()) if port.get("nodePort")
            )
