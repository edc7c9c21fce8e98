"""The picture of the demo for a terminal of any size, as lines of styled text.

Knows what stands where. Refuses to know how a terminal is drawn on (demo_live.py) and to remember anything: a
picture is a function of what is true now. The rule: every line fits the width, and there are never more lines
than the height; what matters least goes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from zenlead.sandbox.demo_lines import HINTS, OPT_IN, counted, fault, join_line, ms
from zenlead.sandbox.demo_referee import Referee  # noqa: TC001 - a field of a Struct
from zenlead.sandbox.demo_timeline import COLUMN_S, Column
from zenlead.sandbox.demo_world import POD_NAMES, SERVICE, World, is_fit, state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zenlead.sandbox.demo_failovers import Failover

Line: TypeAlias = list[tuple[str, str]]  # pieces of text, each with its style

STRONG, DIM, LEAD, WARN, BAD = "bold", "dim", "bold green", "yellow", "bold red"
LANES_AT = 36  # the column at which the time axis begins: name, state and address stand before it
NARROWEST = 20  # columns; what is narrower shows the left part
WIDEST = 132  # a line that is longer is hard to read
FLAT = 0.001  # seconds; the lowest step of the latency curve, each further step is twice that
STEPS = "▁▂▃▄▅▆▇█"
PLAIN_GLYPHS = str.maketrans("━·✗→✓▁▂▃▄▅▆▇█", "=.x>+_.-~=+*#")


class Picture(msgspec.Struct, frozen=True):
    """All that can be seen. ``now`` and ``started`` are loop times in seconds; ``notes`` are newest first."""

    now: float
    started: float
    world: World
    referee: Referee
    notes: Sequence[tuple[float, str]]
    kubeconfig: str
    act: str  # what the demo does by itself
    sent: int


def draw(picture: Picture, width: int, height: int) -> list[Line]:
    """The lines of the picture, top to bottom; at most ``height`` of at most ``width`` columns."""
    shown, width = width, max(NARROWEST, min(width, WIDEST))
    foot = [[], *_verdict(picture), [], *_join(picture, width)]
    head = [_title(picture, width), [], *_pods(picture, width)]
    room = height - len(head) - len(foot)
    middle = _middle(picture, max(0, room))
    blank: list[Line] = [[] for _ in range(room - len(middle))]
    lines = head + middle + blank + foot
    return [_cut(line, min(shown, width)) for line in lines[:height]]


def _title(picture: Picture, width: int) -> Line:
    world = picture.world
    line: Line = [(" zenlead demo", STRONG), ("   ", "")]
    if not world.exists:
        line.append((f"the Service {SERVICE} is gone for a moment", WARN))
    elif world.source is None:
        line.append((f"the Service {SERVICE} is opted out", WARN))
    elif not world.leader:
        line.append(("no leader", WARN))
    else:
        line += [(f"{SERVICE}-leader → ", ""), (world.leader, LEAD), (f", epoch {world.epoch}", "")]
    minutes, seconds = divmod(int(picture.now - picture.started), 60)
    right = f"{picture.act}  {minutes}:{seconds:02} "
    gap = width - sum(len(text) for text, _ in line) - len(right)
    return [*line, (" " * gap + right, DIM)] if gap > 0 else line


def _pods(picture: Picture, width: int) -> list[Line]:
    count = max(0, width - LANES_AT - 1)
    columns = picture.referee.timeline.columns(picture.now, count)
    span = f"WHO ANSWERED IN THE LAST {count * COLUMN_S:.0f} s"
    lines: list[Line] = [[(f" {'POD':<8}{'STATE':<14}{'ADDRESS':<13}{span}", DIM)]]
    for name in POD_NAMES:
        pod = picture.world.pods.get(name)
        leads = picture.world.leader == name
        fit = pod is not None and is_fit(pod)
        word = "leader" if leads and fit else state(pod)
        style = LEAD if leads and fit else "" if fit else WARN
        address = pod.ips[0] if pod is not None and pod.ips else "-"
        row: Line = [
            (f" {name:<8}", STRONG if leads else ""),
            (f"{word:<14}", style),
            (f"{address:<13}", DIM),
        ]
        lines.append(row + _lane(columns, name))
    failed = sum(column.failed for column in columns if column is not None)
    lines.append([(f" {'failed':<22}{failed:<13}", "" if failed else DIM), *_failures(columns)])
    slowest = max((column.slowest_s for column in columns if column is not None), default=0.0)
    lines.append([(f" {'slowest':<22}{ms(slowest):<13}", DIM), (_curve(columns), DIM)])
    return [*lines, []]


def _lane(columns: Sequence[Column | None], name: str) -> Line:
    marks = ["━" if column is not None and column.answered[name] else "·" for column in columns]
    return _runs(marks, {"━": "cyan", "·": DIM})


def _failures(columns: Sequence[Column | None]) -> Line:
    marks = ["✗" if column is not None and column.failed else "·" for column in columns]
    return _runs(marks, {"✗": BAD, "·": DIM})


def _runs(marks: Sequence[str], styles: dict[str, str]) -> Line:
    """Neighbours of one kind as one piece."""
    line: Line = []
    for mark in marks:
        if line and line[-1][0][0] == mark:
            line[-1] = (line[-1][0] + mark, line[-1][1])
        else:
            line.append((mark, styles[mark]))
    return line


def _curve(columns: Sequence[Column | None]) -> str:
    """The slowest answer of each column, on a scale in which each step is twice as slow."""
    text = ""
    for column in columns:
        if column is None or not column.slowest_s:
            text += " "
            continue
        step, reach = 0, FLAT
        while reach < column.slowest_s and step < len(STEPS) - 1:
            step, reach = step + 1, reach * 2
        text += STEPS[step]
    return text


def _middle(picture: Picture, room: int) -> list[Line]:
    """Failovers and what else happened, newest first, sharing what room there is."""
    notes_room = max(0, min((room - 4) // 2, len(picture.notes)))
    failovers = _failovers(picture, room - (notes_room + 2 if notes_room else 0))
    if not notes_room:
        return failovers
    left = room - len(failovers) - 2
    told: list[Line] = [
        [(f" {seconds - picture.started:7.1f} s  ", DIM), (text, "")]
        for seconds, text in list(picture.notes)[:left]
    ]
    return [*failovers, [], [(" WHAT HAPPENED", DIM)], *told]


def _failovers(picture: Picture, room: int) -> list[Line]:
    if room < 2:
        return []
    past = picture.referee.stopwatch.past
    header = f" {'FAILOVER':<11}{'FAULT':<24}{'FROM':<8}{'TO':<8}{'SLICE':>8}{'ANSWER':>9}{'LOST':>7}"
    lines: list[Line] = [[(header, DIM)]]
    lines += [_row(one, newest=one is past[-1]) for one in list(reversed(past))[: room - 1]]
    if not past:
        lines.append([(" none yet", DIM)])
    return lines


def _row(one: Failover, *, newest: bool) -> Line:
    return [
        (f" {one.number:<11}{fault(one):<24}{one.previous:<8}", ""),
        (f"{one.leader:<8}", "green" if newest else ""),
        (f"{ms(one.seen_s):>8}", ""),
        (f"{ms(one.answered_s):>9}", STRONG),
        (f"{one.lost:>7}", "" if one.lost else DIM),
    ]


def _verdict(picture: Picture) -> list[Line]:
    referee = picture.referee
    timeline = referee.timeline
    lost = timeline.failed_count - referee.lost_outside
    gap = ms(timeline.longest_gap_s)
    rest = f"   {picture.sent} requests, {lost} lost in failovers, longest gap {gap}"
    if not referee.breaches and not picture.world.is_as_deployed:
        return [[(" · promises rest for now", WARN), (rest, "")]]
    if not referee.breaches:
        return [[(" ✓ every promise kept", "green"), (rest, "")]]
    last = referee.broken[-1]
    return [
        [(f" ✗ {counted(referee.breaches.total(), 'breach', 'breaches')}", BAD), (rest, "")],
        [(f"   {last.promise.value}: {last.text}", BAD)],
    ]


def _join(picture: Picture, width: int) -> list[Line]:
    """The command for another terminal: never cut, since it is there to be copied."""
    command = join_line(picture.kubeconfig)
    parts = [command] if len(command) < width else command.split("; ")
    pieces = [part[start : start + width - 1] for part in parts for start in range(0, len(part), width - 1)]
    tries = f" Try {' or '.join(HINTS)}. Ctrl-C ends."
    if picture.world.exists and picture.world.source is None:
        tries = f" Go on with {OPT_IN}. Ctrl-C ends."
    elif len(tries) > width:
        tries = f" Try {HINTS[0]}. Ctrl-C ends."
    return [*([(f" {piece}", STRONG)] for piece in pieces), [(tries, DIM)]]


def _cut(line: Line, width: int) -> Line:
    """The line, no longer than the width."""
    pieces: Line = []
    for text, style in line:
        piece = text[:width]
        width -= len(piece)
        if piece:
            pieces.append((piece, style))
    return pieces
