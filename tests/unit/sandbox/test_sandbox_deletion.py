"""Dependents go with their owners, namespaces with their content."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from zenlead.kube.resources import ENDPOINT_SLICES, PODS, SERVICES, Resource
from zenlead.sandbox.apiserver import ApiServer, Knobs
from zenlead.sandbox.kinds import NAMESPACES
from zenlead.sandbox.parsing import Target
from zenlead.sandbox.refusals import Refusal

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class Cluster:
    """An ApiServer with short words."""

    def __init__(self, knobs: Knobs | None = None) -> None:
        self.server = ApiServer(lambda: NOW, random.Random(1), knobs)

    def target(self, resource: Resource, name: str = "", namespace: str = "default") -> Target:
        kind = self.server.kind(resource.group, resource.version, resource.plural)
        return Target(kind, namespace if resource.namespaced else "", name)

    def create(
        self, resource: Resource, name: str, *, owners: tuple[dict[str, Any], ...] = (), **fields: Any
    ) -> dict[str, Any]:
        namespace = fields.pop("namespace", "default")
        meta = {"name": name, "ownerReferences": list(owners), "finalizers": fields.pop("finalizers", [])}
        body = json.dumps({"metadata": meta, **fields}).encode()
        made: dict[str, Any] = json.loads(
            self.server.create(self.target(resource, namespace=namespace), body, {})
        )
        return made

    def service(self, name: str, *owners: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
        return self.create(SERVICES, name, owners=owners, spec={"ports": [{"port": 80}]}, namespace=namespace)

    def slice(self, name: str, *owners: dict[str, Any], finalizers: tuple[str, ...] = ()) -> dict[str, Any]:
        return self.create(
            ENDPOINT_SLICES, name, owners=owners, addressType="IPv4", finalizers=list(finalizers)
        )

    def delete(self, resource: Resource, name: str, **options: Any) -> None:
        self.server.delete(self.target(resource, name), json.dumps(options).encode(), {})

    def names(self, storage: str, namespace: str = "default") -> list[str]:
        return [key[2] for key, _ in self.server.objects.find(storage, namespace)]


def owner(made: dict[str, Any], *, blocks: bool = False) -> dict[str, Any]:
    """A reference to an object."""
    reference = {name: made[name] for name in ("apiVersion", "kind")}
    reference |= {name: made["metadata"][name] for name in ("name", "uid")}
    return {**reference, "controller": True, "blockOwnerDeletion": blocks}


def test_dependents_follow_their_owner_down_the_chain() -> None:
    cluster = Cluster()
    source = cluster.service("web")
    leader = cluster.service("web-leader", owner(source))
    cluster.slice("web-leader", owner(leader))
    cluster.slice("other")
    cluster.delete(SERVICES, "web")
    assert cluster.names("services") == []
    assert cluster.names("endpointslices") == ["other"]


def test_a_dependent_stays_while_one_owner_lives() -> None:
    cluster = Cluster()
    first, second = cluster.service("a"), cluster.service("b")
    cluster.slice("both", {**owner(first), "controller": False}, owner(second))
    cluster.delete(SERVICES, "a")
    assert cluster.names("endpointslices") == ["both"]
    cluster.delete(SERVICES, "b")
    assert cluster.names("endpointslices") == []


def test_an_owner_that_never_was_takes_its_dependent_along() -> None:
    cluster = Cluster()
    gone = owner(cluster.service("web"))
    cluster.delete(SERVICES, "web")
    cluster.slice("orphan", gone)
    assert cluster.names("endpointslices") == []


def test_an_owner_of_another_uid_is_another_owner() -> None:
    cluster = Cluster()
    old = owner(cluster.service("web"))
    cluster.delete(SERVICES, "web")
    cluster.service("web")
    cluster.slice("late", old)
    assert cluster.names("endpointslices") == []


def test_an_owner_of_an_unknown_kind_is_believed() -> None:
    cluster = Cluster()
    cluster.slice("made", {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "u"})
    assert cluster.names("endpointslices") == ["made"]


def test_orphans_lose_the_reference_and_stay() -> None:
    cluster = Cluster()
    cluster.slice("left", owner(cluster.service("web")))
    cluster.delete(SERVICES, "web", propagationPolicy="Orphan")
    assert cluster.names("services") == []
    [(_, left)] = cluster.server.objects.find("endpointslices")
    assert "ownerReferences" not in left.body["metadata"]


def test_in_the_foreground_the_owner_goes_last() -> None:
    cluster = Cluster()
    cluster.slice("held", owner(cluster.service("web"), blocks=True), finalizers=("example.com/hold",))
    cluster.delete(SERVICES, "web", propagationPolicy="Foreground")
    [(_, waiting)] = cluster.server.objects.find("services")
    assert waiting.body["metadata"]["finalizers"] == ["foregroundDeletion"]
    cluster.server.patch(
        cluster.target(ENDPOINT_SLICES, "held"),
        b'{"metadata":{"finalizers":null}}',
        "application/merge-patch+json",
        {},
    )
    assert cluster.names("services") == cluster.names("endpointslices") == []


def test_a_namespace_waits_for_its_pods() -> None:
    cluster = Cluster()
    cluster.create(NAMESPACES, "t1")
    cluster.service("web", namespace="t1")
    container = {"name": "app", "image": "a"}
    cluster.create(PODS, "web-0", namespace="t1", spec={"nodeName": "n1", "containers": [container]})
    cluster.delete(NAMESPACES, "t1")
    assert cluster.names("services", "t1") == []
    assert cluster.server.objects.get(("namespaces", "", "t1")) is not None
    with pytest.raises(Refusal) as refused:
        cluster.service("late", namespace="t1")
    assert refused.value.causes == ("NamespaceTerminating",)
    cluster.server.delete(cluster.target(PODS, "web-0", "t1"), b'{"gracePeriodSeconds":0}', {})
    assert cluster.server.objects.get(("namespaces", "", "t1")) is None


def test_without_controllers_everything_waits() -> None:
    cluster = Cluster(Knobs(collects_garbage=False))
    cluster.slice("left", owner(cluster.service("web")))
    cluster.delete(SERVICES, "web")
    assert cluster.names("endpointslices") == ["left"]
    cluster.delete(NAMESPACES, "default")
    assert cluster.names("endpointslices") == ["left"]


def test_addresses_are_given_back() -> None:
    cluster = Cluster(Knobs(service_ranges=("10.96.0.0/28",)))
    for _ in range(20):
        assert cluster.service("web")["spec"]["clusterIP"].startswith("10.96.0.")
        cluster.delete(SERVICES, "web")


def test_the_same_seed_makes_the_same_cluster() -> None:
    first, second = (Cluster().service("web") for _ in range(2))
    assert first == second
    assert first["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
