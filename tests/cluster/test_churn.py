"""Two hundred Services under random churn: at every moment what clients were promised, and quiet in the end.

``ZENLEAD_TEST_CHURN_S`` makes it longer, ``ZENLEAD_TEST_SEED`` another one; figures are printed (``-s``).
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.cluster.churn import Churn
from tests.cluster.history import history, keep
from tests.cluster.invariants import UNFIT, judge
from tests.cluster.recorder import Recorder
from zenlead.kube.resources import PODS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.fixtures import StartZenlead
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess

SERVICES = 200
SEED = int(os.environ.get("ZENLEAD_TEST_SEED", "1"))
CHURN_S = float(os.environ.get("ZENLEAD_TEST_CHURN_S", "20"))
DEEDS_PER_S = 15.0
QUIET_S = 10.0
SETTLES_S = 60.0  # Events are told at 20 a second, and 200 Services are opted in at once
AROUND_S = 180.0  # setting up, settling and judging, on busy cores


@pytest.mark.timeout(CHURN_S + AROUND_S)
async def test_churn_of_many_services(
    namespace: Namespace, zenlead_process: StartZenlead, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    churn = Churn(namespace, SEED, SERVICES)
    async with Recorder(namespace.client, namespace.name, also=(PODS,)) as recorder:
        await churn.populate()
        process = await zenlead_process()
        await recorder.quiet(2.0, timeout_s=SETTLES_S)
        started = loop.time()
        await churn.run(CHURN_S, DEEDS_PER_S)
        churned = loop.time()
        await recorder.quiet(2.0, timeout_s=SETTLES_S)
        settled_at = recorder.log[-1].at
        before, written = len(recorder.log), await writes(process)
        await asyncio.sleep(QUIET_S)
        late = [f"{r.at - churned:.1f} s: {r.type} {r.resource}/{r.name}" for r in recorder.log[before:]]
        assert late == []
        assert await writes(process) - written == Counter()
    # Until all are served for the first time, they wait for their turn in the routine lane.
    seen = history(recorder.log)
    verdict = judge(seen, excused=[(0.0, started)])
    print(
        f"\nseed {SEED}: {SERVICES} services, {churn.done.total()} deeds in {churned - started:.0f} s "
        f"({dict(churn.done)}); last revision {settled_at - churned:.1f} s after; {verdict}"
    )
    assert verdict.faults == [], "\n".join([*verdict.faults, str(keep(seen, tmp_path))])
    assert verdict.worst_s(UNFIT) > 0, "nobody ever lost a leader"


async def writes(process: ZenleadProcess) -> Counter[str]:
    """The writes that a zenlead has sent so far, its Lease aside; also those that changed nothing."""
    found = await process.metrics()
    return Counter({name: int(n) for name, n in found.items() if _is_write(name)})


def _is_write(metric: str) -> bool:
    return metric.startswith("zen_lead_writes_total") and 'lane="lease"' not in metric
