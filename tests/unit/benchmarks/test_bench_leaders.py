"""The bare client of a first creation writes the same objects as zenlead, but for who manages them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.leaders import MANAGER, SOME_TIME, leader_service, leader_slice
from benchmarks.scene import pod_body, pod_status, service_body
from zenlead.lead.decide import decide
from zenlead.lead.desired import Snapshot
from zenlead.lead.wire import WirePod, WireService, decode
from zenlead.lead.writes import Create, diff

if TYPE_CHECKING:
    from zenlead.lead.views import ServiceView

NAMESPACE = "bench"
NOW = 1_767_232_800.0


def as_read(body: dict[str, Any], uid: str) -> bytes:
    """The object with what the API server adds to it."""
    added = {
        "namespace": NAMESPACE,
        "uid": uid,
        "resourceVersion": "7",
        "creationTimestamp": "2026-01-01T02:00:00Z",
    }
    return msgspec.json.encode(body | {"metadata": body["metadata"] | added})


def service(body: dict[str, Any], uid: str) -> ServiceView:
    served = {"clusterIP": "10.96.0.7", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}
    ports = [{"protocol": "TCP", **port} for port in body["spec"]["ports"]]
    spec = {"type": "ClusterIP", **served, **body["spec"], "ports": ports}
    view: ServiceView = decode(WireService, as_read(body | {"spec": spec}, uid))
    return view


def made_by_zenlead(seen: Snapshot) -> dict[str, Any]:
    """The one object that it makes next."""
    (body,) = (w.body for w in diff(seen, decide(seen, NOW), conditions=True) if isinstance(w, Create))
    found: dict[str, Any] = msgspec.json.decode(body)
    return found


def anonymous(body: dict[str, Any], *uids: str) -> bytes:
    """Sorted JSON without who manages it, when it was written, and which numbers its objects have."""
    text = msgspec.json.encode(body, order="sorted").decode()
    for found in ("zen-lead", MANAGER):
        text = text.replace(f'managed-by":"{found}"', 'managed-by":"somebody"')
    for found in uids:
        text = text.replace(found, "uid")
    return text.replace(SOME_TIME, "then").replace("2026-01-01T02:00:00Z", "then").encode()


def test_a_bare_client_writes_what_zenlead_writes() -> None:
    pod = pod_body("web", "web-0") | {"status": pod_status("10.1.0.1", ready=True)}
    source = service(service_body("web", opted_in=True), "uid-source")
    seen = Snapshot(NAMESPACE, "web", source=source, pods=(decode(WirePod, as_read(pod, "uid-pod")),))
    ours = leader_service(NAMESPACE, "web", "web-0", "uid-source")
    theirs = made_by_zenlead(seen)
    uid = ours["metadata"]["annotations"]["zen-lead.io/leader-pod-uid"]
    assert anonymous(ours, uid) == anonymous(theirs, "uid-pod")

    made = service(theirs, "uid-leader")
    seen = msgspec.structs.replace(seen, at_name=made, services=(made,))
    assert anonymous(leader_slice(NAMESPACE, "web", "web-0", "10.1.0.1", "uid-leader"), uid) == anonymous(
        made_by_zenlead(seen), "uid-pod"
    )
