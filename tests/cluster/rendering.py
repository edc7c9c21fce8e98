"""Sources and pods of every kind that an API server accepts, drawn by a seeded dice.

Knows what users may write: all annotations, types, families and ports. Refuses to know what is made of it.
The same number gives the same scene, so that a failure can be drawn again.
"""

from __future__ import annotations

import random
import string
from typing import TYPE_CHECKING, Any

from zenlead.lead import contract

if TYPE_CHECKING:
    from collections.abc import Sequence

Json = dict[str, Any]

PROTOCOLS = ("TCP", "UDP", "SCTP")
APP_PROTOCOLS = (None, None, "http", "HTTP", "kubernetes.io/h2c", "mycompany.com/my-protocol", "x" * 63)
TARGET_NAMES = ("http", "dns", "a-1", "grpc-very-long1")
FAMILIES: tuple[Json, ...] = (
    {},
    {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]},
    {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]},
    {"ipFamilyPolicy": "PreferDualStack"},
    {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv4"]},
    {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]},
)
# What users set on a source and a leader Service must not have; node ports are few, so they are rare.
KINDS: tuple[Json, ...] = (
    {},
    {},
    {},
    {"clusterIP": "None"},
    {"type": "NodePort", "externalTrafficPolicy": "Local"},
    {"type": "LoadBalancer", "loadBalancerClass": "example.com/lb", "allocateLoadBalancerNodePorts": False},
    {"sessionAffinity": "ClientIP", "internalTrafficPolicy": "Local"},
    {"publishNotReadyAddresses": True, "trafficDistribution": "PreferClose"},
)
VALUES: dict[str, tuple[str, ...]] = {
    contract.LEADER_SERVICE_NAME: ("front-{n}", "f" * 50 + "-{n}", "A_b", "../kube-system/x", ""),
    contract.STICKY: ("false", "T", "maybe"),
    contract.STRATEGY: (*contract.STRATEGY_NAMES, "best"),
    contract.MIN_READY_DURATION: ("1s", "2h45m", "-1s", "1e3"),
    contract.FAILOVER_MIN_DELAY: ("5s", "soon"),
    contract.ON_NO_READY: ("keep-last", "empty", "what"),
    contract.FAILBACK: ("immediate", "after:5m", "after:", "never"),
    contract.PORTS_MODE: ("mirror", "subset:p0", "subset:p0,p1", "subset:none", "subset:"),
    contract.LEADER_SERVICE_TYPE: (*contract.SERVICE_TYPES, "ExternalName"),
    contract.PAUSED: ("false", "0", "yes"),
    # Of other programs, and set by us on our own objects only: none of it may get across.
    "kubectl.kubernetes.io/last-applied-configuration": ("{}",),
    contract.EPOCH: ("99", "x"),
    contract.EXTRA_ANNOTATIONS: ("team,zen-lead.io/leader-epoch",),
}
EXTRA_KEYS = ("team", "A", "a.b_c-D", "1", "k" * 63, "leader-epoch", "kubectl.kubernetes.io")
TEXTS = ("", "blue", "リーダー🚀", "a\nb\t\"'\\", "\u2028 \u0000", "x" * 3000)
# Each is accepted in a pod's status (a test of its own says so); not all are in a slice.
ADDRESSES_V4 = ("10.2.0.1", "10.2.0.2", "100.64.0.9", "240.1.2.3", "169.254.1.1", "127.0.0.1", "224.0.0.251")
ADDRESSES_V6 = (
    "fd00:10::1",
    "FD00:10:0::00A",
    "fd00:0:0:1:0:0:0:1",
    "2001:db8:0:0:1::1",
    "64:ff9b::1.2.3.4",
    "fe80::1",
    "::1",
    "ff0e::1",
)
NODES = ("n1", "n2", "node.with.dots-1", "x" * 253)
ZONES = {"n1": "z1", "node.with.dots-1": "A_zone.of-63-" + "x" * 50}


class Dice(random.Random):
    """Chance with a memory for words."""

    def word(self, shortest: int, longest: int) -> str:
        """A DNS label."""
        middle = string.ascii_lowercase + string.digits + "-"
        length = self.randint(shortest, longest)
        inner = "".join(self.choice(middle) for _ in range(max(0, length - 2)))
        return (self.choice(string.ascii_lowercase) + inner + self.choice(string.ascii_lowercase))[:length]

    def some(self, of: Sequence[Any], share: float) -> list[Any]:
        return [one for one in of if self.random() < share]


