"""A whole controller on a cluster in memory, in virtual time, with hands that change things at random.

Knows what users and kubelets do to Services and pods, and what must be true in the end. It says what is fit
in its own words and shares no code with the decision. The rule: everything follows from the seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import random
from typing import TYPE_CHECKING, Any, Self

from tests.simulated.clock import WallClock
from tests.simulated.faultyapi import FaultyApi, Weather
from zenlead.controller.assembly import Controller
from zenlead.controller.parameters import Parameters
from zenlead.controller.spans import untraced
from zenlead.kube.errors import ApiError, NotFound
from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES
from zenlead.sandbox.apiserver import ApiServer
from zenlead.sandbox.kinds import NAMESPACES
from zenlead.sandbox.memory import MemoryApi

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from zenlead.controller.spans import Span
    from zenlead.kube.resources import Resource

Body = dict[str, Any]
Lookup = dict[str, dict[tuple[str, str], list[Body]]]

PORT = {"name": "http", "port": 80, "targetPort": "http"}
ENABLED = "zen-lead.io/enabled"
NAME = "zen-lead.io/leader-service-name"
OURS = "app.kubernetes.io/managed-by"


def stamp(unix_s: float) -> str:
    return datetime.datetime.fromtimestamp(int(unix_s), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Cluster:
    """``api`` is the hands' own way in, without faults; ``network`` is the controller's."""

    def __init__(self, seed: int, weather: Weather | None = None, **parameters: Any) -> None:
        self.dice = random.Random(seed)
        self.wall = WallClock()
        self.server = ApiServer(self.wall, self.dice)
        self.api = MemoryApi(self.server)
        weather = weather or Weather()
        self.network = FaultyApi(self.api, self.dice, weather)
        self.lease_network = FaultyApi(self.api, self.dice, weather)
        self.facts: list[Any] = []
        self.span: Span = untraced
        self._parameters = Parameters(identity="zenlead-0", lease_namespace="default", **parameters)
        self._addresses = 0
        self._pods = 0
        self._task: asyncio.Task[None] | None = None
        self.controller: Controller | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start a controller; returns at once."""
        self.controller = Controller(
            self.network,
            self.lease_network,
            self._parameters,
            wall=self.wall,
            notify=self.facts.append,
            span=self.span,
        )
        self._task = asyncio.create_task(self.controller.run())

    async def stop(self) -> None:
        """Stop it in good order; raises what it died of."""
        if self._task is not None and self.controller is not None:
            self.controller.stop()
            task, self._task = self._task, None
            await task

    # --- hands

    async def namespace(self, name: str) -> None:
        await self.api.create(NAMESPACES, "", json.dumps({"metadata": {"name": name}}).encode())

    async def service(
        self, namespace: str, name: str, annotations: Mapping[str, str] | None = None, *, enabled: bool = True
    ) -> None:
        said = {**({ENABLED: "true"} if enabled else {}), **(annotations or {})}
        body = {
            "metadata": {"name": name, "annotations": said},
            "spec": {
                "selector": {"app": name},
                "ports": [PORT],
            },
        }
        await self.api.create(SERVICES, namespace, json.dumps(body).encode())

    async def pod(self, namespace: str, app: str, *, ready: bool = True) -> str:
        """A running pod of Service ``app``; returns its name."""
        self._pods += 1
        name = f"{app}-{self._pods}"
        container = {
            "name": "main",
            "image": "example/app:1",
            "ports": [{"name": "http", "containerPort": 8080}],
        }
        body = {
            "metadata": {"name": name, "labels": {"app": app}},
            "spec": {"nodeName": "n1", "containers": [container]},
        }
        await self.api.create(PODS, namespace, json.dumps(body).encode())
        await self.status(namespace, name, ready=ready, address=self.new_address())
        return name

    def new_address(self) -> str:
        self._addresses += 1
        return f"10.{self._addresses // 62500}.{self._addresses // 250 % 250}.{self._addresses % 250 + 1}"

    async def status(
        self, namespace: str, pod: str, *, ready: bool, address: str | None = None, phase: str = "Running"
    ) -> None:
        when = stamp(self.wall())
        status: Body = {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": when}],
        }
        if address is not None:
            status |= {"podIP": address or None, "podIPs": [{"ip": address}] if address else None}
        await self.patch(PODS, namespace, pod, {"status": status}, subresource="status")

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Body, *, subresource: str = ""
    ) -> None:
        await self.api.patch(resource, namespace, name, json.dumps(body).encode(), subresource=subresource)

    async def delete(self, resource: Resource, namespace: str, name: str, **options: Any) -> None:
        await self.api.delete(resource, namespace, name, json.dumps(options).encode())

    async def all(self, resource: Resource) -> list[Body]:
        items: list[Body] = json.loads(await self.api.list(resource, None, {}))["items"]
        return items

    # --- what must be true

    async def faults(self) -> list[str]:
        """What is not as it must be, in words; nothing of it may be left once all is quiet."""
        services, slices = await self.all(SERVICES), await self.all(ENDPOINT_SLICES)
        at: Lookup = {"services": {_key(s): [s] for s in services}, "slices": {}, "pods": {}}
        for item in slices:
            labels = item["metadata"].get("labels") or {}
            key = item["metadata"]["namespace"], labels.get("kubernetes.io/service-name", "")
            at["slices"].setdefault(key, []).append(item)
        for pod in await self.all(PODS):
            key = pod["metadata"]["namespace"], pod["metadata"]["labels"]["app"]
            at["pods"].setdefault(key, []).append(pod)
        found: list[str] = []
        claims: dict[tuple[str, str], list[Body]] = {}
        for service in services:
            said = service["metadata"].get("annotations") or {}
            if said.get(ENABLED) == "true":
                namespace, name = _key(service)
                claims.setdefault((namespace, said.get(NAME) or f"{name}-leader"), []).append(service)
        waiting: set[str] = set()  # Services whose name another one has; they keep the one that they had
        for leader, claimants in claims.items():
            owners = _owners(at["services"].get(leader, []))
            served = [s for s in claimants if s["metadata"]["uid"] in owners] or claimants[:1]
            found += _wrong_with(served[0], leader, at)
            waiting.update(_key(s)[1] for s in claimants if s is not served[0])
        for item in (*services, *slices):
            labels = item["metadata"].get("labels") or {}
            kept = labels.get("zen-lead.io/source-service") in waiting
            if labels.get(OURS) == "zen-lead" and _key(item) not in claims and not kept:
                found.append(f"left over: {item.get('kind', 'object')} {_key(item)}")
        return found

    async def settles(self, within_s: float) -> float:
        """Returns after how many seconds nothing was wrong any more."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        while wrong := await self.faults():
            if loop.time() - started > within_s:
                raise AssertionError(f"after {within_s} s: {len(wrong)}: {wrong[:5]}; {self.controller!r}")
            await asyncio.sleep(1.0)
        return loop.time() - started


def is_fit(pod: Body, selector: Body) -> bool:
    """Whether a pod may lead, by the words of the outside contract."""
    status, meta = pod.get("status") or {}, pod["metadata"]
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    return bool(
        selector.items() <= (meta.get("labels") or {}).items()
        and ready
        and status.get("phase") == "Running"
        and "deletionTimestamp" not in meta
        and status.get("podIPs")
    )


def _owners(items: list[Body]) -> set[str]:
    return {owner["uid"] for item in items for owner in item["metadata"].get("ownerReferences") or ()}


def _key(item: Body) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _wrong_with(source: Body, leader: tuple[str, str], at: Lookup) -> list[str]:
    namespace, name = _key(source)
    where = f"{namespace}/{name}"
    if leader not in at["services"]:
        return [f"{where}: no leader Service"]
    (service,) = at["services"][leader]
    wrong: list[str] = []
    if service["spec"].get("selector"):
        wrong.append(f"{where}: the leader Service has a selector")
    if [p["port"] for p in service["spec"]["ports"]] != [p["port"] for p in source["spec"]["ports"]]:
        wrong.append(f"{where}: other ports")
    routing = at["slices"].get(leader, [])
    if len(routing) != 1:
        return [*wrong, f"{where}: {len(routing)} slices"]
    endpoints = routing[0].get("endpoints") or []
    selector = source["spec"]["selector"]
    mine = at["pods"].get((namespace, selector["app"]), [])
    fit = {p["metadata"]["uid"]: p for p in mine if is_fit(p, selector)}
    if not fit:
        return wrong + ([f"{where}: routes although nobody is fit"] if endpoints else [])
    if len(endpoints) != 1:
        return [*wrong, f"{where}: {len(endpoints)} endpoints, {len(fit)} fit pods"]
    target = endpoints[0].get("targetRef") or {}
    pod = fit.get(target.get("uid", ""))
    if pod is None:
        return [*wrong, f"{where}: routes to {target.get('name', 'a stranger')}, which is not fit"]
    if endpoints[0]["addresses"] != [pod["status"]["podIPs"][0]["ip"]]:
        wrong.append(f"{where}: not the pod's address")
    if routing[0]["ports"] != [{"name": "http", "port": 8080, "protocol": "TCP"}]:
        wrong.append(f"{where}: not the pod's port")
    said = service["metadata"].get("annotations") or {}
    if said.get("zen-lead.io/leader-pod-uid") != pod["metadata"]["uid"]:
        wrong.append(f"{where}: the leader Service names another pod")
    return wrong


class Hands:
    """Users, kubelets and meddlers, one random deed at a time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._dice = cluster.dice
        self.deeds: list[Callable[[str, str], Any]] = [
            self.flip,
            self.flip,
            self.flip,
            self.end_pod,
            self.more_pods,
            self.relabel,
            self.move,
            self.finish,
            self.opt,
            self.rename,
            self.contend,
            self.recreate,
            self.policy,
            self.edit_slice,
            self.delete_ours,
            self.edit_service,
        ]

    async def act(self, namespace: str, service: str) -> None:
        """Something happens to a Service or its pods; what is not there is left alone."""
        with contextlib.suppress(ApiError):
            await self._dice.choice(self.deeds)(namespace, service)

    async def _a_pod(self, namespace: str, app: str) -> Body:
        pods = [
            p
            for p in await self._cluster.all(PODS)
            if p["metadata"]["namespace"] == namespace and p["metadata"]["name"].startswith(f"{app}-")
        ]
        if not pods:
            raise NotFound("no pod")
        return self._dice.choice(pods)

    async def _leader_name(self, namespace: str, service: str) -> str:
        source = json.loads(await self._cluster.api.get(SERVICES, namespace, service))
        return (source["metadata"].get("annotations") or {}).get(NAME) or f"{service}-leader"

    async def _annotate(self, namespace: str, service: str, said: Mapping[str, str | None]) -> None:
        await self._cluster.patch(SERVICES, namespace, service, {"metadata": {"annotations": dict(said)}})

    async def flip(self, namespace: str, app: str) -> None:
        pod = await self._a_pod(namespace, app)
        ready = self._dice.random() < 0.6
        await self._cluster.status(namespace, pod["metadata"]["name"], ready=ready)

    async def end_pod(self, namespace: str, app: str) -> None:
        pod = await self._a_pod(namespace, app)
        grace_s = self._dice.choice([0, 0, 30, 600])
        await self._cluster.delete(PODS, namespace, pod["metadata"]["name"], gracePeriodSeconds=grace_s)

    async def more_pods(self, namespace: str, app: str) -> None:
        await self._cluster.pod(namespace, app, ready=self._dice.random() < 0.8)

    async def relabel(self, namespace: str, app: str) -> None:
        pod = await self._a_pod(namespace, app)
        label = self._dice.choice([app, app, "other"])
        body = {"metadata": {"labels": {"app": label}}}
        await self._cluster.patch(PODS, namespace, pod["metadata"]["name"], body)

    async def move(self, namespace: str, app: str) -> None:
        pod = await self._a_pod(namespace, app)
        address = self._dice.choice(["", self._cluster.new_address()])
        await self._cluster.status(namespace, pod["metadata"]["name"], ready=True, address=address)

    async def finish(self, namespace: str, app: str) -> None:
        pod = await self._a_pod(namespace, app)
        await self._cluster.status(namespace, pod["metadata"]["name"], ready=True, phase="Failed")

    async def opt(self, namespace: str, service: str) -> None:
        value = self._dice.choice(["true", "true", "false", None])
        await self._cluster.patch(
            SERVICES, namespace, service, {"metadata": {"annotations": {ENABLED: value}}}
        )

    async def rename(self, namespace: str, service: str) -> None:
        value = self._dice.choice([None, f"{service}-front", f"{service}-other"])
        await self._annotate(namespace, service, {NAME: value})

    async def contend(self, namespace: str, service: str) -> None:
        """It wants a name that others want, too."""
        await self._annotate(namespace, service, {NAME: "shared"})

    async def recreate(self, namespace: str, service: str) -> None:
        """It is deleted and soon there again, another Service by the same name."""
        body = json.loads(await self._cluster.api.get(SERVICES, namespace, service))
        await self._cluster.delete(SERVICES, namespace, service)
        await asyncio.sleep(self._dice.choice([0.0, 0.0, 0.05, 1.0]))
        await self._cluster.service(namespace, service, body["metadata"].get("annotations") or {})

    async def policy(self, namespace: str, service: str) -> None:
        said = {
            "zen-lead.io/sticky": self._dice.choice(["true", "false", "no bool", None]),
            "zen-lead.io/min-ready-duration": self._dice.choice(["3s", "0s", "no duration", None]),
        }
        await self._annotate(namespace, service, said)

    async def edit_slice(self, namespace: str, service: str) -> None:
        name = await self._leader_name(namespace, service)
        stranger = {"addresses": ["10.250.1.1"], "conditions": {"ready": True}}
        body = self._dice.choice(
            [
                {"endpoints": None, "ports": None},
                {"endpoints": [stranger]},
                {"ports": [{"name": "x", "port": 1}]},
                {"metadata": {"labels": {"kubernetes.io/service-name": None}}},
                {"metadata": {"labels": {"endpointslice.kubernetes.io/managed-by": "somebody"}}},
                {"metadata": {"annotations": {"zen-lead.io/leader-epoch": "nonsense"}}},
            ]
        )
        await self._cluster.patch(ENDPOINT_SLICES, namespace, name, body)

    async def delete_ours(self, namespace: str, service: str) -> None:
        resource = self._dice.choice([SERVICES, ENDPOINT_SLICES])
        await self._cluster.delete(resource, namespace, await self._leader_name(namespace, service))

    async def edit_service(self, namespace: str, service: str) -> None:
        name = await self._leader_name(namespace, service)
        body = self._dice.choice(
            [
                {"spec": {"selector": {"app": "x"}}},
                {"spec": {"ports": [{"name": "x", "port": 9}]}},
                {"metadata": {"annotations": {"zen-lead.io/leader-pod-uid": None}}},
            ]
        )
        await self._cluster.patch(SERVICES, namespace, name, body)
