"""A mounted config file of a real process: read at the start, followed afterwards, refused when broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cluster.scene import eventually
from tests.simulated.configmap import Mounted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace

OK = "zen_lead_config_last_reload_successful"


async def test_a_process_follows_its_file(
    pods: Namespace, recorder: Recorder, zenlead_process: StartZenlead, tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir()
    mounted = Mounted(tmp_path / "config", "logLevel: error\nwriteConditions: false\n")
    await pods.service("web")
    zenlead = await zenlead_process(env={"ZEN_LEAD_CONFIG": str(mounted.path), "LOG_LEVEL": ""})
    await recorder.wait_leader("web-leader", "web-0")
    assert zenlead.records == [], "only errors are shown, and there are none"

    async def told(event: str) -> list[object] | None:
        return [line for line in zenlead.records if line["event"] == event] or None

    mounted.put("logLevel: debug\nwriteConditions: true\nleaderElect: false\n")
    await eventually(lambda: told("config.reloaded"), "the file being taken over")
    (told_once,) = [line for line in zenlead.records if line["event"] == "config.needs_restart"]
    assert told_once["settings"] == ["leader-elect"]
    await eventually(lambda: told("write.done"), "the condition, written and told")
    assert (await zenlead.metrics())[OK] == 1

    mounted.put("logLevel: loud\n")
    (refused,) = await eventually(lambda: told("config.refused"), "the broken file being refused")
    assert "--log-level: 'loud'" in refused["problems"][0]
    assert (await zenlead.metrics())[OK] == 0
    await pods.pod_status("web-0", ready=False)
    await recorder.wait_leader("web-leader", "web-1")
    zenlead.terminate()
    assert await zenlead.wait() == 0
