"""Every fenced block of every page has a use, or says why not; every example is complete and shown."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest
import yaml

from tests.docs.blocks import NOT_RUN, PAGES, ROOT, Block, Use, blocks, steps, use_of
from tests.docs.shell import missing_lines
from zenlead.controller import announce
from zenlead.lead import contract
from zenlead.lead.contract import Routing

DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
TROUBLESHOOTING = (DOCS / "troubleshooting.md").read_text()
TELLING = frozenset({"info", "warning", "error", "exception"})


def block_of(text: str, language: str = "yaml", *marks: tuple[str, str]) -> Block:
    return Block(ROOT / "README.md", 1, language, text, marks)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_has_a_use(page: Path) -> None:
    fences = len(re.findall(r"^\s*```", page.read_text(), re.MULTILINE))
    found = blocks(page)
    assert 2 * len(found) == fences, "a fence that is not closed"
    for block in found:
        use_of(block)
        if use_of(block) is Use.RUN:
            assert all(step.command.strip() for step in steps(block))


def test_what_nobody_could_use_is_refused() -> None:
    for block in (
        block_of("x = 1", "python"),
        block_of("replicas: 2"),
        block_of("kubectl get pods", "sh", ("not run", "no time")),
    ):
        with pytest.raises(ValueError, match=r"README.md:1"):
            use_of(block)
    assert use_of(block_of("x: 1", "yaml", ("not run", "a file of yours"))) is Use.EXCUSED


def test_every_reason_not_to_run_is_needed() -> None:
    given = {reason for page in PAGES for block in blocks(page) for reason in block.marked("not run")}
    assert given == set(NOT_RUN)


def test_marks_belong_to_the_block_that_follows(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- before: a -->\ntext\n\n<!-- scene: b c -->\n<!-- before: d: e -->\n```sh\nf\n```\n"
        "\n```sh\ng\n```\n"
    )
    first, second = blocks(page)
    assert first.marks == (("scene", "b c"), ("before", "d: e"))
    assert (first.line, second.line, second.marks) == (6, 10, ())


def test_what_a_command_prints_is_compared_but_for_what_differs_each_time() -> None:
    printed = "NAME   AGE\nweb-leader  10.1.0.99  4m3s\nother\nweb-1   443:30123/TCP 7\n"
    assert missing_lines("NAME AGE\nweb-leader 10.1.2.3 1s\n...\nweb-1 443:31000/TCP 7", printed) == []
    assert missing_lines("web-0 443:31000/TCP 7", printed) == ["web-0 443:31000/TCP 7"]
    assert missing_lines("other\nNAME AGE", printed) == ["NAME AGE"], "out of order"
    assert missing_lines("web-1 443:31000/TCP 8", printed) == ["web-1 443:31000/TCP 8"]
    assert missing_lines("web-1 443:31000/TCP 8", printed, any_number=True) == []


def test_console_blocks_are_commands_and_what_they_print() -> None:
    told = steps(block_of("$ kubectl get \\\n    pods\nNAME\nweb-0\n\n$ true\n", "console"))
    assert [tuple(step) for step in told] == [("kubectl get \\\n    pods", "NAME\nweb-0\n\n"), ("true", "")]


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.name)
def test_every_example_is_complete_and_shown(file: Path) -> None:
    bodies = list(yaml.safe_load_all(file.read_text()))
    assert file.read_text().startswith("# "), "says what comes of it"
    (service,) = (body for body in bodies if body["kind"] == "Service")
    assert service["metadata"]["annotations"][contract.ENABLED] == "true"
    told = contract.parse_policy(service["metadata"]["name"], service["metadata"]["annotations"])
    assert told.problems == ()
    page = (EXAMPLES / "README.md").read_text()
    assert f"$ kubectl apply -f docs/examples/{file.name}\n" in page
    assert f"(examples/{file.name})" in (DOCS / "concepts.md").read_text()


def test_every_annotation_that_can_be_set_is_in_an_example() -> None:
    text = "".join(file.read_text() for file in EXAMPLES.iterdir())
    set_by_users = {
        value
        for name, value in vars(contract).items()
        if name in {"CANDIDATE", "PRIORITY", "LEADER_PREFIX"} or _is_read(name, value)
    }
    assert len(set_by_users) == 14
    for name in set_by_users:
        assert name in text, name


def _is_read(constant: str, value: object) -> bool:
    """Whether the constant names an annotation that parse_policy reads."""
    source = Path(str(contract.__file__)).read_text()
    return constant == "ENABLED" or (str(value).startswith(contract.PREFIX) and f"read({constant}," in source)


def rows(table: str) -> list[str]:
    """What stands in backquotes in the first cells of a table of troubleshooting.md."""
    found = re.search(rf"<!-- {table}:begin -->\n(.*?)<!-- {table}:end -->", TROUBLESHOOTING, re.DOTALL)
    assert found, table
    cell = 1 if table == "conditions" else 0
    lines = [line.strip("| ").split(" | ") for line in found[1].splitlines() if line.startswith("| ")]
    return [name for line in lines for name in re.findall(r"`([^`]+)`", line[cell])]


def test_troubleshooting_has_a_row_for_every_event() -> None:
    code = "".join(Path(str(announce.__file__)).parents[1].joinpath(file).read_text() for file in TELLERS)
    words = set(re.findall(r'True, "(Paused)"|"([A-Z][a-z]+[A-Z][A-Za-z]+)"', code)) - {("", "ExternalName")}
    assert sorted(rows("events")) == sorted(map("".join, words))


TELLERS = ("controller/announce.py", "lead/refuse.py")


def test_every_event_is_told_by_these_files_alone() -> None:
    """Who else made an Announcement, or blocked a Service, would be missing in the table."""
    makers = {
        str(path.relative_to(ROOT / "zenlead"))
        for path in (ROOT / "zenlead").rglob("*.py")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"Announcement", "Blocked"}
    }
    assert makers == set(TELLERS)


def test_troubleshooting_has_a_row_for_every_condition() -> None:
    assert sorted(rows("conditions")) == sorted(Routing)


def test_troubleshooting_has_a_row_for_every_line_of_the_log() -> None:
    told = set()
    for path in (ROOT / "zenlead").rglob("*.py"):
        if "sandbox" not in path.parts:
            told |= log_lines(tree_of(path))
    assert "leader.changed" in told
    assert "write.planned" in told
    assert sorted(rows("log")) == sorted(told)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def log_lines(tree: ast.Module) -> set[str]:
    """Names of events at info and above: told to a logger, or standing beside their level."""
    found = set()
    for node in ast.walk(tree):
        values: list[ast.expr] = []
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            values = node.args[:1] if name in TELLING or name == "tell" else []
        elif isinstance(node, ast.Tuple) and len(node.elts) == 2 and TELLING & constants(node.elts[0]):
            values = node.elts[1:]
        found |= {v.value for v in values if isinstance(v, ast.Constant) and is_event(v.value)}
    return found


def constants(node: ast.expr) -> set[object]:
    return {inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant)}


def is_event(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-z]+\.[a-z_]+", value) is not None
