"""The demo's picture at fixed sizes, and its lines and summary."""

from __future__ import annotations

import pytest

from tests.unit.sandbox.demo_scenes import Hearing, a_slice, endpoint, pod, world
from zenlead.sandbox import demo_lines
from zenlead.sandbox.demo_referee import Promise
from zenlead.sandbox.demo_screen import PLAIN_GLYPHS, Picture, draw
from zenlead.sandbox.demo_timeline import COLUMN_S, Timeline, quantile
from zenlead.sandbox.demo_world import World, differences

KUBECONFIG = "/run/zenlead-abcdefgh/config"


def performed() -> Hearing:
    """Ten seconds of requests and one failover in the middle."""
    scene = Hearing()
    _, b, c = scene.pods
    for beat in range(1, 250):
        scene.referee.answered(beat / 50, beat / 50 + 0.0016, endpoint(scene.pods[0]), "web-0")
    scene.referee.injected(5.0, "crashed")
    scene.referee.failed(5.0, 5.001, "refused")
    scene.referee.see(5.006, world(pod(0, ready=False), b, c, held=a_slice(b, epoch=2)))
    scene.referee.heard(5.008, endpoint(b))
    for beat in range(251, 500):
        scene.referee.answered(beat / 50, beat / 50 + 0.0016, endpoint(b), "web-1")
    return scene


def picture(scene: Hearing, seen: World | None = None, kubeconfig: str = KUBECONFIG) -> Picture:
    now = world(pod(0, ready=False), *scene.pods[1:], held=a_slice(scene.pods[1], epoch=2))
    notes = [(9.0 - index, f"note {index}") for index in range(40)]
    return Picture(9.999, 0.0, seen or now, scene.referee, notes, kubeconfig, "a fault every 3.5 s", 500)


def text(scene: Hearing, width: int, height: int, seen: World | None = None) -> list[str]:
    lines = draw(picture(scene, seen), width, height)
    return ["".join(piece for piece, _ in line).rstrip() for line in lines]


def test_the_picture_at_80x24() -> None:
    assert text(performed(), 80, 24) == [
        " zenlead demo   web-leader → web-1, epoch 2           a fault every 3.5 s  0:09",
        "",
        " POD     STATE         ADDRESS      WHO ANSWERED IN THE LAST 9 s",
        " web-0   not ready     10.244.0.10  " + "━" * 18 + "·" * 25,
        " web-1   leader        10.244.0.11  " + "·" * 18 + "━" * 25,
        " web-2   ready         10.244.0.12  " + "·" * 43,
        " failed                1            " + "·" * 18 + "✗" + "·" * 24,
        " slowest               2 ms         " + "▂" * 43,
        "",
        " FAILOVER   FAULT                   FROM    TO         SLICE   ANSWER   LOST",
        " 1          crashed                 web-0   web-1       8 ms    22 ms      1",
        "",
        " WHAT HAPPENED",
        "     9.0 s  note 0",
        "     8.0 s  note 1",
        "     7.0 s  note 2",
        "     6.0 s  note 3",
        "     5.0 s  note 4",
        "",
        " ✓ every promise kept   500 requests, 1 lost in failovers, longest gap 40 ms",
        "",
        f" export KUBECONFIG={KUBECONFIG}",
        " kubectl get pods,svc,endpointslices",
        " Try kubectl delete pod web-1. Ctrl-C ends.",
    ]


def test_a_wide_terminal_has_the_command_in_one_line() -> None:
    lines = text(performed(), 140, 40)
    assert len(lines) == 40
    assert lines[-2] == f" {demo_lines.join_line(KUBECONFIG)}"
    assert lines[3].endswith("━" * 25 + "·" * 25)
    assert lines[-1].endswith("zen-lead.io/enabled-. Ctrl-C ends.")


@pytest.mark.parametrize("width", [1, 20, 40, 60, 79, 80, 81, 100, 132, 250])
@pytest.mark.parametrize("height", [1, 5, 14, 17, 20, 24, 25, 31, 60])
def test_the_picture_fits_every_terminal(width: int, height: int) -> None:
    lines = text(performed(), width, height)
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width
    assert lines[0].startswith(" zenlead demo"[:width].rstrip())


def test_a_long_path_is_folded_but_never_cut() -> None:
    path = "/var/folders/" + "x" * 100 + "/config"
    lines = draw(picture(performed(), kubeconfig=path), 80, 24)
    joined = "".join("".join(piece for piece, _ in line).removeprefix(" ") for line in lines[-5:])
    assert f"export KUBECONFIG={path}kubectl get" in joined
    assert len(lines) == 24


def test_many_failovers_leave_room_for_the_notes() -> None:
    scene = performed()
    scene.referee.stopwatch.past *= 30
    lines = text(scene, 80, 24)
    assert len(lines) == 24
    assert sum("crashed" in line for line in lines) >= 3
    assert "     9.0 s  note 0" in lines


