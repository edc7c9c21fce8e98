"""Ways to the API server: IPv6, a company's proxy, and the exceptions from it."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

import pytest

from tests.cluster import configs
from tests.cluster.connectproxy import ConnectProxy
from tests.cluster.controlplane import ControlPlane
from tests.cluster.scene import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess

NOWHERE = "http://127.0.0.1:9"  # nobody listens on the discard port
FAR = "api.example.test"  # a name that nobody resolves: only a proxy leads there


@pytest.fixture(scope="module")
def controlplane() -> Iterator[ControlPlane]:
    """On all addresses of this machine, of both families."""
    with ControlPlane(controllers=(), apiserver_args=("--bind-address=::",)) as plane:
        yield plane


@pytest.fixture
async def company_proxy(controlplane: ControlPlane) -> AsyncIterator[ConnectProxy]:
    async with ConnectProxy(controlplane.port) as proxy:
        yield proxy


def own_address() -> str:
    """An address of this machine, but not of loopback, which never goes through a proxy. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        address: str = probe.getsockname()[0]
        return address


class Way:
    """Starts zenlead with a kubeconfig that leads to ``host``, and looks whether it gets anywhere."""

    def __init__(
        self, plane: ControlPlane, where: Namespace, recorder: Recorder, start: StartZenlead, folder: Path
    ) -> None:
        self._plane = plane
        self._where = where
        self._recorder = recorder
        self._start = start
        self._folder = folder

    async def begin(self, host: str, environment: dict[str, str], **cluster: object) -> ZenleadProcess:
        user = {"token": self._plane.token}
        config = configs.write(
            self._folder / "config",
            f"https://{host}:{self._plane.port}",
            self._plane.ca,
            user,
            namespace=self._where.name,
            tls_server_name="localhost",
            **cluster,
        )
        await self._where.service("web")
        return await self._start(kubeconfig=config, env=environment, ready=False)

    async def works(self) -> None:
        await self._recorder.wait_leader("web-leader", "web-0", timeout_s=20.0)
        await self._where.pod_status("web-0", ready=False)
        await self._recorder.wait_leader("web-leader", "web-1", timeout_s=5.0)


@pytest.fixture
def way(
    controlplane: ControlPlane,
    pods: Namespace,
    recorder: Recorder,
    zenlead_process: StartZenlead,
    tmp_path: Path,
) -> Way:
    return Way(controlplane, pods, recorder, zenlead_process, tmp_path)


async def test_an_api_server_on_ipv6(way: Way) -> None:
    await way.begin("[::1]", {})
    await way.works()


async def test_a_server_that_only_a_proxy_reaches(way: Way, company_proxy: ConnectProxy) -> None:
    environment = {"HTTPS_PROXY": f"http://joe:pass-word@127.0.0.1:{company_proxy.port}"}
    process = await way.begin(FAR, {**environment, "NO_PROXY": "example.com,other.test,10.0.0.0/8"})
    await way.works()
    assert all(head.startswith(f"CONNECT {FAR}:") for head in company_proxy.asked)
    assert all("Proxy-Authorization: Basic" in head for head in company_proxy.asked)
    assert "pass-word" not in "\n".join(process.lines)


async def test_a_proxy_of_the_kubeconfig(way: Way, company_proxy: ConnectProxy) -> None:
    proxy_url = f"http://127.0.0.1:{company_proxy.port}"
    await way.begin(FAR, {"HTTPS_PROXY": NOWHERE, "NO_PROXY": "*"}, proxy_url=proxy_url)
    await way.works()
    assert company_proxy.asked


def rules_for(address: str) -> dict[str, str]:
    return {
        "exact": f"example.com, {address}",
        "range": f"example.com,{ipaddress.ip_network(f'{address}/16', strict=False)}",
        "all": "*",
    }


@pytest.mark.parametrize("kind", ["exact", "range", "all"])
async def test_an_exception_from_the_proxy_means_a_direct_connection(way: Way, kind: str) -> None:
    address = own_address()
    await way.begin(address, {"HTTPS_PROXY": NOWHERE, "NO_PROXY": rules_for(address)[kind]})
    await way.works()


@pytest.mark.parametrize("rule", [FAR, ".example.test", "*.example.test", "example.test"])
async def test_an_exception_by_name_goes_past_the_proxy(
    way: Way, company_proxy: ConnectProxy, rule: str
) -> None:
    """Nothing is there without it, which shows that zenlead has tried to go there by itself."""
    environment = {"HTTPS_PROXY": f"http://127.0.0.1:{company_proxy.port}", "NO_PROXY": f"other.test,{rule}"}
    process = await way.begin(FAR, environment)

    async def said() -> bool:
        return any(f"cannot connect to {FAR}" in line for line in process.lines)

    await eventually(said, f"it cannot reach {FAR} by itself", timeout_s=20.0)
    assert company_proxy.asked == []


async def test_without_an_exception_the_proxy_is_used(way: Way) -> None:
    process = await way.begin(own_address(), {"HTTPS_PROXY": NOWHERE, "NO_PROXY": "example.com,198.51.100.7"})

    async def said() -> bool:
        return any("cannot connect to the proxy" in line for line in process.lines)

    await eventually(said, "it cannot reach the proxy", timeout_s=20.0)
