"""The HTTP side that a real API server does not have: tokens in paths, restarts, cut watches."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import pytest

from zenlead.kube.resources import SERVICES
from zenlead.sandbox.box import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = json.dumps({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}).encode()


async def test_the_token_may_be_in_the_path() -> None:
    async with Sandbox(token="secret") as box, aiohttp.ClientSession() as session:
        assert box.url_with_token == f"{box.url}/with-token/secret"
        for url, status in (
            (box.url, 401),
            (box.url_with_token, 200),
            (f"{box.url}/with-token/other", 401),
        ):
            async with session.get(url + SERVICES.path()) as answer:
                assert answer.status == status
        async with session.get(f"{box.url_with_token}/openapi/v3") as answer:
            paths = (await answer.json())["paths"]
        # Where the documents are is said as this client sees it.
        assert paths["api/v1"]["serverRelativeURL"].startswith("/with-token/secret/openapi/v3/api/v1")
        assert repr(box).count("secret") == 0


async def test_probes_need_no_token() -> None:
    async with Sandbox() as box, aiohttp.ClientSession() as session:
        for path in ("/healthz", "/livez", "/readyz", "/version"):
            async with session.get(box.url + path) as answer:
                assert answer.status == 200


async def test_the_kubeconfig_goes_with_the_sandbox(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    async with Sandbox(kubeconfig=path) as box:
        assert path.stat().st_mode & 0o777 == 0o600
        config = msgspec.yaml.decode(path.read_bytes())
        assert config["clusters"][0]["cluster"]["server"] == box.url_with_token
    assert not path.exists()


async def test_a_taken_port_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    async with Sandbox() as box:
        port = int(box.url.rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"):
            async with Sandbox(port=port, kubeconfig=tmp_path / "kubeconfig"):
                pytest.fail("the port is taken")
    assert not (tmp_path / "kubeconfig").exists()


async def test_a_watcher_that_goes_away_is_forgotten() -> None:
    async with Sandbox() as box:
        headers = {"Authorization": f"Bearer {box.token}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.get(box.url + SERVICES.path(), params={"watch": "1"}) as answer:
                await box.api.create(SERVICES, "default", SERVICE)
                assert b"ADDED" in await answer.content.readline()
                assert repr(box.server.watches) == "Watches(open=1)"
                answer.close()
            for _ in range(1000):
                if repr(box.server.watches) == "Watches(open=0)":
                    break
                await asyncio.sleep(0.01)
        assert repr(box.server.watches) == "Watches(open=0)"


async def test_stopping_ends_open_watches() -> None:
    async with aiohttp.ClientSession() as session:
        async with Sandbox() as box:
            answer = await session.get(box.url_with_token + SERVICES.path(), params={"watch": "1"})
            assert answer.status == 200
        assert await asyncio.wait_for(answer.content.read(), 10) == b""
        answer.close()


async def test_a_body_that_is_too_large_is_refused() -> None:
    async with Sandbox() as box, aiohttp.ClientSession() as session:
        large = b'{"metadata":{"name":"' + b"x" * (4 * 1024 * 1024) + b'"}}'
        async with session.post(
            box.url_with_token + SERVICES.path("default"), data=io.BytesIO(large)
        ) as answer:
            assert answer.status == 413
            assert (await answer.json())["reason"] == "RequestEntityTooLarge"
