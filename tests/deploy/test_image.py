"""The image, without an engine: the steps of deploy/Dockerfile in a clean folder, and what comes of them.

That is started by a user who may not write there, with the variables of the image and no others.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cluster.process import free_port
from tests.deploy.dockerfile import Build, Image, context, steps
from zenlead import __version__
from zenlead.sandbox.box import Sandbox
from zenlead.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
NOBODY = 65532
TOLD = {"REVISION": "0123abc", "CREATED": "2026-01-02T03:04:05Z"}
LONGEST_S = 120
UNCHECKED_HASH = 0b01  # of the flags of a .pyc: bound by hash, not compared with the source again (PEP 552)
NEVER_LOADED = re.compile("kubernetes_asyncio/client/(models|api)/")
IS_FIT = "import pip, sys, venv; sys.exit(sys.version_info < (3, 11))"

pytestmark = pytest.mark.timeout(900)  # the first test waits for the steps of the build


def python_and_user() -> tuple[str, int | None]:
    """A Python to stand in for that of the base image, and who shall run what it builds.

    Root may have a Python that nobody else can reach; then the tree is only looked at for changes.
    """
    own = str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())
    if os.getuid() != 0:
        return own, None
    for python in (own, shutil.which("python3", path="/usr/local/bin:/usr/bin")):
        with_limits = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        try:
            if (
                python
                and subprocess.run([python, "-c", IS_FIT], cwd="/", check=False, **with_limits).returncode
                == 0
            ):
                return str(Path(python).resolve()), NOBODY
        except PermissionError:
            continue
    return own, None


class Running:
    """Starts what is in an image as a container does."""

    def __init__(self, image: Image, user: int | None, folder: Path) -> None:
        self.image = image
        self.folder = folder  # a writable one, as an emptyDir is
        self._limits = {} if user is None else {"user": user, "group": user, "extra_groups": []}

    def start(self, *arguments: str, program: str = "zenlead") -> subprocess.Popen[str]:
        """The entrypoint, or another program that lies beside it."""
        (entrypoint,) = self.image.entrypoint
        return subprocess.Popen(
            [self.image.inside(entrypoint).with_name(program), *arguments],
            cwd=self.image.inside(self.image.workdir),
            env={**self.image.environ(), "TMPDIR": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **self._limits,
        )

    def output(self, *arguments: str, program: str = "zenlead") -> str:
        with self.start(*arguments, program=program) as process:
            out, err = process.communicate(timeout=LONGEST_S)
        assert (process.returncode, err) == (0, "")
        return out


def contents(root: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and the time of its last change."""
    found = ((path, path.lstat()) for path in root.rglob("*"))
    return {str(path.relative_to(root)): (is_.st_size, is_.st_mtime_ns) for path, is_ in found}


