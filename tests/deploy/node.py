"""A node that runs zenlead's pods in earnest: as processes, with exactly their arguments and environment.

Knows what a kubelet does with a pod of one container. Refuses to know what runs in it. The rule not to break:
a process has the credentials of its pod's ServiceAccount and no others.

What a pod has of its own and a process has not are addresses, so ports are chosen here, by flags at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from typing import TYPE_CHECKING

import aiohttp

from tests.cluster.client import StatusError
from tests.cluster.kubelet import Kubelet
from tests.cluster.process import free_port, spawn
from tests.cluster.scene import SERVICE_ACCOUNTS, new_address
from tests.cluster.zenlead_process import ROOT, ZenleadProcess, environment
from zenlead.kube.resources import PODS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.cluster.client import Object
    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.scene import Namespace

REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
WATCH_AGAIN_S = 0.2
READY_TIMEOUT_S = 40.0  # three may start at a time


class ContainerProcess(ZenleadProcess):
    """``zenlead`` with the arguments of a container, and its addresses at the end where it serves."""

    def __init__(self, args: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.log = log
        metrics, health = free_port(), free_port()
        self.metrics_url = f"http://127.0.0.1:{metrics}/metrics"
        self.health_url = f"http://127.0.0.1:{health}"
        addresses = [
            f"--metrics-bind-address=127.0.0.1:{metrics}",
            f"--health-probe-bind-address=127.0.0.1:{health}",
        ]
        command = [sys.executable, "-m", "zenlead", *args, *addresses]
        self._process = spawn(command, log=log, env=environment(env), cwd=ROOT)


class Node(Kubelet):
    """Runs every pod of a namespace, and is told of none. ``processes``: by pod, also those that ended."""

    def __init__(self, namespace: Namespace, plane: ControlPlane, folder: Path) -> None:
        super().__init__(namespace, schedules=True)
        self._plane = plane
        self._folder = folder
        self.processes: dict[str, ContainerProcess] = {}

    async def __aexit__(self, *details: object) -> None:
        try:
            await super().__aexit__(*details)
        finally:
            for process in self.processes.values():
                process.close()

    async def token(self, account: str) -> str:
        """What proves to be a ServiceAccount of the namespace."""
        path = SERVICE_ACCOUNTS.path(self._namespace.name, account, "token")
        answer = await self._namespace.client.request("POST", path, {"spec": {}})
        token: str = answer["status"]["token"]
        return token

    async def _watch(self, tasks: asyncio.TaskGroup) -> None:
        while True:  # an API server that is restarted cuts the watch
            with contextlib.suppress(aiohttp.ClientError, StatusError):
                await super()._watch(tasks)
            await asyncio.sleep(WATCH_AGAIN_S)

    async def _run(self, name: str, *, bound: bool) -> None:
        try:
            if not bound:
                await self._bind(name)
            await self._start(name)
        except (StatusError, AssertionError):
            pod = await self._namespace.client.find(PODS, self._namespace.name, name)
            if pod is not None and "deletionTimestamp" not in pod["metadata"]:
                raise

    async def _start(self, name: str) -> None:
        client, namespace = self._namespace.client, self._namespace.name
        pod = await client.get(PODS, namespace, name)
        config = self._folder / f"{name}.kubeconfig"
        token = await self.token(pod["spec"]["serviceAccountName"])
        self._plane.kubeconfig(config, token=token, namespace="nobodys")
        args, env = command_of(pod)
        process = ContainerProcess(args, {**env, "KUBECONFIG": str(config)}, self._folder / f"{name}.log")
        self.processes[name] = process
        if pod["spec"]["restartPolicy"] == "Never":
            code = await process.wait(timeout_s=READY_TIMEOUT_S)
            await self._namespace.pod_status(name, phase="Failed" if code else "Succeeded")
            return
        await process.ready(READY_TIMEOUT_S)
        await self._namespace.pod_status(name, ready=True, addresses=[new_address()])

    async def _end(self, name: str) -> None:
        process = self.processes.get(name)
        if process is not None:
            process.terminate()
            await process.wait()
        with contextlib.suppress(StatusError):  # one that has ended by itself may be gone already
            await self._namespace.client.delete(PODS, self._namespace.name, name, grace_s=0)


def command_of(pod: Object) -> tuple[list[str], dict[str, str]]:
    """Arguments and environment of a pod's container, as a kubelet hands them over."""
    (container,) = pod["spec"]["containers"]
    fields = {f"metadata.{key}": pod["metadata"][key] for key in ("name", "namespace")}
    env: dict[str, str] = {}
    for entry in container["env"]:
        if "valueFrom" in entry:
            env[entry["name"]] = fields[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        else:
            env[entry["name"]] = entry.get("value", "")
    args = [REFERENCE.sub(lambda found: env[found[1]], argument) for argument in container["args"]]
    return args, env
