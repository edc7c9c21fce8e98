"""The annotations that say who leads, from outside: what the slice shows when they are set, and changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.cluster.led import AT_ONCE_S, Led, now
from zenlead.kube.resources import PODS

if TYPE_CHECKING:
    from tests.cluster.recorder import Recorder
    from tests.cluster.scene import Namespace
    from tests.cluster.zenlead_process import ZenleadProcess

SECOND_S = 1.05  # Kubernetes tells the age of a pod in whole seconds
TRUE = ("1", "t", "T", "TRUE", "true", "True")
FALSE = ("0", "f", "F", "FALSE", "false", "False")
NEITHER = ("yes", "", " true", "tRUE")


async def test_strategy_ranks_the_candidates(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    for name, restarts in (("web-10", 3), ("web-1", 2), ("web-7", 0), ("web-2", 1)):
        await namespace.pod(name)
        await namespace.pod_status(name, restarts=restarts, ready=True)
        await asyncio.sleep(SECOND_S)
    expected = {
        "oldest": "web-10",
        "newest": "web-2",
        "ordinal": "web-1",
        "least-restarts": "web-7",
        "fastest": "web-10",  # is none, so the default ranks
    }
    for strategy, leader in expected.items():
        annotations = {"zen-lead.io/strategy": strategy}
        await namespace.service(strategy, selector={"app": "web"}, annotations=annotations)
        await recorder.wait_leader(f"{strategy}-leader", leader)
    # A change asks the ranking anew only where the leader does not stay anyway.
    await namespace.annotate("oldest", {"zen-lead.io/strategy": "newest"})
    await namespace.annotate("ordinal", {"zen-lead.io/strategy": "newest", "zen-lead.io/sticky": "false"})
    await recorder.wait_leader("ordinal-leader", "web-2")
    await recorder.quiet(0.6)
    assert recorder.leaders("oldest-leader") == ["web-10"]
    assert recorder.leaders("ordinal-leader") == ["web-1", "web-2"]


async def test_strategy_random_draws_once_for_each_service(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    for index in range(4):
        await namespace.pod(f"web-{index}")
    names = [f"random-{number}-leader" for number in range(12)]
    for name in names:
        annotations = {"zen-lead.io/strategy": "random", "zen-lead.io/sticky": "false"}
        await namespace.service(
            name.removesuffix("-leader"), selector={"app": "web"}, annotations=annotations
        )
    for name in names:
        await recorder.wait(lambda r, name=name: r.name == name and r.leaders, f"{name} is led")
    await namespace.pod_status("web-3", ready=True, restarts=5)  # each Service is looked at again
    await recorder.quiet(0.6)
    drawn = [recorder.leaders(name) for name in names]
    assert {len(leaders) for leaders in drawn} == {1}, "nobody who drew a lot draws another"
    assert len({leader for (leader,) in drawn}) > 1, "and not all drew the same (once in four millions)"


async def test_sticky_as_go_reads_booleans(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    await namespace.pod("web-0", ready=False)
    await namespace.pod("web-1")
    values = dict(enumerate((*TRUE, *FALSE, *NEITHER)))
    for index, value in values.items():
        annotations = {"zen-lead.io/sticky": value}
        await namespace.service(f"s{index}", selector={"app": "web"}, annotations=annotations)
    for index in values:
        await recorder.wait_leader(f"s{index}-leader", "web-1")
    await namespace.pod_status("web-0", ready=True)
    for index, value in values.items():
        if value in FALSE:
            await recorder.wait_leader(f"s{index}-leader", "web-0", timeout_s=AT_ONCE_S + 5)
    await recorder.quiet(0.6)
    for index, value in values.items():
        followed = ["web-1", "web-0"] if value in FALSE else ["web-1"]
        assert recorder.leaders(f"s{index}-leader") == followed, value
        told = recorder.events("InvalidAnnotation", regarding=f"s{index}")
        assert len(told) == (value in NEITHER), value


async def test_candidate_false_never_leads_as_label_or_annotation(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    key = "zen-lead.io/candidate"
    web = Led(namespace, recorder)
    await web.add_pod(0, labels={key: "false"})
    await web.add_pod(1, annotations={key: "f"})
    await web.add_pod(2, annotations={key: "perhaps"})  # is told, and is a candidate
    await web.add_pod(3)
    await web.opt_in()
    await web.led_by(2)
    (note,) = await web.hears("InvalidAnnotation")
    assert f"{key} of pod web-2" in note
    assert "'perhaps'" in note
    # Said of the leader, it moves; taken back, it counts again.
    started = now()
    await namespace.relabel("web-2", {key: "0"})
    await web.led_by(3, since=started, within_s=AT_ONCE_S)
    assert "candidate" in (await web.hears("LeaderChanged"))[0]
    await namespace.relabel("web-0", {key: None})
    await namespace.annotate("web-1", {key: None}, PODS)
    await web.ready(3, ready=False)
    await web.led_by(0, since=started)
    await recorder.quiet(0.6)
    assert web.moves() == ["web-2", "web-3", "web-0"]


async def test_priority_ranks_first_as_label_or_annotation(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    key = "zen-lead.io/priority"
    web = Led(namespace, recorder)
    await web.add_pod(0, annotations={key: "-1"})
    await web.add_pod(1)
    await web.add_pod(2, annotations={key: "5"})
    await web.add_pod(3, labels={key: "10"})
    await web.add_pod(4, annotations={key: "most"})
    await web.opt_in()
    await web.led_by(3)
    for index, follower in ((3, 2), (2, 1), (1, 4), (4, 0)):
        await web.ready(index, ready=False)
        await web.led_by(follower, within_s=AT_ONCE_S)
    (note,) = await web.hears("InvalidAnnotation")
    assert f"{key} of pod web-4" in note
    assert "an integer" in note


async def test_failback_to_a_pod_of_higher_priority(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    """Each Service is led by its only ready pod; then one of higher priority turns ready."""
    high = {"zen-lead.io/priority": "10"}

    async def story(name: str, moves_s: tuple[float, float] | None, **annotations: str) -> None:
        web = Led(namespace, recorder, name)
        await web.add_pod(0, labels=high, ready=False)
        await web.add_pod(1)
        await web.add_pod(2, annotations={"zen-lead.io/priority": "-1"})
        await web.opt_in(**annotations)
        await web.led_by(1)
        started = now()
        await web.ready(0)
        if moves_s is None:
            await asyncio.sleep(4.0)
            assert web.moves() == [f"{name}-1"], name
            return
        moved = await web.led_by(0, since=started)
        least_s, most_s = moves_s
        assert least_s <= moved.at - started <= most_s, name
        assert web.slice_writes(started) == 1
        assert "outranked" in (await web.hears("LeaderChanged"))[0]

    async with asyncio.TaskGroup() as stories:
        stories.create_task(story("at-once", (0.0, AT_ONCE_S), failback="immediate"))
        stories.create_task(story("after", (2.0 - SECOND_S, 2.0 + AT_ONCE_S), failback="after:2s"))
        stories.create_task(story("later", None, failback="after:1h"))
        stories.create_task(story("never", None, failback="never"))
        stories.create_task(story("default", None))
        stories.create_task(story("wrong", None, failback="5m"))
        stories.create_task(story("unsticky", (0.0, AT_ONCE_S), sticky="false"))
    assert {e["regarding"]["name"] for e in recorder.events("InvalidAnnotation")} == {"wrong"}


async def test_failback_needs_a_higher_priority(
    namespace: Namespace, recorder: Recorder, everywhere: ZenleadProcess
) -> None:
    web = Led(namespace, recorder)
    await web.add_pod(0, ready=False)  # the oldest, of the same priority
    await web.add_pod(1)
    await web.opt_in(failback="immediate")
    await web.led_by(1)
    await web.ready(0)
    await recorder.quiet(0.8)
    assert web.moves() == ["web-1"]
    # What is said of a pod later counts as well.
    await namespace.annotate("web-0", {"zen-lead.io/priority": "1"}, PODS)
    await web.led_by(0, within_s=AT_ONCE_S)