def set_writable(root: Path, *, writable: bool) -> None:
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | stat.S_IWUSR if writable else mode & ~0o222)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    python, user = python_and_user()
    with tempfile.TemporaryDirectory(prefix="zenlead-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        commands, writable = folder / "commands", folder / "writable"
        commands.mkdir()
        (commands / "python").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
        (commands / "python").chmod(0o755)
        writable.mkdir()
        writable.chmod(0o777)
        sent = context(ROOT, ROOT / ".dockerignore", folder / "context")
        path = f"{commands}:/usr/local/bin:/usr/bin:/bin"
        image = Build(DOCKERFILE, sent, folder / "root", path=path, args=TOLD).image
        for left in (sent, *folder.glob("stage-*")):
            shutil.rmtree(left)  # nothing that runs may still need it
        set_writable(image.root, writable=False)
        before = contents(image.root)
        yield Running(image, user, writable)
        after = contents(image.root)
        set_writable(image.root, writable=True)
    assert after == before, "the image was written to"


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with Sandbox() as box:
        yield box


def test_what_the_image_says_of_itself(running: Running) -> None:
    image, defaults = running.image, Settings()
    assert image.user == f"{NOBODY}:{NOBODY}"
    assert image.entrypoint == ["/opt/zenlead/bin/zenlead"]
    first_line = image.inside(image.entrypoint[0]).read_text().splitlines()[0]
    assert first_line == image.moved("#! /opt/zenlead/bin/python").replace(" ", ""), "it needs a shell"
    assert set(image.ports) == {
        a.port for a in (defaults.metrics_bind_address, defaults.health_probe_bind_address) if a
    }
    label = "org.opencontainers.image."
    assert image.labels[f"{label}version"] == __version__
    assert image.labels[f"{label}revision"] == TOLD["REVISION"]
    assert image.labels[f"{label}created"] == TOLD["CREATED"]
    assert image.labels[f"{label}licenses"] == "Apache-2.0"
    assert image.inside("/licenses/LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_nothing_is_in_it_that_only_builds(running: Running) -> None:
    assert sorted(path.name for path in running.image.root.iterdir()) == ["licenses", "opt"]
    installed = {path.name.partition("-")[0] for path in running.image.root.rglob("*.dist-info")}
    assert {"zenlead", "aiohttp", "opentelemetry_sdk"} <= installed
    assert not installed & {"pip", "setuptools", "hatchling", "rich", "pytest"}


def test_everything_that_is_loaded_is_compiled(running: Running) -> None:
    sources = [path for path in running.image.root.rglob("*.py") if not NEVER_LOADED.search(str(path))]
    assert len(sources) > 500
    for source in sources:
        compiled, *more = source.parent.glob(f"__pycache__/{source.stem}.cpython-3*.pyc")
        assert not more, source
        assert compiled.suffixes[-2:] == [".opt-2", ".pyc"], "not as PYTHONOPTIMIZE wants it"
        assert compiled.read_bytes()[4] == UNCHECKED_HASH, source


def test_a_version_that_is_not_the_packages_own_is_refused(running: Running) -> None:
    (check,) = (
        step for step in steps(DOCKERFILE) if step.word == "RUN" and "zenlead.__version__" in step.text
    )
    for version, code in ((__version__, 0), ("9.9.9", 1)):
        done = running.image.shell(check.text, "/usr/bin:/bin", {"VERSION": version})
        assert done.returncode == code, done.stderr


def test_help_and_version(running: Running) -> None:
    assert "--leader-election-lease-duration" in running.output("--help")
    told = f"commit {TOLD['REVISION']}, built {TOLD['CREATED']}, Python "
    assert running.output("--version").startswith(f"zenlead {__version__} ({told}")


def test_traces_can_be_sent(running: Running) -> None:
    """The libraries of the extra otel, which zenlead loads once it is told where to send."""
    names = ("opentelemetry.sdk.trace.export", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
    assert running.output("-c", f"import {', '.join(names)}", program="python") == ""


def test_the_demo(running: Running) -> None:
    out = running.output("demo", "--rounds", "1")
    assert out.splitlines()[-1].startswith("1 failover, every promise kept")
    assert list(running.folder.iterdir()) == []


async def test_the_controller(running: Running, sandbox: Sandbox) -> None:
    """Credentials as a pod has them are the cluster tests'; this is about what it finds in the image."""
    config = running.folder / "kubeconfig"
    config.write_text(kubeconfig(sandbox))
    metrics, health = free_port(), free_port()
    with running.start(
        f"--kubeconfig={config}",
        f"--metrics-bind-address=127.0.0.1:{metrics}",
        f"--health-probe-bind-address=127.0.0.1:{health}",
    ) as process:
        try:
            async with asyncio.timeout(LONGEST_S):
                while await asyncio.to_thread(fetched, f"http://127.0.0.1:{health}/readyz") is None:
                    assert process.poll() is None
                    await asyncio.sleep(0.05)
            text = await asyncio.to_thread(fetched, f"http://127.0.0.1:{metrics}/metrics")
            process.terminate()
            _, log = await asyncio.to_thread(process.communicate, timeout=LONGEST_S)
        finally:
            process.kill()
            config.unlink()
    assert process.returncode == 0
    build = f'build_date="{TOLD["CREATED"]}",commit="{TOLD["REVISION"]}",version="{__version__}"'
    assert f"zen_lead_build_info{{{build}}} 1.0" in (text or "")
    assert '"level":"warning"' not in log.replace(" ", "")


def kubeconfig(box: Sandbox) -> str:
    """One that another user may read too."""
    return (
        f"clusters: [{{name: c, cluster: {{server: '{box.url_with_token}'}}}}]\n"
        f"users: [{{name: u, user: {{token: '{box.token}'}}}}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n"
    )


def fetched(url: str) -> str | None:
    """The text at ``url``, None while there is none."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own
            return str(answer.read().decode())
    except OSError:
        return None
