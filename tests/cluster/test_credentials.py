"""Credentials that rotate, expire and are refused: one renewal, no storm, and the leader moves as ever."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from typing import TYPE_CHECKING

import pytest

from tests.cluster import configs
from tests.cluster.faultproxy import refusal
from zenlead.kube.resources import PODS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.controlplane import ControlPlane
    from tests.cluster.faultproxy import Asked, FaultProxy
    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

SLICE = "web-leader"
STREAMS = 3  # Services, slices and pods
# Requests that may be on their way with the old token: each stream's next one, a renewal of the Lease, the
# writes of a failover. Each is refused once; a second round would be a storm.
REFUSED_AT_MOST = STREAMS + 5
UNAUTHORIZED = refusal(401, "Unauthorized", "Unauthorized")
LIFE_S = 15  # of a plugin's token
RENEWALS_S = 28.0
PLUGIN = """#!/bin/sh
echo run >> "{folder}/runs"
end=$(date -u -d "+{life} seconds" +%Y-%m-%dT%H:%M:%SZ)
token="plugin-token-$(date +%s)"
cat <<END
{{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
 "status": {{"token": "$token", "expirationTimestamp": "$end"}}}}
END
"""


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
def door(controlplane: ControlPlane, proxy: FaultProxy) -> FaultProxy:
    """A way in that takes whatever token the test's rules take."""
    proxy.speaks_as = f"Bearer {controlplane.token}"
    return proxy


async def cut_all(proxy: FaultProxy) -> None:
    for stream in proxy.streams:
        if not stream.closed:
            await stream.cut()


async def fails_over(where: Namespace, recorder: Recorder, *, within_s: float = 5.0) -> None:
    leader = recorder.leaders(SLICE)[-1]
    started = now()
    await where.pod_status(leader, ready=False)
    await recorder.wait_leader(SLICE, f"web-{int(leader[-1]) + 1}", since=started, timeout_s=within_s)


async def test_a_token_file_that_was_replaced_and_the_old_token_refused_everywhere_at_once(
    pods: Namespace,
    recorder: Recorder,
    door: FaultProxy,
    zenlead_process: StartZenlead,
    tmp_path: Path,
) -> None:
    await pods.service("web")
    token = tmp_path / "token"
    token.write_text("token-of-yesterday")
    url = f"https://127.0.0.1:{door.port}"
    config = configs.write(tmp_path / "config", url, door.ca, {"tokenFile": str(token)}, namespace=pods.name)
    process = await zenlead_process("--log-level=debug", kubeconfig=config)
    await recorder.wait_leader(SLICE, "web-0")
    await recorder.quiet(0.6)
    assert {a.authorization for a in door.asked} == {"Bearer token-of-yesterday"}

    token.write_text("token-of-today\n")
    refused = door.on(lambda a: a.authorization != "Bearer token-of-today", UNAUTHORIZED)
    started = now()
    await cut_all(door)
    await fails_over(pods, recorder)
    await asyncio.sleep(4.0)
    assert 1 <= len(refused.struck) <= REFUSED_AT_MOST
    after = {a.authorization for a in door.asked if a.at > started + 1.0}
    assert after == {"Bearer token-of-today"}
    assert door.full_lists(PODS, since=started) == [], "what was known was not asked for anew"
    await fails_over(pods, recorder)
    log = "\n".join(process.lines)
    assert "token-of-" not in log


async def test_an_exec_plugin_whose_tokens_expire(
    pods: Namespace,
    recorder: Recorder,
    door: FaultProxy,
    zenlead_process: StartZenlead,
    tmp_path: Path,
) -> None:
    await pods.service("web")
    plugin = tmp_path / "plugin"
    plugin.write_text(PLUGIN.format(folder=tmp_path, life=LIFE_S))
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)

    def is_over(asked: Asked) -> bool:
        _, _, issued = asked.authorization.rpartition("-")
        return not issued.isdigit() or time.time() > int(issued) + LIFE_S + 1

    refused = door.on(is_over, UNAUTHORIZED)
    exec_entry = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "env": [{"name": "PATH", "value": os.environ["PATH"]}],
        "interactiveMode": "Never",
    }
    url = f"https://127.0.0.1:{door.port}"
    config = configs.write(tmp_path / "config", url, door.ca, {"exec": exec_entry}, namespace=pods.name)
    process = await zenlead_process("--log-level=debug", kubeconfig=config)
    await recorder.wait_leader(SLICE, "web-0")
    await asyncio.sleep(RENEWALS_S)
    await fails_over(pods, recorder)
    runs = (tmp_path / "runs").read_text().count("run")
    assert 2 <= runs <= 1 + RENEWALS_S / (LIFE_S * 0.8) + 1
    assert len({a.authorization for a in door.asked}) == runs, "a token was fetched and not used"
    assert refused.struck == [], "a token was used after its end"
    assert "plugin-token" not in "\n".join(process.lines)
