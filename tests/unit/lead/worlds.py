"""Any source, any pods, and objects in any state that people, crashes and older versions can leave them in.

Knows what hypothesis draws a World from. Refuses to know what is right about one (the property tests do).
"""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st

from tests.unit.lead.builders import Json, leader_json, led_by, pod, pod_json, service_json, slice_json
from tests.unit.lead.world import World
from zenlead.lead import contract
from zenlead.lead.writes import Target

SERVICES, SLICES = Target.SERVICES, Target.SLICES
NAMES = ("web-0", "web-1", "web-2", "web-3")
IPS4 = ("10.1.0.10", "10.1.0.11", "10.1.0.12", "169.254.1.1", "127.0.0.1", "")
IPS6 = ("fd00::10", "fd00::11", "fe80::1", "::1", "")
HTTP = {"name": "http", "containerPort": 8081}

BAD: tuple[Json, ...] = (
    {"ready": False},
    {"ready": False, "ready_for": 3},
    {"phase": "Pending"},
    {"phase": "Failed", "ready": False},
    {"phase": "Succeeded"},
    {"phase": "Unknown"},
    {"deleted": True},
    {"deleted": True, "ready": False},
    {"labels": {"app": "other"}},
    {"annotations": {contract.CANDIDATE: "false"}},
    {"annotations": {contract.CANDIDATE: "odd"}},
    {"containers": []},
    {"ips": []},
)
FAULTS = ({},) * len(BAD) + BAD  # half of the pods have none
ADDRESSES = [[ip for ip in pair if ip] for pair in itertools.product(IPS4, IPS6)]
PRIORITIES: tuple[Json, ...] = ({}, {}, {}, {contract.PRIORITY: "5"}, {contract.PRIORITY: "-1"})
# The first of each is the default, and the likeliest.
ASKED: dict[str, tuple[str | None, ...]] = {
    contract.STICKY: (None, None, "false", "maybe"),
    contract.MIN_READY_DURATION: (None, "5s", "0s", "nonsense"),
    contract.LEADER_SERVICE_NAME: (None, None, "front", "A_b"),
    contract.ENABLED: ("true", "true", "true", "true", "false"),
    contract.STRATEGY: (None, None, "newest", "ordinal", "least-restarts", "random", "best"),
    contract.FAILOVER_MIN_DELAY: (None, None, "6s", "-1s"),
    contract.ON_NO_READY: (None, None, "keep-last"),
    contract.FAILBACK: (None, None, "immediate", "after:7s"),
    contract.PORTS_MODE: (None, None, None, "subset:a", "subset:nope"),
    contract.LEADER_SERVICE_TYPE: (None, None, "Headless", "NodePort"),
    contract.PAUSED: (None, None, None, None, None, "true"),
    contract.LEADER_PREFIX + "team": (None, None, "blue"),
}


@st.composite
def pods_json(draw: st.DrawFn) -> list[Json]:
    """Up to four pods of different names, half of them fit."""
    pods = []
    for name in NAMES[: draw(st.integers(0, len(NAMES)))]:
        over: Json = {
            "uid": f"uid-{name}-{draw(st.integers(0, 1))}",
            "age": draw(st.integers(0, 3)),
            "ready_for": draw(st.sampled_from((0, 4, 5, 9, -2))),
            "ips": draw(st.sampled_from(ADDRESSES)),
            "containers": [{"name": "c", "ports": [HTTP]}],
            "statuses": [{"restartCount": draw(st.integers(0, 1))}],
            "annotations": draw(st.sampled_from(PRIORITIES)),
        }
        pods.append(pod_json(name, **(over | draw(st.sampled_from(FAULTS)))))
    return pods


@st.composite
def sources(draw: st.DrawFn, *, served: bool = False) -> Json:
    """``served``: opted in, not paused, and nothing to be refused for."""
    families, policy = draw(
        st.sampled_from(
            (
                (["IPv4"], "SingleStack"),
                (["IPv6"], "SingleStack"),
                (["IPv4", "IPv6"], "PreferDualStack"),
                (["IPv6", "IPv4"], "RequireDualStack"),
            )
        )
    )
    ports = draw(
        st.sampled_from(
            (
                [{"port": 80, "protocol": "TCP", "targetPort": 8080}],
                [{"name": "a", "port": 80, "protocol": "TCP", "targetPort": "http"}],
                [{"name": "a", "port": 80}, {"name": "b", "port": 53, "protocol": "UDP"}],
            )
        )
    )
    asked = {name: draw(st.sampled_from(values)) for name, values in ASKED.items()}
    if served:
        asked |= {contract.ENABLED: "true", contract.PAUSED: None}
    spec = draw(st.sampled_from(({}, {}, {}, {"clusterIP": "None"}, {"clusterIP": "None", "ports": []})))
    selectors = ({"app": "web"},) * 5 + (() if served else ({"app": "nobody"}, None))
    return service_json(
        families=families,
        policy=policy,
        ports=ports,
        annotations={name: value for name, value in asked.items() if value is not None},
        selector=draw(st.sampled_from(selectors)),
        spec=spec,
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A source, pods, and whatever objects."""
    world = World(draw(sources()), draw(pods_json()))
    world.zones = draw(st.sampled_from(({}, {"n1": "z1"})))
    epoch = draw(st.integers(0, 3))
    who = pod(draw(st.sampled_from(NAMES)), uid=f"uid-{draw(st.sampled_from(NAMES))}-0")
    if draw(st.booleans()):
        world.put(SERVICES, draw(_leaders(epoch)))
    for name in draw(st.sets(st.sampled_from(("web-leader", "web-leader-ipv6", "front")))):
        target = draw(st.sampled_from((None, who, pod("web-0", uid="uid-web-0-0"))))
        world.put(SLICES, draw(_slices(name, target, epoch)))
    if draw(st.booleans()) and "bystander" not in world.objects[SLICES]:
        world.put(SLICES, slice_json(who, "bystander", labels={contract.SOURCE_SERVICE: "web"}))
    return world


@st.composite
def _leaders(draw: st.DrawFn, epoch: int) -> Json:
    said = led_by(pod(draw(st.sampled_from(NAMES)), uid=f"uid-{draw(st.sampled_from(NAMES))}-0"), epoch)
    over: dict[str, Any] = {"annotations": draw(st.sampled_from((said, {}, {contract.EPOCH: "junk"})))}
    over |= draw(
        st.sampled_from(
            (
                {},
                {},
                {"families": ["IPv4", "IPv6"], "policy": "PreferDualStack"},
                {"families": ["IPv6"]},
                {"labels": None},
                {"owner": "uid-of-an-earlier-web"},
                {"spec": {"type": "NodePort", "selector": {"app": "web"}}},
                {"spec": {"clusterIP": "None", "ports": []}},
            )
        )
    )
    return leader_json(name=draw(st.sampled_from(("web-leader", "web-leader", "front", "old"))), **over)


@st.composite
def _slices(draw: st.DrawFn, name: str, target: Any, epoch: int) -> Json:
    over = draw(
        st.sampled_from(
            (
                {},
                {},
                {"ref": False},
                {"body": {"endpoints": None, "ports": None}},
                {"owner": "uid-of-an-earlier-leader"},
                {"epoch": epoch + 1},
                {"annotations": {contract.EPOCH: "-3"}},
            )
        )
    )
    family = draw(st.sampled_from(("IPv4", "IPv4", "IPv6")))
    ours = {"service": "front"} if name == "front" else {}
    return slice_json(
        target, name, family=family, **(({"epoch": epoch} if "annotations" not in over else {}) | over | ours)
    )