def source(number: int) -> Json:
    """The opted-in source Service of scene ``number``."""
    dice = Dice(number)
    headless: Json = dice.choice(KINDS)
    metadata: Json = {"name": _name(dice, number), "annotations": annotations(dice, number)}
    metadata["labels"] = {"app.kubernetes.io/managed-by": "Helm", "service.kubernetes.io/headless": ""}
    spec: Json = {"selector": {"scene": f"s{number}"}, "ports": ports(dice)}
    if headless.get("clusterIP") == "None" and dice.random() < 0.4:
        spec["ports"] = []
    return {"metadata": metadata, "spec": spec | headless | dice.choice(FAMILIES)}


def _name(dice: Dice, number: int) -> str:
    """Up to 63 characters; those over 56 leave no room for our suffix. The first may be a digit."""
    longest = dice.choice((8, 30, 56, 63)) - len(str(number)) - 1
    return f"{dice.choice(('', '', '7'))}{dice.word(1, longest - 1)}-{number}"


def annotations(dice: Dice, number: int) -> dict[str, str]:
    chosen = {name: dice.choice(VALUES[name]) for name in dice.some(sorted(VALUES), 0.25)}
    chosen = {name: value.replace("{n}", str(number)) for name, value in chosen.items()}
    for key in dice.some(EXTRA_KEYS, 0.3):
        chosen[contract.LEADER_PREFIX + key] = dice.choice(TEXTS)
    if number % 50 == 7:  # much, and as much as the API server takes
        chosen = {contract.LEADER_PREFIX + "large": "x" * (230_000 if number % 100 == 7 else 262_000)}
    return {contract.ENABLED: "true", **chosen}


def ports(dice: Dice) -> list[Json]:
    # (Mostly few: a hundred are as good as ten, and cost every program ten times as much.)
    count = dice.choice((1, 2, 3, 7)) if dice.random() < 0.95 else dice.choice((100, 101))
    if count == 1 and dice.random() < 0.5:
        return [_port(dice, 0)]
    named = []
    for index in range(count):
        name = f"p{index}" if index < 2 else f"{dice.word(1, 55)}-{index}"
        named.append({"name": name, **_port(dice, index)})
    return named


def _port(dice: Dice, index: int) -> Json:
    """No two of a Service have the same number and protocol; two in a row share the number."""
    port: Json = {
        "port": 1 + index // 2,
        "protocol": PROTOCOLS[index % 2] if index else dice.choice(PROTOCOLS[::2]),
    }
    target = dice.choice((None, None, 0, 1, 8080, 65535, *TARGET_NAMES[: 2 if index > 2 else 4]))
    app = dice.choice(APP_PROTOCOLS)
    return port | {k: v for k, v in {"targetPort": target, "appProtocol": app}.items() if v is not None}


def pods(number: int, round_: int) -> list[Json]:
    """Up to three pods of scene ``number``, as their owner makes them; another set in each round."""
    dice = Dice(f"{number}/{round_}")
    return [_pod(dice, number, index) for index in range(dice.choice((0, 1, 2, 3)))]


def _pod(dice: Dice, number: int, index: int) -> Json:
    words = [dice.word(1, 60) for _ in range(dice.choice((1, 1, 3)))]
    labels = {"scene": f"s{number}"} | ({contract.PRIORITY: "7"} if dice.random() < 0.2 else {})
    inits: list[Json] = [{"name": "i", "image": "i", "ports": declared(dice)}]
    inits += [{"name": "s", "image": "i", "restartPolicy": "Always", "ports": declared(dice)}]
    spec: Json = {
        "nodeName": dice.choice(NODES),
        "containers": [{"name": f"c{i}", "image": "i", "ports": declared(dice)} for i in range(2)],
        "initContainers": dice.some(inits, 0.4),
    }
    return {"metadata": {"name": ".".join([*words, f"{number}-{index}"]), "labels": labels}, "spec": spec}


def declared(dice: Dice) -> list[Json]:
    return [
        {"name": name, "containerPort": 7000 + at, "protocol": dice.choice(("TCP", "TCP", "UDP"))}
        for at, name in enumerate(dice.some(TARGET_NAMES, 0.8))
    ]


def status(number: int, round_: int, index: int) -> Json:
    """What a kubelet would say of the pod, mostly that it is well."""
    dice = Dice(f"{number}/{round_}/{index}/status")
    addresses = [dice.choice(ADDRESSES_V4), dice.choice(ADDRESSES_V6)]
    if dice.random() < 0.5:
        addresses = [ADDRESSES_V4[index % 2], ADDRESSES_V6[index % 3]]
    addresses = dice.choice((addresses, addresses, addresses[::-1], addresses[:1], addresses[1:]))
    ready = {
        "type": "Ready",
        "status": str(dice.random() < 0.85),
        "lastTransitionTime": "2025-06-15T15:06:40Z",
    }
    return {
        "phase": "Running",
        "podIP": addresses[0],
        "podIPs": [{"ip": ip} for ip in addresses],
        "conditions": [ready],
    }
