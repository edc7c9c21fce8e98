"""What zenlead cannot recover from ends it soon, with an exit code and one line that names the cause."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from tests.cluster.faultproxy import refusal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.faultproxy import FaultProxy
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess

WITHIN_S = 10.0


def last_words(process: ZenleadProcess) -> list[str]:
    """What it printed for people, the log apart."""
    return [line for line in process.lines if line and not line.startswith("{")]


@pytest.mark.parametrize("before", ["at the start", "later"])
async def test_credentials_that_stay_refused(
    namespace: Namespace, proxy: FaultProxy, zenlead_process: StartZenlead, tmp_path: Path, before: str
) -> None:
    config = proxy.kubeconfig(tmp_path / "proxied.kubeconfig", namespace.name)
    process = await zenlead_process(kubeconfig=config, ready=before == "later")
    proxy.on(lambda asked: asked.is_watch, refusal(401, "Unauthorized", "token expired"))
    for stream in proxy.streams:
        if not stream.closed:
            await stream.cut()
    started = asyncio.get_running_loop().time()
    assert await process.wait(WITHIN_S + 10.0) == 1
    assert asyncio.get_running_loop().time() - started <= WITHIN_S
    (words,) = last_words(process)
    assert "401" in words
    assert "Traceback" not in "\n".join(process.lines)


@pytest.mark.parametrize(
    "flag", ["--metrics-bind-address=:::8080", "--health-probe-bind-address=127.0.0.1:http"]
)
async def test_an_address_that_is_none(zenlead_process: StartZenlead, flag: str) -> None:
    process = await zenlead_process(flag, ready=False)
    assert await process.wait(WITHIN_S) == 2
    (words,) = last_words(process)
    assert flag.partition("=")[0] in words
    assert flag.partition("=")[2] in words


@pytest.mark.parametrize("flag", ["--metrics-bind-address", "--health-probe-bind-address"])
async def test_a_port_in_use(zenlead_process: StartZenlead, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = await zenlead_process(f"{flag}={address}", ready=False)
        assert await process.wait(WITHIN_S) == 1
    (words,) = last_words(process)
    assert flag in words
    assert address in words
