"""Which address families there are to serve, and which addresses of a pod an EndpointSlice may carry.

Knows what the API server refuses in a slice and the form that it asks for. Refuses to know pods beyond their
addresses. Rule: an address is written only if every API server takes it, so that no slice is refused for it.
Source: EndpointSlice validation (k8s.io/kubernetes pkg/apis/core/validation, ValidateEndpointIP).
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from zenlead.lead.views import PodView, ServiceView


class Usable(msgspec.Struct, frozen=True, gc=False):
    """An address that a slice may carry: ``IPv4`` or ``IPv6``, and its canonical form."""

    family: str
    canonical: str


class Refused(msgspec.Struct, frozen=True, gc=False):
    """An address that no slice may carry; ``why`` completes "the address is ..."."""

    family: str
    why: str


def families_served(leader_service: ServiceView | None, source: ServiceView) -> tuple[str, ...]:
    """What the leader Service really has; until it exists, what the source has."""
    if leader_service is not None and leader_service.ip_families:
        return leader_service.ip_families
    return source.ip_families or ("IPv4",)


def families_needed(families: tuple[str, ...], source: ServiceView) -> tuple[str, ...]:
    """Those without which a pod cannot lead. A second one that is only preferred is no reason to route
    nowhere: the pods of a cluster get their second address after its Services do."""
    return families[:1] if source.ip_family_policy == "PreferDualStack" else families


def address(pod: PodView, family: str) -> str | None:
    """The pod's first address of ``family`` (IPv4 or IPv6) that a slice may carry, in canonical form."""
    judged = (judge(ip) for ip in pod.ips)
    return next((it.canonical for it in judged if isinstance(it, Usable) and it.family == family), None)


def refused(pod: PodView, family: str) -> tuple[str, str] | None:
    """The address for want of which the pod has none of ``family``, and why it does not count; or None."""
    if address(pod, family) is not None:
        return None
    judged = ((ip, judge(ip)) for ip in pod.ips)
    return next(((ip, it.why) for ip, it in judged if isinstance(it, Refused) and it.family == family), None)


@lru_cache(maxsize=4096)  # pods keep their address for life, and it is asked for in every pass
def judge(ip: str) -> Usable | Refused:
    """Whether a slice may carry ``ip``. All multicast is refused, though the API server minds only a part."""
    looks_like = "IPv6" if ":" in ip else "IPv4"
    try:
        parsed = ipaddress.ip_address(ip)
    except ValueError:
        return Refused(looks_like, "no valid IP address")
    why = _why_refused(parsed)
    return Refused(looks_like, why) if why else Usable(looks_like, parsed.compressed)


def _why_refused(parsed: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id is not None:
            return "bound to a zone"
        if parsed.ipv4_mapped is not None:
            return "an IPv4 address in the form of IPv6"
    if parsed.is_unspecified:
        return "unspecified"
    if parsed.is_loopback:
        return "a loopback address"
    if parsed.is_link_local:
        return "link-local"
    if parsed.is_multicast:
        return "multicast"
    return ""
