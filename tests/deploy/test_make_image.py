"""``make image``: which engine it takes, and what it tells it; the engines here are stand-ins."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.dockerfile import steps
from zenlead import __version__

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = """#!/bin/sh
case "$1" in
info) exit {at_work} ;;
*) echo "{name}"; for word in "$@"; do echo "<$word>"; done ;;
esac
"""


def make_image(folder: Path, engines: dict[str, int], *arguments: str) -> subprocess.CompletedProcess[str]:
    """``engines``: what each answers when it is asked whether it is at work."""
    for name, at_work in engines.items():
        (folder / name).write_text(STAND_IN.format(name=name, at_work=at_work))
        (folder / name).chmod(0o755)
    command = ["make", "image", *arguments]
    environ = {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("engines", "taken"),
    [
        ({"docker": 0, "podman": 0, "buildah": 0}, "docker"),
        ({"docker": 1, "podman": 0, "buildah": 0}, "podman"),
        ({"docker": 1, "podman": 125, "buildah": 0}, "buildah"),
    ],
)
def test_the_first_engine_that_is_at_work_builds(tmp_path: Path, engines: dict[str, int], taken: str) -> None:
    done = make_image(tmp_path, engines, "ARGS=--platform=linux/arm64")
    assert done.returncode == 0, done.stderr
    name, *words = done.stdout.splitlines()
    assert name == taken
    told = [word.strip("<>") for word in words]
    assert told[:5] == ["build", "--file", "deploy/Dockerfile", "--tag", f"zenlead:{__version__}"]
    assert re.fullmatch(r"REVISION=([0-9a-f]{40}(-modified)?)?", told[6])
    assert re.fullmatch(r"CREATED=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told[8])
    assert told[9:] == ["--platform=linux/arm64", "."]


@pytest.mark.parametrize("arguments", [(), ("ENGINE=podman",)])
def test_without_an_engine_it_says_so(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    engines = {"docker": 1, "podman": 1, "buildah": 0 if arguments else 1}
    done = make_image(tmp_path, engines, *arguments)
    assert done.returncode != 0
    assert done.stdout == ""
    said = done.stderr.splitlines()[0]
    assert said.startswith(
        f"An image needs {'podman' if arguments else 'one of docker podman buildah'}, and none"
    )


def test_without_arguments_the_version_is_the_packages_own() -> None:
    defaults = {step.text for step in steps(ROOT / "deploy" / "Dockerfile") if step.word == "ARG"}
    assert f"VERSION={__version__}" in defaults
    assert not [d for d in defaults if d.startswith("VERSION=") and d != f"VERSION={__version__}"]
