"""Two network namespaces: a node, on which a proxy rewrites addresses, and the place where its pods live.

Knows ``ip`` and addresses. Refuses to know Kubernetes. The rule not to break: whatever is made is inside of
the namespaces and goes with them; rules for packets never touch those of the machine. Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

# Links of two addresses each; the first end is nearer to the machine.
MACHINE, NODE_OUT = "10.254.77.1", "10.254.77.2"
NODE_IN, PODS_OUT = "10.254.77.5", "10.254.77.6"


def missing() -> str:
    """What this machine lacks for it, in words; empty if nothing."""
    if os.geteuid() != 0:
        return "it needs root, for network namespaces"
    lacking = [tool for tool in ("ip", "nft") if shutil.which(tool) is None]
    return f"it needs the command {lacking[0]}" if lacking else ""


class Network:
    """``node`` and ``pods`` are the names of the namespaces. Use it as a context manager."""

    def __init__(self) -> None:
        self.node, self.pods = (f"zenlead-{what}-{os.getpid()}" for what in ("node", "pods"))

    def __enter__(self) -> Self:
        try:
            for namespace in (self.node, self.pods):
                _ip(f"netns add {namespace}", f"-n {namespace} link set lo up")
            self._link("zl-out", MACHINE, None, NODE_OUT, self.node)
            self._link("zl-in", NODE_IN, self.node, PODS_OUT, self.pods)
            _ip(f"-n {self.node} route add default via {MACHINE}")
            _ip(f"-n {self.pods} route add default via {NODE_IN}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _link(self, name: str, near: str, near_in: str | None, far: str, far_in: str) -> None:
        inside = f"-n {near_in} " if near_in else ""
        _ip(
            f"{inside}link add {name} type veth peer name {name}-peer netns {far_in}",
            f"{inside}addr add {near}/30 dev {name}",
            f"{inside}link set {name} up",
            f"-n {far_in} addr add {far}/30 dev {name}-peer",
            f"-n {far_in} link set {name}-peer up",
        )

    def __exit__(self, *_: object) -> None:
        for namespace in (self.node, self.pods):
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)

    def give(self, addresses: Iterable[str]) -> None:
        """Addresses of pods: reachable from the node."""
        for address in addresses:
            _ip(f"-n {self.pods} addr add {address}/32 dev lo")
            _ip(f"-n {self.node} route add {address}/32 via {PODS_OUT}")

    @staticmethod
    def inside(namespace: str, command: list[str]) -> list[str]:
        """The command that runs ``command`` in there."""
        return ["ip", "netns", "exec", namespace, *command]


def _ip(*commands: str) -> None:
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True)
