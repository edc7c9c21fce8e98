"""The rules of EndpointSlices: what the API server lets proxies read.

Knows addresses, ports and their limits. Refuses to know Services and pods. The rule: an address that could
reach the node itself is never accepted.
Source: Kubernetes API reference, EndpointSlice v1.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from zenlead.sandbox.service_rules import PROTOCOLS
from zenlead.sandbox.validation import (
    bad,
    check_dns_label,
    check_immutable,
    check_qualified_name,
    check_subdomain,
    duplicate,
    required,
    too_many,
    unsupported,
)

if TYPE_CHECKING:
    from zenlead.sandbox.objects import Body
    from zenlead.sandbox.refusals import Cause

ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
MAX_ADDRESSES = 100  # per endpoint
MAX_PORTS = 20_000  # per slice
MAX_ENDPOINTS = 1000  # per slice


_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def default(body: Body, old: Body | None) -> None:
    """Ports have a name and a protocol; empty lists are null, as they come back from storage."""
    del old
    body["endpoints"] = body.get("endpoints") or None
    body["ports"] = body.get("ports") or None
    for port in body["ports"] or ():
        if port.get("name") is None:
            port["name"] = ""
        if port.get("protocol") is None:
            port["protocol"] = "TCP"
    for endpoint in body["endpoints"] or ():
        endpoint.setdefault("conditions", {})


def check(body: Body) -> list[Cause]:
    """Every broken rule of a slice after its defaults."""
    causes = check_subdomain("metadata.name", body["metadata"]["name"])
    family = body.get("addressType")
    if not family:
        causes.append(required("addressType"))
    elif family not in ADDRESS_TYPES:
        causes.append(unsupported("addressType", family, ADDRESS_TYPES))
    endpoints = body["endpoints"] or []
    if len(endpoints) > MAX_ENDPOINTS:
        causes.append(too_many("endpoints", len(endpoints), MAX_ENDPOINTS))
    for at, endpoint in enumerate(endpoints):
        causes += _check_endpoint(f"endpoints[{at}]", endpoint, str(family))
    return causes + _check_ports(body["ports"] or [])


def check_change(new: Body, old: Body) -> list[Cause]:
    """A slice keeps its address family."""
    return check_immutable("addressType", new.get("addressType"), old.get("addressType"))


def _check_endpoint(field: str, endpoint: dict[str, Any], family: str) -> list[Cause]:
    causes: list[Cause] = []
    addresses = endpoint.get("addresses") or []
    if not addresses:
        causes.append(required(f"{field}.addresses", "must contain at least 1 address"))
    if len(addresses) > MAX_ADDRESSES:
        causes.append(too_many(f"{field}.addresses", len(addresses), MAX_ADDRESSES))
    for at, address in enumerate(addresses):
        causes += _check_address(f"{field}.addresses[{at}]", address, family)
    if endpoint.get("hostname"):
        causes += check_dns_label(f"{field}.hostname", endpoint["hostname"])
    if endpoint.get("nodeName"):
        causes += check_subdomain(f"{field}.nodeName", endpoint["nodeName"])
    return causes


def _check_address(field: str, address: str, family: str) -> list[Cause]:
    if family == "FQDN":
        return check_subdomain(field, address)
    if family not in ADDRESS_TYPES:
        return []
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return [bad(field, address, "must be a valid IP address")]
    if family != f"IPv{parsed.version}":
        return [bad(field, address, f"must be an {family} address")]
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        return [bad(field, address, "must not be an IPv4-mapped IPv6 address")]
    if str(parsed) != address:
        return [bad(field, address, f'must be in canonical form ("{parsed}")')]
    return _check_range(field, address, parsed)


def _check_range(field: str, address: str, parsed: _Ip) -> list[Cause]:
    """Refuse what would reach the node itself or its link."""
    if parsed.is_unspecified:
        return [bad(field, address, "may not be unspecified (0.0.0.0 or ::)")]
    if parsed.is_loopback:
        return [bad(field, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)")]
    if parsed.is_link_local:
        return [bad(field, address, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")]
    if parsed.is_multicast and _is_link_local_multicast(parsed):
        return [bad(field, address, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/16)")]
    return []


def _is_link_local_multicast(address: _Ip) -> bool:
    return str(address).startswith("224.0.0.") or address.exploded.startswith("ff02:")


def _check_ports(ports: list[dict[str, Any]]) -> list[Cause]:
    # The real server does not look at the numbers.
    causes: list[Cause] = []
    if len(ports) > MAX_PORTS:
        causes.append(too_many("ports", len(ports), MAX_PORTS))
    names: set[str] = set()
    for at, port in enumerate(ports):
        field, name = f"ports[{at}]", port["name"]
        if name in names:
            causes.append(duplicate(f"{field}.name", name))
        names.add(name)
        if name:
            causes += check_dns_label(f"{field}.name", name)
        if port["protocol"] not in PROTOCOLS:
            causes.append(unsupported(f"{field}.protocol", port["protocol"], PROTOCOLS))
        if port.get("appProtocol"):
            causes += check_qualified_name(f"{field}.appProtocol", port["appProtocol"])
    return causes
