"""docs/observability.md lists the lines of the log as the code writes them: names, levels and fields."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import zenlead
from tests.unit.observe.test_factlog import CASES
from zenlead.controller.facts import LeaderMoved
from zenlead.observe.factlog import FactLog

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(zenlead.__file__).parent
PAGE = SOURCE.parent / "docs" / "observability.md"
LEVELS = ("debug", "info", "warning", "error")
SAYING = {*LEVELS, "exception"}
NAME = re.compile(r"[a-z]+\.[a-z_]+")


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """Event to the levels that its row names and to its fields."""
    found = re.search(r"<!-- events:begin -->\n(.*?)<!-- events:end -->", PAGE.read_text(), re.DOTALL)
    assert found
    rows = {}
    for line in found[1].splitlines()[2:]:
        name, level, what, fields = (cell.strip() for cell in line.strip("|").split("|"))
        levels = {level, *(word for word in re.findall(r"\w+", what.partition(";")[2]) if word in LEVELS)}
        rows[name.strip("`")] = (levels, set(re.findall(r"`([^`]+)`", fields)))
    assert list(rows) == sorted(rows, key=list(rows).index)
    for fields in rows.values():
        for other in fields[1] & rows.keys():  # "as of `reconcile.failed`"
            fields[1].remove(other)
            fields[1].update(rows[other][1])
    return rows


def said_directly() -> Iterator[tuple[str, str, set[str]]]:
    """Event, level and fields of what is written without being a fact."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
                continue
            name = node.args[0].value
            if not isinstance(name, str) or not NAME.fullmatch(name):
                continue
            if isinstance(node.func, ast.Attribute) and node.func.attr in SAYING:
                fields = {keyword.arg for keyword in node.keywords if keyword.arg}
                level = {"exception": "error"}.get(node.func.attr, node.func.attr)
                yield name, level, fields | ({"exception"} if node.func.attr == "exception" else set())


def test_every_line_is_listed_with_its_level() -> None:
    levels: dict[str, set[str]] = {}
    for _, level, name in CASES:
        levels.setdefault(name, set()).add(level)
    for name, level, _ in said_directly():
        levels.setdefault(name, set()).add(level)
    levels["library.said"] = {"warning", "error"}  # chosen at run time
    assert {name: row[0] for name, row in documented().items()} == levels


def test_every_field_is_listed() -> None:
    rows = documented()
    for fact, _, name in CASES:
        assert NAME.fullmatch(name)
        if not isinstance(fact, LeaderMoved):
            assert set(msgspec.structs.asdict(fact)) == rows[name][1], name
    for name, _, fields in said_directly():
        if name != "leader.changed":  # of which a part comes from tables
            assert fields == rows[name][1], name


def test_the_fields_of_a_change_of_leader_are_listed() -> None:
    told: dict[str, object] = {}

    class Log:
        def info(self, event: str, **fields: object) -> None:
            told.update(fields)

        debug = warning = error = info

        def is_enabled_for(self, _: int) -> bool:
            return True

    FactLog(Log()).observe(LeaderMoved("t1", "web", "web-0", "web-1", "notReady", 7, 0.01))
    assert set(told) == documented()["leader.changed"][1]
