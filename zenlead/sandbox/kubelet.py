"""A stand-in for scheduler and kubelet: gives pods a node, an address, a status and a real server.

Knows the life of a pod from binding to its end, and how to hurt it. Refuses to know Services and leaders. The
rule: everything it does to a pod is visible through the API, and a pod it does not run it leaves alone.
Source: Kubernetes concepts, "Pod Lifecycle" and "Container restarts".
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Any

import msgspec

from zenlead.kube.resources import NODES, PODS
from zenlead.sandbox import patches, podstatus
from zenlead.sandbox.parsing import Target
from zenlead.sandbox.podserver import PodServer
from zenlead.sandbox.proxy import Proxy
from zenlead.sandbox.refusals import Refusal
from zenlead.sandbox.views import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from zenlead.kube.resources import Resource
    from zenlead.sandbox.apiserver import ApiServer
    from zenlead.sandbox.objects import Body, Key, Occurrence

_FIRST_HOST = 10  # of a pod network: the first addresses belong to the node


class Timing(msgspec.Struct, frozen=True):
    """How long things take, in seconds of the loop. A real kubelet is slower and less regular."""

    start_s: float = 0.2  # from being bound to being ready
    stop_s: float = 0.2  # from SIGTERM to having ended, if the grace period is not shorter
    restart_s: float = 2.0  # from a crash to being ready again


class _Life(msgspec.Struct):
    """One pod that runs here. ``server`` is None before its start and while it is down."""

    addresses: list[str]
    server: PodServer | None = None
    stopping: bool = False


class Kubelet:
    """Runs pods of the sandbox while ``run`` runs. ``now`` is wall time in Unix seconds.

    ``networks``: where pod addresses come from, one network a family. ``serves``: whether each pod gets a
    real server on loopback, which ``proxy`` leads to.
    """

    def __init__(
        self,
        server: ApiServer,
        now: Callable[[], float],
        *,
        nodes: Sequence[str] = ("node-a", "node-b"),
        networks: Sequence[str] = ("10.244.0.0/16",),
        timing: Timing | None = None,
        serves: bool = True,
    ) -> None:
        self.proxy = Proxy()
        self._server = server
        self._now = now
        self._nodes = {name: f"10.0.0.{at}" for at, name in enumerate(nodes, 1)}
        self._addresses = [_hosts(network) for network in networks]
        self._timing = timing or Timing()
        self._serves = serves
        self._lives: dict[Key, _Life] = {}  # filled by _look, emptied by _end
        self._dirty: set[Key] = set()
        self._wake = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._bound = 0

    def __repr__(self) -> str:
        return f"Kubelet(nodes={list(self._nodes)}, running={len(self._lives)}, {self.proxy!r})"

    async def run(self) -> None:
        """Run pods until cancelled; then every server is stopped."""
        for name, address in self._nodes.items():
            self._register(name, address)
        unsubscribe = self._server.objects.subscribe(self._follow)
        self._dirty.update(key for key, _ in self._server.objects.find("pods"))
        self._wake.set()
        try:
            async with asyncio.TaskGroup() as self._group:
                while True:
                    # Woken by every change of a pod; there is nothing to do without one.
                    await self._wake.wait()
                    self._wake.clear()
                    dirty, self._dirty = self._dirty, set()
                    for key in sorted(dirty):
                        self._look(key)
        finally:
            unsubscribe()
            for life in self._lives.values():
                if life.server is not None:
                    await life.server.stop()

    def make_not_ready(self, namespace: str, name: str) -> None:
        """The pod goes on running, and fails its readiness probe. Raises Refusal (404)."""
        self._set_ready(namespace, name, ready=False)

    def make_ready(self, namespace: str, name: str) -> None:
        """The pod's readiness probe succeeds again. Raises Refusal (404)."""
        self._set_ready(namespace, name, ready=True)

    async def crash(self, namespace: str, name: str) -> None:
        """Every container ends with an error; restartPolicy decides what follows. Raises Refusal (404)."""
        key = ("pods", namespace, name)
        pod = self._server.get(self._target(PODS, namespace, name)).body
        life = self._lives.get(key)
        if life is not None:
            await self._cut(life)
        restarts = pod["spec"]["restartPolicy"] != "Never"
        self._write_status(key, podstatus.crashed(pod, restarts=restarts, now=self._now()))
        if restarts and life is not None and self._group is not None:
            self._group.create_task(self._start(key, life, self._timing.restart_s))

    def _follow(self, occurrence: Occurrence) -> None:
        if occurrence.key[0] == "pods":
            self._dirty.add(occurrence.key)
            self._wake.set()

    def _look(self, key: Key) -> None:
        """Compare one pod with what runs here, and begin what is missing."""
        stored, life = self._server.objects.get(key), self._lives.get(key)
        if self._group is None:
            return
        if stored is None:
            if life is not None:
                del self._lives[key]
                self._group.create_task(self._cut(life))
            return
        meta, node = stored.body["metadata"], stored.body["spec"].get("nodeName")
        if node is None and not meta.get("deletionTimestamp"):
            self._bind(key)
        elif node in self._nodes and meta.get("deletionTimestamp"):
            life = self._lives.setdefault(key, _Life([]))
            if not life.stopping:
                life.stopping = True
                grace_s = min(self._timing.stop_s, float(meta.get("deletionGracePeriodSeconds", 0)))
                self._group.create_task(self._stop(key, life, grace_s))
        elif (
            node in self._nodes and life is None and stored.body["status"]["phase"] in ("Pending", "Running")
        ):
            held = [entry["ip"] for entry in stored.body["status"].get("podIPs", ())]
            life = self._lives[key] = _Life(held or [next(hosts) for hosts in self._addresses])
            self._group.create_task(self._start(key, life, self._timing.start_s))

    async def _start(self, key: Key, life: _Life, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        stored = self._server.objects.get(key)
        if stored is None or life.stopping or self._lives.get(key) is not life or life.server is not None:
            return
        if self._serves:
            life.server = PodServer(key[2])
            await life.server.start()
            for port in _ports(stored.body):
                for address in life.addresses:
                    self.proxy.open(address, port, life.server.port)
        host = self._nodes[stored.body["spec"]["nodeName"]]
        self._write_status(key, podstatus.running(stored.body, life.addresses, host, self._now()))

    async def _stop(self, key: Key, life: _Life, grace_s: float) -> None:
        await asyncio.sleep(grace_s)
        await self._cut(life)
        stored = self._server.objects.get(key)
        if stored is None:
            return
        self._write_status(key, podstatus.readiness(stored.body, ready=False, now=self._now()))
        try:
            self._server.delete(self._target(PODS, key[1], key[2]), b'{"gracePeriodSeconds":0}', {})
        except Refusal:
            return  # gone already: somebody forced it

    async def _cut(self, life: _Life) -> None:
        for address in life.addresses:
            self.proxy.close(address)
        server, life.server = life.server, None
        if server is not None:
            await server.stop()

    def _bind(self, key: Key) -> None:
        names = list(self._nodes)
        node = names[self._bound % len(names)]
        self._bound += 1
        body = msgspec.json.encode({"target": {"kind": "Node", "name": node}})
        self._server.create(self._target(PODS, key[1], key[2], "binding"), body, {})

    def _set_ready(self, namespace: str, name: str, *, ready: bool) -> None:
        pod = self._server.get(self._target(PODS, namespace, name)).body
        status = podstatus.readiness(pod, ready=ready, now=self._now())
        self._write_status(("pods", namespace, name), status)

    def _write_status(self, key: Key, status: Body) -> None:
        target = self._target(PODS, key[1], key[2], "status")
        try:
            self._server.patch(target, msgspec.json.encode({"status": status}), patches.MERGE, {})
        except Refusal as refusal:
            if refusal.code != 404:
                raise

    def _register(self, name: str, address: str) -> None:
        meta: dict[str, Any] = {"name": name, "labels": {"kubernetes.io/hostname": name}}
        meta["labels"]["topology.kubernetes.io/zone"] = f"zone-{name[-1]}"
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": timestamp(self._now())}
        addresses = [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]
        status = {
            "conditions": [ready],
            "addresses": addresses,
            "nodeInfo": {"kubeletVersion": "v0.0.0-sandbox"},
        }
        try:
            self._server.create(
                self._target(NODES), msgspec.json.encode({"metadata": meta, "status": status}), {}
            )
        except Refusal as refusal:
            if refusal.reason != "AlreadyExists":
                raise

    def _target(self, resource: Resource, namespace: str = "", name: str = "", part: str = "") -> Target:
        kind = self._server.kind(resource.group, resource.version, resource.plural)
        return Target(kind, namespace, name, part)


def _hosts(network: str) -> Iterator[str]:
    parsed = ipaddress.ip_network(network)
    for offset in range(_FIRST_HOST, parsed.num_addresses):
        yield str(parsed[offset])


def _ports(pod: Body) -> list[int]:
    return [
        port["containerPort"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
    ]
