"""The pages say what the code does: tables, names, flags, commands and links cannot drift unseen."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml

from benchmarks.__main__ import command_line
from tests.unit.lead.builders import pod
from zenlead.cli import main
from zenlead.cli.commands import COMMANDS
from zenlead.lead import contract
from zenlead.lead.contract import Policy, Reason, Routing, parse_policy
from zenlead.lead.select import is_candidate, pod_problems, priority
from zenlead.reading import load
from zenlead.settings import KNOBS

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
NAMING = [page for page in PAGES if page.name != "benchmarks.md"]  # which speaks of other programs too
FLAGS_OF_OTHERS = {"--for", "--as", "--enable-feature"}  # of kubectl and Prometheus
FLAGS_OF_ALL = {"--help", "--version"}  # that no knob stands behind
# A prefix, a condition, a label and what stands in a selector; objects.md has them.
NO_ANNOTATIONS = {"PREFIX", "LEADER_READY", "SOURCE_SERVICE", "NOBODY_UNTIL"}
WORDS_OF_EVENTS = re.compile(r'"([A-Z][a-z]+[A-Z][A-Za-z]+)"')
# Commands of other programs, in a block or in a line; tests/docs runs those in blocks.
OTHER_COMMANDS = re.compile(
    r"(?:^(?:\$ )?|before: )(?:kubectl|helm) .*$|`(?:kubectl|helm) [^`]*`", re.MULTILINE
)
NO_KNOBS = {"--node-monitor-grace-period", "--set", "--yes"}  # of kube-controller-manager, helm, cleanup


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")  # as for a script that is run there
        spec.loader.exec_module(module)
    return module


def marked(page: str, name: str) -> str:
    """What stands between ``<!-- name:begin -->`` and its end."""
    text = (ROOT / page).read_text()
    found = re.search(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", text, re.DOTALL)
    assert found, f"{page} has no {name}"
    return found[1]


@pytest.mark.parametrize("page", ["configuration.md", "metrics.md", "annotations.md", "observability.md"])
def test_generated_tables_are_as_generated(generate: Any, page: str) -> None:
    assert (ROOT / "docs" / page).read_text() == generate.generated(page), "run: python docs/generate.py"


def test_the_tables_hold_everything(generate: Any) -> None:
    settings, metrics = generate.settings_table(), generate.metrics_table()
    for k in KNOBS:
        assert f"| `--{k.flag}`<br>`{k.env}`<br>" in settings
        assert not k.in_file or f"<br>`{k.key}` | {k.parse.allowed} | " in settings
    for name in (
        "failover_count_total",
        "leader_services_total",
        "scrape_duration_seconds",
        "cache_hits_total",
    ):
        assert metrics.count(f"| `zen_lead_{name}` |") == 1


def test_every_annotation_and_field_has_a_row(generate: Any) -> None:
    rows = [*generate.SERVICE, *generate.POD, *generate.WRITTEN]
    listed = {row.name.removesuffix("<key>") for row in rows}
    annotations = {contract.TRIGGER_TIME} | {
        value
        for constant, value in vars(contract).items()
        if str(value).startswith((contract.PREFIX, contract.LEADER_PREFIX)) and constant not in NO_ANNOTATIONS
    }
    assert annotations == {name for name in listed if "/" in name}
    fields = [name for row in rows for name in row.fields]
    assert sorted(fields) == sorted(Policy.__struct_fields__)


def test_the_values_of_every_row_are_what_the_code_takes(generate: Any) -> None:
    default = parse_policy("web", {})
    for row in generate.SERVICE:
        if not row.accepted:
            continue
        (field,) = row.fields
        if "`" not in row.default:
            assert parse_policy("web", {row.name: row.default}) == default, row.name
        for value in row.accepted:
            asked = parse_policy("web", {row.name: value})
            changed = [f for f in Policy.__struct_fields__ if getattr(asked, f) != getattr(default, f)]
            assert changed == [field], (row.name, value)
        for value in row.refused:
            asked = parse_policy("web", {row.name: value})
            assert [problem.annotation for problem in asked.problems] == [row.name], value
            assert msgspec.structs.replace(asked, problems=()) == default, value
        for value in re.findall(r"`([A-Za-z-]+)`", row.values):
            assert parse_policy("web", {row.name: value}).problems == (), value


def test_the_values_of_every_row_about_pods_are_what_the_code_takes(generate: Any) -> None:
    def read(name: str, value: str) -> tuple[bool, int, int]:
        view = pod(annotations={name: value})
        return is_candidate(view), priority(view), len(pod_problems(view))

    for row in generate.POD:
        assert read(row.name, row.default) == (True, 0, 0)
        for value in row.accepted:
            candidate, rank, problems = read(row.name, value)
            assert ((candidate, rank) != (True, 0), problems) == (True, 0), value
        for value in row.refused:
            assert read(row.name, value) == (True, 0, 1), value


def test_every_test_that_a_row_names_exists(generate: Any) -> None:
    for row in (*generate.SERVICE, *generate.POD, *generate.WRITTEN):
        assert row.shown, row.name
        for shown in row.shown:
            file = ROOT / shown.file
            assert file.name.startswith("test_"), shown
            assert file.is_relative_to(ROOT / "tests"), shown
            body = ast.parse(file.read_text()).body
            functions = {
                node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }
            assert shown.test in functions, shown
            assert shown.test.startswith("test_"), shown


@pytest.mark.parametrize("page", sorted({*PAGES, *ROOT.glob("*.md")}), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(((?!https?://)[^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", NAMING, ids=lambda page: page.name)
def test_names_exist(page: Path) -> None:
    text = page.read_text()
    known = {value for value in vars(contract).values() if isinstance(value, str)}
    for name in re.findall(r"(?:leader\.)?zen-lead\.io/[A-Za-z-]*[A-Za-z]", text.replace("\\", "")):
        assert name in known, name
    flags = {f"--{k.flag}" for k in KNOBS} | FLAGS_OF_OTHERS | FLAGS_OF_ALL | NO_KNOBS
    flags |= set(re.findall(r"--[a-z-]+", command_line().format_help()))
    for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", OTHER_COMMANDS.sub("", text)):
        assert flag in flags, flag
    metrics = marked("docs/metrics.md", "metrics")
    for name in re.findall(r"zen_lead_[a-z_]+", text):
        assert f"`{re.sub('_(bucket|count)$', '', name)}`" in metrics or f"`{name}`" in metrics, name
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets, target
    for command in re.findall(r"(?:`|\$ )zenlead ([a-z]+)", text):
        assert command in COMMANDS, command


def test_every_annotation_event_and_reason_is_explained() -> None:
    text = "".join((ROOT / "docs" / page).read_text() for page in ("objects.md", "annotations.md"))
    ours = {value for value in vars(contract).values() if str(value).startswith(contract.PREFIX)}
    for name in ours - {contract.PREFIX}:
        assert f"`{name}" in text, name
    for name in Routing:
        assert name in text, name
    for module in ("controller/announce.py", "lead/decide.py"):
        for word in WORDS_OF_EVENTS.findall((ROOT / "zenlead" / module).read_text()):
            assert word in text, word
    metrics = (ROOT / "docs" / "metrics.md").read_text()
    for reason in set(Reason) - {Reason.ELECTED}:
        assert f"`{reason}`" in metrics, reason


def test_the_map_shows_the_tree() -> None:
    """Every package is on the map, and every file of the map is in the package above it."""
    folder, packages = ROOT / "zenlead", set()
    for line in marked("README.md", "map").splitlines():
        if found := re.match(r"  ([a-z]+)/ ", line):
            folder = ROOT / "zenlead" / found[1]
            assert folder.is_dir(), line
            packages.add(found[1])
        within = folder if line.startswith("    ") else ROOT / "zenlead"
        for file in re.findall(r"\w+\.py", line):
            assert (within / file).is_file(), line
    assert packages == {path.parent.name for path in (ROOT / "zenlead").glob("*/__init__.py")}


def test_mistakes_are_told_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zenlead.yaml").write_text("burst: lots\nloglevel: debug\n")
    assert main(["--config=zenlead.yaml"]) == 2
    assert f"```text\n{capsys.readouterr().err}```\n" == marked("docs/configuration.md", "mistakes")


def test_the_example_file_loads(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    example = re.search(r"<!-- example:config -->\n```yaml\n(.*?)```", text, re.DOTALL)
    assert example
    file = tmp_path / "zenlead.yaml"
    file.write_text(example[1])
    settings = load({"config": str(file)}, {})
    assert {k.key for k in KNOBS if k.flag in settings.given} == {"config", *yaml.safe_load(example[1])}
