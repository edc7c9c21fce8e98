"""The fenced blocks of the Markdown pages, and what is to be done with each.

Knows Markdown and the marks (HTML comments) in front of a block. Refuses to run anything. The rule not to
break: a block that nothing can be done with must say why, with one of the reasons that are listed here.
"""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])

NOT_RUN = {
    "a kind of another project": "its CustomResourceDefinition is not here; the YAML is still parsed",
    "a file of yours": "it names a file that only the reader has",
}
SHELL = frozenset({"sh", "bash", "console"})

_FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- ([a-z ]+): ?(.*?) -->")


class Use(enum.Enum):
    """What becomes of a block."""

    RUN = "its commands are run, and what they print is compared"
    APPLY = "the API server takes it (dry run)"
    CONFIG = "zenlead loads it as its configuration"
    ELSEWHERE = "a test of its own looks for it"
    QUERY = "Prometheus can parse it"
    SCRAPE = "Prometheus takes it as its configuration"
    PICTURE = "words or lines for people"
    EXCUSED = "not run, for one of the listed reasons"


class Block(NamedTuple):
    """One fenced block. ``marks``: (name, text) of the comments right before it, in order."""

    page: Path
    line: int
    language: str
    text: str
    marks: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def marked(self, name: str) -> list[str]:
        return [text for mark, text in self.marks if mark == name]


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for fence in _FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        found.append(Block(page, line, fence[1], fence[2], _marks_before(text[: fence.start()])))
    return found


def _marks_before(text: str) -> tuple[tuple[str, str], ...]:
    marks: list[tuple[str, str]] = []
    for line in reversed(text.splitlines()):
        mark = _MARK.fullmatch(line.strip())
        if mark is None:
            break
        marks.insert(0, (mark[1], mark[2]))
    return tuple(marks)


def use_of(block: Block) -> Use:
    """What to do with the block; ValueError when nobody could say."""
    for reason in block.marked("not run"):
        if reason not in NOT_RUN:
            raise ValueError(f"{block}: {reason!r} is no reason; there are {sorted(NOT_RUN)}")
        if block.language == "yaml":
            list(yaml.safe_load_all(block.text))
        return Use.EXCUSED
    if block.language in SHELL:
        return Use.RUN
    if block.language == "promql":
        return Use.QUERY
    if block.language in {"", "text"}:
        return Use.PICTURE
    if block.language == "yaml":
        if block.marked("example"):
            return Use.CONFIG
        if block.marked("rbac"):
            return Use.ELSEWHERE
        bodies = list(yaml.safe_load_all(block.text))
        if all(is_object(body) for body in bodies):
            return Use.APPLY
        if all(isinstance(body, dict) and "scrape_configs" in body for body in bodies):
            return Use.SCRAPE
    raise ValueError(f"{block}: nothing is known to do with this block ({block.language or 'no language'})")


def is_object(body: object) -> bool:
    """Whether a YAML document is a whole Kubernetes object."""
    return isinstance(body, dict) and {"apiVersion", "kind", "metadata"} <= body.keys()


class Step(NamedTuple):
    """A command and what it prints (None: nobody says)."""

    command: str
    prints: str | None


def steps(block: Block) -> list[Step]:
    """The commands of a shell block. In a ``console`` block they begin with ``$``; the rest is printed."""
    if block.language != "console":
        return [Step(block.text, None)]
    found: list[Step] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Step(line[2:], ""))
        elif found and found[-1].command.endswith("\\"):
            found[-1] = Step(f"{found[-1].command}\n{line}", "")
        elif found:
            command, prints = found[-1]
            found[-1] = Step(command, f"{prints}{line}\n")
        else:
            raise ValueError(f"{block}: a console block begins with a command ($ …)")
    return found