def test_the_title_says_what_a_visitor_did() -> None:
    scene = performed()
    out = world(*scene.pods, held=None, annotations={})
    lines = text(scene, 80, 24, out)
    assert "the Service web is opted out" in lines[0]
    assert lines[-1] == " Go on with kubectl annotate svc web zen-lead.io/enabled=true. Ctrl-C ends."
    assert "the Service web is gone" in text(scene, 100, 24, World())[0]
    assert "no leader" in text(scene, 100, 24, world(held=a_slice(epoch=3)))[0]
    assert any("promises rest" in line for line in text(scene, 100, 24, out))


def test_a_breach_is_shown_with_its_reason() -> None:
    scene = performed()
    scene.referee.stuck(9.0, "nothing moves")
    lines = text(scene, 80, 24)
    assert any(line.startswith(" ✗ 1 breach ") for line in lines)
    assert any("nothing moves" in line for line in lines)
    assert len(lines) == 24


def test_every_glyph_has_a_plain_form() -> None:
    lines = text(performed(), 80, 24)
    assert "\n".join(lines).translate(PLAIN_GLYPHS).isascii()


def test_the_line_of_a_failover_fits_80_columns() -> None:
    scene = performed()
    line = demo_lines.at(7.123, demo_lines.failover_line(scene.failovers[0]))
    assert line == ("   7.12 s  failover 1  crashed    web-0 -> web-1  slice   8 ms  answer  22 ms, 1 lost")


def test_the_summary() -> None:
    scene = performed()
    lines = list(demo_lines.summary(scene.referee, 500, 10.0, 0.0))
    assert lines == [
        "failovers                count   slice p50      max   answer p50      max   lost",
        "  crashed                    1        8 ms     8 ms        22 ms    22 ms      1",
        "  all                        1        8 ms     8 ms        22 ms    22 ms      1",
        "",
        "requests    500 sent in 10 s, 499 answered",
        "            1 lost in failovers, 0 failed outside of them",
        "            answered in 2 ms (p50), 2 ms (p99)",
        "            longest time without an answer 40 ms",
        "",
        *(
            f"{'' if number else 'promises':<12}kept        {promise.value}"
            for number, promise in enumerate(Promise)
        ),
        "",
        "1 failover, every promise kept, in 2 states of the cluster.",
    ]
    assert max(map(len, lines)) <= 80


def test_the_summary_names_what_was_broken() -> None:
    scene = performed()
    scene.referee.stuck(9.5, "nothing moves")
    lines = list(demo_lines.summary(scene.referee, 500, 10.0, 1.0))
    assert f"            BROKEN 1x   {Promise.FILLED.value}" in lines
    assert "            at 8.50 s: nothing moves" in lines
    assert lines[-1] == "1 failover, and not every promise was kept: 1 breach."


def test_a_run_without_failovers_has_a_summary_too() -> None:
    assert list(demo_lines.summary(Hearing().referee, 1, 1.0, 0.0))[:2] == [
        "failovers                count   slice p50      max   answer p50      max   lost",
        "  none",
    ]


def test_columns_end_at_now_and_silence_is_none() -> None:
    timeline = Timeline()
    timeline.answered(0.0, 0.1, "web-0")
    timeline.failed(3 * COLUMN_S + 0.01)
    columns = timeline.columns(4 * COLUMN_S + 0.01, 5)
    assert [column is not None for column in columns] == [True, False, False, True, False]


def test_gaps_do_not_span_a_rest() -> None:
    timeline = Timeline()
    timeline.answered(0.0, 1.0, "web-0")
    timeline.answered(0.0, 1.5, "web-0")
    timeline.rest()
    timeline.answered(0.0, 9.0, "web-0")
    assert timeline.longest_gap_s == 0.5


def test_quantiles_are_of_the_values() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert quantile([], 0.5) == 0.0


def test_what_happened_between_two_worlds() -> None:
    a, b, c = pod(0), pod(1), pod(2)
    before = world(a, b, c, held=a_slice(a, epoch=1))
    assert list(differences(before, world(pod(0, deleted=True), b, c, held=a_slice(b, epoch=2)))) == [
        "web-0 is terminating",
        "web-1 leads, epoch 2",
    ]
    assert list(differences(before, world(a, b, c, held=None, annotations={}))) == [
        "the Service web opted out",
        "web-leader leads to no pod",
    ]
    assert list(differences(before, world(b, c, held=a_slice(a, epoch=1)))) == ["web-0 is gone"]
    assert list(differences(before, World())) == [
        "the Service web was deleted",
        "web-0 is gone",
        "web-1 is gone",
        "web-2 is gone",
        "web-leader leads to no pod",
    ]
