"""A process that is given secrets in every way, and to which much happens: none of them is said.

Its whole log (at debug), metrics and probes, what it wrote to the cluster and its last words are searched.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster import configs
from tests.cluster.connectproxy import ConnectProxy
from tests.cluster.faultproxy import Answer, DropReply, Fault, Rule, refusal
from tests.cluster.scene import eventually
from zenlead.kube.resources import ENDPOINT_SLICES, EVENTS, LEASES, PODS, SERVICES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.faultproxy import FaultProxy
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess

TOKEN = "tok-5ecret-of-the-user"
PASSWORD = "pass-5ecret-of-the-user"
PROXY_PASSWORD = "prox-5ecret"
NEVER = ("5ecret", base64.b64encode(f"joe:{PASSWORD}".encode()).decode(), "PRIVATE KEY")
EACH_FAULT_S = 0.6
PLUGIN = f"""#!/bin/sh
echo '{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
 "status": {{"token": "{TOKEN}"}}}}'
"""


class Users:
    """A user entry of each kind."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self._plane = plane
        self.folder = folder

    def entry(self, kind: str) -> dict[str, Any]:
        match kind:
            case "token file":
                (self.folder / "token").write_text(TOKEN)
                return {"tokenFile": str(self.folder / "token")}
            case "password":
                return {"username": "joe", "password": PASSWORD}
            case "plugin":
                plugin = self.folder / "plugin"
                plugin.write_text(PLUGIN)
                plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
                environment = [{"name": "PATH", "value": os.environ["PATH"]}]
                environment.append({"name": "PLUGIN_KEY", "value": f"{TOKEN}-for-the-plugin"})
                version = "client.authentication.k8s.io/v1"
                return {"exec": {"apiVersion": version, "command": str(plugin), "env": environment}}
        pair = self._plane.client_certificate("somebody")
        data = {"client-certificate-data": pair.certificate, "client-key-data": pair.key}
        return {key: base64.b64encode(pem).decode() for key, pem in data.items()}


def faults(kind: str) -> list[Fault]:
    """Refusals that repeat what was sent with this kind of user, as debugging proxies do, and plain ones."""
    sent = {"password": f"Basic {NEVER[1]} joe:{PASSWORD}", "certificate": ""}.get(kind, f"Bearer {TOKEN}")
    sent = f"Authorization: {sent} Proxy {PROXY_PASSWORD}"
    found: list[Fault] = [Answer(502, f"<html><pre>{sent}".encode()), refusal(403, "Forbidden"), DropReply()]
    said = json.dumps({"kind": "Status", "message": sent, "reason": sent}).encode()
    return [*found, *(Answer(code, said) for code in (400, 403, 404, 409, 410, 429, 500, 401))]


@pytest.fixture
def users(controlplane: ControlPlane, proxy: FaultProxy, tmp_path: Path) -> Users:
    """Whoever comes by ``proxy`` is let in as the administrator."""
    proxy.speaks_as = f"Bearer {controlplane.token}"
    return Users(controlplane, tmp_path)


@pytest.mark.parametrize("kind", ["token file", "password", "plugin", "certificate"])
async def test_no_secret_is_said(
    pods: Namespace, proxy: FaultProxy, users: Users, zenlead_process: StartZenlead, kind: str
) -> None:
    user = users.entry(kind)
    async with ConnectProxy(proxy.port) as company:
        config = configs.write(
            users.folder / "config",
            f"https://127.0.0.1:{proxy.port}",
            proxy.ca,
            user,
            namespace=pods.name,
            proxy_url=f"http://joe:{PROXY_PASSWORD}@127.0.0.1:{company.port}",
        )
        process = await zenlead_process("--log-level=debug", kubeconfig=config)
        await pods.service("web")
        *bearable, unauthorized = faults(kind)
        await suffer(pods, proxy, company, bearable)
        await eventually(lambda: leads(pods), "it has recovered from everything", timeout_s=60.0)
        said = await everything_said(process, pods)
        refused = proxy.on(lambda a: True, unauthorized)
        for stream in proxy.streams:
            if not stream.closed:
                await stream.cut()
        assert await process.wait(40.0) != 0, "credentials that stay refused end it"
        refused.lift()
    said += "\n".join(process.lines)
    assert "watch.restarted" in said
    for secret in (*NEVER, *(value for key, value in user.items() if key == "client-key-data")):
        assert secret not in said


async def suffer(where: Namespace, proxy: FaultProxy, company: ConnectProxy, bearable: list[Fault]) -> None:
    """Every fault in turn for all requests, with something to do meanwhile."""
    for number, fault in enumerate(bearable):
        rule: Rule = proxy.on(lambda a: True, fault)
        for stream in proxy.streams:
            if not stream.closed:
                await stream.cut()
        await where.pod_status(f"web-{number % 3}", ready=bool(number % 2))
        await asyncio.sleep(EACH_FAULT_S)
        rule.lift()
    for answer in (b"407 Proxy Authentication Required", b"502 " + PROXY_PASSWORD.encode(), b"200 OK"):
        company.answer = answer
        for stream in proxy.streams:
            if not stream.closed:
                await stream.cut()
        await asyncio.sleep(EACH_FAULT_S)
    for number in range(3):
        await where.pod_status(f"web-{number}", ready=True)


async def leads(where: Namespace) -> bool:
    return any(item["endpoints"] for item in await where.slices_of("web-leader"))


async def everything_said(process: ZenleadProcess, where: Namespace) -> str:
    """Log, metrics, probes, and every object that it may have written."""
    urls = (process.metrics_url, *(f"{process.health_url}/{path}?verbose" for path in ("readyz", "healthz")))
    said = [(await process.http(url))[1] for url in urls]
    kinds = (EVENTS, LEASES, SERVICES, ENDPOINT_SLICES, PODS)
    objects = [await where.client.list(kind, where.name) for kind in kinds]
    return "\n".join([*said, json.dumps(objects)])
