"""The laws of the house, read off the source: who may import whom, and what no file may contain."""

from __future__ import annotations

import ast
import functools
import re
import sys
from pathlib import Path

import pytest

import zenlead

ROOT = Path(zenlead.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]
MAX_LINES = 350

# What each room may import beside the standard library and itself. An entry with a dot at its end is a room.
LAWS: dict[str, frozenset[str]] = {
    "lead": frozenset({"msgspec"}),
    "kube": frozenset({"msgspec", "aiolimiter", "backoff", "zenlead.imports"}),
    "controller": frozenset({"msgspec", "zenlead.lead.", "zenlead.kube."}),
    "observe": frozenset(
        {
            "msgspec",
            "aiohttp",
            "opentelemetry",
            "prometheus_async",
            "prometheus_client",
            "structlog",
            "zenlead.imports",
            "zenlead.listening",
            "zenlead.kube.facts",
            "zenlead.controller.facts",
        }
    ),
    "sandbox": frozenset({"msgspec", "aiohttp", "zenlead.listening", "zenlead.kube."}),
    # The show on top of the sandbox: it puts a whole controller on the stage.
    "demo": frozenset(
        {"msgspec", "rich", "zenlead.lead.", "zenlead.kube.", "zenlead.controller.", "zenlead.sandbox."}
    ),
    "cli": frozenset(
        {
            "zenlead.build",
            "zenlead.reading",
            "zenlead.settings",
            "zenlead.knobs",
            "zenlead.kube.errors",
            "zenlead.lead.golang",
        }
    ),
}
# Commands are loaded by name when they are called, so that no other command pays for their imports.
COMMANDS = frozenset({"zenlead.controller.run", "zenlead.sandbox.demo"})

# The edge: the only files of kube/ that touch the network's libraries, each with those that it needs.
EDGE: dict[str, frozenset[str]] = {
    "kube/access.py": frozenset({"kubernetes_asyncio"}),
    "kube/connections.py": frozenset({"aiohttp"}),
    "kube/credentials.py": frozenset({"kubernetes_asyncio"}),
    "kube/exchange.py": frozenset({"aiohttp"}),
    "kube/execplugin.py": frozenset({"kubernetes_asyncio"}),
    "kube/importdiet.py": frozenset({"aiohttp", "kubernetes_asyncio"}),
    "kube/kubeconfig.py": frozenset({"yaml"}),
    "kube/transport.py": frozenset({"aiohttp", "yarl"}),
    "kube/userlogin.py": frozenset({"kubernetes_asyncio"}),
}

# Joins everything: the composition root, and the command line that starts it.
ROOTS = frozenset({"controller/run.py"})


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room_of(path: Path) -> str:
    """The folder; the demo's files are a room of their own; files at the top belong to none."""
    relative = path.relative_to(ROOT)
    if relative.parts[0] == "sandbox" and relative.stem.split("_")[0] == "demo":
        return "demo"
    return relative.parts[0] if path.parent != ROOT else ""


