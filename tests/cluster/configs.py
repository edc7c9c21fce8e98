"""Kubeconfigs as people write them, for tests of credentials and networks.

Knows the file's shape. Refuses to know who reads it.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path


def write(
    path: Path, server: str, ca: bytes, user: dict[str, Any], *, namespace: str, **cluster: object
) -> Path:
    """A kubeconfig of one user; ``cluster`` adds to the cluster's entry (``_`` stands for ``-``)."""
    more = {key.replace("_", "-"): value for key, value in cluster.items()}
    authority = base64.b64encode(ca).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "k", "cluster": {"server": server, "certificate-authority-data": authority, **more}}
        ],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": namespace}}],
        "current-context": "c",
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path
