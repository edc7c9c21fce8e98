"""The wheel and the sdist: what is in them, and that they run beside nothing but their libraries.

Those come from requirements/, checked against its hashes.
"""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from zenlead import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120  # of one command
# The architectures that the image is for, with a C library no newer than any current base image has.
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
AT_THE_TOP = {
    *(".ci", ".dockerignore", ".gitignore", "Makefile", "PKG-INFO", "pyproject.toml"),
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"),
    *("benchmarks", "deploy", "docs", "requirements", "tests", "zenlead"),
}

pytestmark = pytest.mark.timeout(600)  # a test is several commands


def run(*command: str | Path, folder: Path) -> str:
    """What a command says; it runs in ``folder`` and knows nothing of this environment's packages."""
    environ = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "KUBECONFIG"))
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def uv(*arguments: str | Path, folder: Path) -> str:
    return run(sys.executable, "-m", "uv", "--quiet", *arguments, folder=folder)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two files, as `make dist` makes them: the wheel is built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    assert sorted(path.suffix for path in folder.iterdir() if path.is_file()) == [".gz", ".whl"]
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return dist / f"zenlead-{__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def sdist(dist: Path) -> Path:
    return dist / f"zenlead-{__version__}.tar.gz"


def test_the_wheel_holds_the_package_and_its_licence(wheel: Path) -> None:
    about = f"zenlead-{__version__}.dist-info"
    package = [
        path for path in (ROOT / "zenlead").rglob("*") if path.suffix == ".py" or path.name == "py.typed"
    ]
    expected = {str(path.relative_to(ROOT)) for path in package}
    expected |= {f"{about}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) == expected | {f"{about}/licenses/LICENSE"}
        assert archive.read(f"{about}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        metadata = email.message_from_bytes(archive.read(f"{about}/METADATA"))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])


def test_the_sdist_holds_what_its_own_tests_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]
    assert {name.partition("/")[0] for name in names} == AT_THE_TOP
    assert {"tests/conftest.py", "tests/cluster/modules/kubernetes/go.mod", "zenlead/py.typed"} <= set(names)
    assert not [name for name in names if name.endswith(".pyc") or "__pycache__" in name]


def test_an_index_would_take_them(wheel: Path, sdist: Path, dist: Path) -> None:
    said = run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", wheel, sdist, folder=dist)
    assert said.count("PASSED") == 2


def installed(file: Path, locks: Sequence[str], folder: Path) -> Path:
    """The command ``zenlead`` of an environment with ``file``, what ``locks`` pin, and nothing else."""
    there = folder / "venv"
    uv("venv", "--python", sys.executable, there, folder=folder)
    into, locked = ("pip", "install", "--python", there), ("--require-hashes", "--only-binary=:all:")
    wanted = [option for lock in locks for option in ("-r", ROOT / "requirements" / lock)]
    uv(*into, *locked, *wanted, folder=folder)
    uv(*into, "--no-deps", "--no-index", "--no-build-isolation", file, folder=folder)
    uv("pip", "check", "--python", there, folder=folder)
    return there / "bin" / "zenlead"


def test_each_shows_the_demo_in_an_empty_environment(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    commands = []
    # An sdist is built where it is installed, so it needs what builds it.
    for file, locks in ((wheel, ["image.txt"]), (sdist, ["image.txt", "build.txt"])):
        folder = tmp_path / file.suffix
        folder.mkdir()
        commands.append((installed(file, locks, folder), "demo", "--rounds", "2"))
    with ThreadPoolExecutor() as side_by_side:  # a demo mostly waits
        for out in side_by_side.map(lambda command: run(*command, folder=tmp_path), commands):
            assert out.splitlines()[-1].startswith("2 failovers, every promise kept")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_library_of_the_image_has_a_wheel(platform: str, tmp_path: Path) -> None:
    uv(
        *(
            "pip",
            "install",
            "--dry-run",
            "--target",
            tmp_path / "none",
            "--require-hashes",
            "--only-binary=:all:",
        ),
        *("--python-platform", platform, "--python-version", "3.11"),
        *("-r", ROOT / "requirements" / "image.txt"),
        folder=tmp_path,
    )