def imports(path: Path) -> set[str]:
    """The full names of all modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = {name for name in inside if is_ours(name)}
            found |= modules | ({node.module} if modules != inside else set())
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__"):
            loaded = node.args[0]
            if isinstance(loaded, ast.Constant) and loaded.value not in COMMANDS:
                found.add(str(loaded.value))
    return found


def is_ours(module: str) -> bool:
    """Whether there is a module of the product of that name."""
    path = ROOT.parent.joinpath(*module.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def breaches(path: Path) -> set[str]:
    """The imports of a file that its room does not allow."""
    room, name = room_of(path), str(path.relative_to(ROOT))
    allowed = LAWS[room] | EDGE.get(name, frozenset()) | {f"zenlead.{room}."}
    return {
        module
        for module in imports(path)
        if module.split(".")[0] not in sys.stdlib_module_names and not _allowed(module, allowed)
    }


def _allowed(module: str, allowed: frozenset[str]) -> bool:
    return (
        any(
            module.startswith(entry) or module + "." == entry
            if entry.endswith(".")
            else module == entry or module.startswith(entry + ".")
            for entry in allowed
        )
        or module == "zenlead"
    )


def test_there_is_something_to_look_at() -> None:
    rooms = {room_of(path) for path in FILES} - {""}
    assert {"lead", "kube", "controller", "observe", "sandbox", "cli"} <= rooms
    assert rooms <= set(LAWS), "a room without a law"
    assert len(FILES) > 50


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_each_room_imports_only_what_it_may(path: Path) -> None:
    if str(path.relative_to(ROOT)) not in ROOTS:
        assert breaches(path) == set()


def test_the_laws_catch_what_they_forbid() -> None:
    """A law that cannot be broken says nothing."""
    forbidden = [
        ("lead/decide.py", "zenlead.kube.store"),
        ("lead/decide.py", "zenlead.controller.caches"),
        ("lead/decide.py", "structlog"),
        ("kube/store.py", "zenlead.lead.views"),
        ("kube/store.py", "aiohttp.web"),
        ("kube/watch.py", "kubernetes_asyncio"),
        ("controller/workers.py", "zenlead.observe.metrics"),
        ("controller/workers.py", "aiohttp"),
        ("observe/metrics.py", "zenlead.lead.views"),
        ("observe/metrics.py", "zenlead.controller.caches"),
        ("sandbox/objects.py", "zenlead.lead.views"),
    ]
    for name, module in forbidden:
        room = name.split("/", maxsplit=1)[0]
        allowed = LAWS[room] | EDGE.get(name, frozenset()) | {f"zenlead.{room}."}
        assert not _allowed(module, allowed), f"{name} may import {module}"


def test_the_edge_is_as_small_as_it_says() -> None:
    for name, libraries in EDGE.items():
        roots = {module.split(".")[0] for module in imports(ROOT / name)}
        assert libraries <= roots | _spelled(name), f"{name} no longer needs {libraries - roots}"


def _spelled(name: str) -> set[str]:
    """Modules that a file loads by name."""
    strings = (n.value for n in ast.walk(tree_of(ROOT / name)) if isinstance(n, ast.Constant))
    return {s for s in strings if isinstance(s, str)}


def test_only_the_composition_root_knows_who_listens() -> None:
    knowing = {
        str(path.relative_to(ROOT))
        for path in FILES
        if room_of(path) != "observe"
        and any(module.startswith("zenlead.observe") for module in imports(path))
    }
    assert knowing <= ROOTS


def test_decisions_do_no_io_and_know_no_clock() -> None:
    banned = {"asyncio", "time", "logging", "os", "socket", "random", "threading", "subprocess", "pathlib"}
    for path in FILES:
        if room_of(path) == "lead":
            assert not {module.split(".")[0] for module in imports(path)} & banned, path
            assert not any(isinstance(n, ast.AsyncFunctionDef | ast.Await) for n in ast.walk(tree_of(path)))
            calls = {_name(n.func) for n in ast.walk(tree_of(path)) if isinstance(n, ast.Call)}
            assert not calls & {"now", "utcnow", "today", "open", "print"}, path


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_each_file_keeps_the_habits(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = tree_of(path)
    if text.strip():
        assert ast.get_docstring(tree), "no module docstring"
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree)), "assert in product code"
    assert text.count("\n") < MAX_LINES
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)
    assert "time.sleep(" not in text


# Objects that own a task which must outlive whoever asked for it; each ends it by itself.
OWNERS_OF_TASKS = frozenset({"kube/credentials.py", "kube/lru.py"})


def test_tasks_live_in_groups() -> None:
    for path in FILES:
        calls = [
            node
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and _name(node.func.value) in ("asyncio", "loop")
            and node.func.attr in ("create_task", "ensure_future")
        ]
        assert not calls or str(path.relative_to(ROOT)) in OWNERS_OF_TASKS, path
