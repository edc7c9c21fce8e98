"""Imports of kubernetes_asyncio and aiohttp that load what is used and nothing else.

Knows Python's import system. Refuses to know requests. The rules: nobody loses a name, whatever the packages
offer still resolves, on first use instead of at import; and who imports one of the two imports this first.

Why: ``import kubernetes_asyncio`` loads some 800 generated model modules (35 MB) of which zenlead uses none,
and ``import aiohttp`` parses the system's CA bundle for a TLS context that zenlead never connects with, and
loads the C++ runtime (1 MB) for a list that can be frozen, of which there is one in Python, too.
Sources: PEP 562 (module ``__getattr__``), importlib.util.module_from_spec.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import pathlib
import re
import ssl
import sys
from typing import TYPE_CHECKING, Any

from zenlead.imports import without

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator

# Parents before children: finding a child's spec needs its parent in sys.modules.
LAZY_PACKAGES = (
    "kubernetes_asyncio",
    "kubernetes_asyncio.client",
    "kubernetes_asyncio.client.api",
    "kubernetes_asyncio.client.models",
    "kubernetes_asyncio.config",
    "urllib3",  # for one function that writes a Basic header, which nobody here calls: 2 MB
)
FROM_IMPORT = re.compile(r"^from (\w\S*) import (\w+)$", re.MULTILINE)
MODULE_IMPORT = re.compile(r"^import (\S+) as (\w+)$", re.MULTILINE)
# The only names with underscores that the bodies define. Others (__wrapped__, __path__, …) are probes by the
# inspect module and its like, and a probe must not load eight hundred modules.
DEFINED_DUNDERS = frozenset({"__all__", "__version__", "__project__"})


def install() -> None:
    """Put packages whose bodies have not run in ``sys.modules``.

    A package that somebody has imported before stays as it is: the memory is spent already.
    """
    loaded = {name for name in LAZY_PACKAGES if name.partition(".")[0] in sys.modules}
    for name in LAZY_PACKAGES:
        if name in loaded:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue  # this version of the package has no such part
        module = importlib.util.module_from_spec(spec)
        resolver = _Resolver(module, pathlib.Path(spec.origin))
        vars(module)["__getattr__"] = resolver
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)


class _Resolver:
    """The ``__getattr__`` of one lazy package: import the submodule that has the name, or run the body."""

    def __init__(self, module: types.ModuleType, source: pathlib.Path) -> None:
        self._module = module
        self._source = source
        self._homes: dict[str, tuple[str, str]] | None = None  # name -> (module, attribute or "")

    def __call__(self, name: str) -> Any:
        if name.startswith("__") and name not in DEFINED_DUNDERS:
            raise AttributeError(f"module {self._module.__name__!r} has no attribute {name!r}")
        if self._homes is None:
            self._homes = self._read_homes()
        home = self._homes.get(name) or self._find_submodule(name)
        if home is None:
            return self._run_body(name)
        module = importlib.import_module(home[0])
        value = getattr(module, home[1]) if home[1] else module
        setattr(self._module, name, value)
        return value

    def _read_homes(self) -> dict[str, tuple[str, str]]:
        text = self._source.read_text(encoding="utf-8")
        homes = {name: (module, name) for module, name in FROM_IMPORT.findall(text)}
        homes.update({name: (module, "") for module, name in MODULE_IMPORT.findall(text)})
        return homes

    def _find_submodule(self, name: str) -> tuple[str, str] | None:
        """``from package import submodule`` asks the package for the name before it looks for a file."""
        path = f"{self._module.__name__}.{name}"
        return (path, "") if importlib.util.find_spec(path) else None

    def _run_body(self, name: str) -> Any:
        """A name that the one-line imports do not give: run the package's own code once, then ask it."""
        spec = self._module.__spec__
        vars(self._module).pop("__getattr__", None)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module(self._module)
        return getattr(self._module, name)

    def __repr__(self) -> str:
        return f"<lazy {self._module.__name__}, {len(self._homes or ())} names known>"


@contextlib.contextmanager
def without_system_certificates() -> Iterator[None]:
    """Import aiohttp in here and its default TLS contexts trust nobody (fail closed) and cost nothing.

    zenlead always passes a context of its own.
    """
    with _loading_nothing("load_default_certs"), _loading_nothing("set_default_verify_paths"):
        yield


@contextlib.contextmanager
def _loading_nothing(method: str) -> Iterator[None]:
    """In here that method of every TLS context does nothing."""
    own = vars(ssl.SSLContext).get(method)
    type.__setattr__(ssl.SSLContext, method, lambda *_arguments, **_named: None)
    try:
        yield
    finally:
        if own is None:  # a base class has it
            type.__delattr__(ssl.SSLContext, method)
        else:
            type.__setattr__(ssl.SSLContext, method, own)


@contextlib.contextmanager
def with_a_home() -> Iterator[None]:
    """In here everybody has a home folder, who has none the root: kube_config asks for it when imported."""
    try:
        pathlib.Path.home()
    except RuntimeError:  # no HOME and no entry in the user database
        os.environ["HOME"] = "/"
        try:
            yield
        finally:
            del os.environ["HOME"]
    else:
        yield


install()
if "aiohttp" not in sys.modules:
    with without_system_certificates(), without("frozenlist._frozenlist"):
        importlib.import_module("aiohttp")
