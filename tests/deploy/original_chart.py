"""A chart that makes a release as the Go zen-lead's chart does: what an upgrade finds and cannot all change.

Knows names, labels and kinds of its objects. Refuses to know its values: one release of one name is all that
is needed. There are no replicas, for there is nothing here to run in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

    Object = dict[str, Any]

NAME = "zen-lead"
CHOSEN = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": NAME}  # fixed for good
LABELS = CHOSEN | {
    "helm.sh/chart": "zen-lead-0.0.2-alpha",
    "app.kubernetes.io/version": "0.1.0",
    "app.kubernetes.io/managed-by": "Helm",
}
RBAC = "rbac.authorization.k8s.io"


def written(folder: Path, namespace: str) -> Path:
    """The folder of the chart."""
    chart = folder / "original"
    (chart / "templates").mkdir(parents=True)
    about = {"apiVersion": "v2", "name": NAME, "version": "0.0.2-alpha", "appVersion": "0.1.0"}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
    (chart / "templates" / "all.yaml").write_text(yaml.safe_dump_all(_objects(namespace)))
    return chart


def _objects(namespace: str) -> list[Object]:
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": namespace}
    container = {
        "name": "controller",
        "image": "kubezen/zen-lead:0.1.0",
        "args": [f"--leader-election-id={NAME}-zen-lead-controller-leader-election"],
        "ports": [{"name": "metrics", "containerPort": 8080}, {"name": "health", "containerPort": 8081}],
    }
    pod = {"serviceAccountName": NAME, "containers": [container]}
    read, write = ["get", "list", "watch"], ["create", "update", "patch"]
    everything = [*read, *write, "delete"]
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": read},
        {"apiGroups": [""], "resources": ["services"], "verbs": everything},
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": [*read, *write, "delete"],
        },
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": [*read, *write]},
    ]
    return [
        _object("v1", "ServiceAccount", namespace),
        _object(f"{RBAC}/v1", "Role", namespace, rules=rules),
        _object(
            f"{RBAC}/v1",
            "RoleBinding",
            namespace,
            roleRef={"apiGroup": RBAC, "kind": "Role", "name": NAME},
            subjects=[account],
        ),
        _object(
            "v1",
            "Service",
            namespace,
            spec={
                "type": "ClusterIP",
                "ports": [{"name": "metrics", "port": 8080, "targetPort": "metrics", "protocol": "TCP"}],
                "selector": CHOSEN,
            },
        ),
        _object(
            "apps/v1",
            "Deployment",
            namespace,
            spec={
                "replicas": 0,
                "selector": {"matchLabels": CHOSEN},
                "template": {"metadata": {"labels": CHOSEN}, "spec": pod},
            },
        ),
        _object(
            "policy/v1",
            "PodDisruptionBudget",
            namespace,
            spec={"minAvailable": 1, "selector": {"matchLabels": CHOSEN}},
        ),
    ]


def _object(version: str, kind: str, namespace: str, **fields: object) -> Object:
    meta = {"name": NAME, "namespace": namespace, "labels": LABELS}
    return {"apiVersion": version, "kind": kind, "metadata": meta, **fields}
